use std::sync::Arc;

use super::{Condition, Truth};
use crate::policy::Reason;
use crate::push::Push;

/// Any condition, so that those of different types stand in one list. Cheap to clone.
///
/// # Examples
///
/// A condition of one's own beside those that are there:
///
/// ```
/// use swifthook_core::condition::{Condition, Rule, Truth, all, branches};
/// use swifthook_core::{Push, Reason};
///
/// struct FromBots;
///
/// impl Condition for FromBots {
///     fn holds(&self, push: &Push) -> Truth {
///         match push.sender.as_deref() {
///             Some(login) if login.ends_with("[bot]") => Truth::True,
///             _ => Truth::False(Reason::new("sender", "no bot pushed it")),
///         }
///     }
/// }
///
/// let rule = all([branches(["main"])?, Rule::new(FromBots)]);
/// # let _ = rule;
/// # Ok::<(), swifthook_core::condition::InvalidPattern>(())
/// ```
#[derive(Clone)]
pub struct Rule(Arc<dyn Condition>);

impl Rule {
    /// A rule from a condition of any type.
    pub fn new(condition: impl Condition + 'static) -> Self {
        Self(Arc::new(condition))
    }
}

impl Condition for Rule {
    fn holds(&self, push: &Push) -> Truth {
        self.0.holds(push)
    }

    fn why(&self, push: &Push) -> Reason {
        self.0.why(push)
    }
}
