use super::{Condition, Rule, Truth};
use crate::policy::Reason;
use crate::push::Push;

/// Holds where the head commit does not ask to be skipped ([`Push::skip_marker`]).
///
/// A [`Recipe`](crate::Recipe) honours markers by itself, unless it is told not to; this is for policies that
/// combine it with something else.
pub fn skip_markers() -> Rule {
    Rule::new(SkipMarkers)
}

struct SkipMarkers;

impl Condition for SkipMarkers {
    fn holds(&self, push: &Push) -> Truth {
        match push.skip_marker {
            true => Truth::False(marked()),
            false => Truth::True,
        }
    }

    fn why(&self, _push: &Push) -> Reason {
        Reason::new("skip_marker", "the head commit does not ask to be skipped")
    }
}

/// The reason of a push that is marked.
pub(crate) fn marked() -> Reason {
    Reason::new("skip_marker", "the head commit's message asks to be skipped")
}
