use std::sync::Arc;

use super::{Condition, Rule, Truth};
use crate::policy::Reason;
use crate::push::Push;

/// Holds where one of these accounts pushed, by login, without regard to ASCII case. The empty list holds for
/// everybody who may push.
///
/// A push says that its author may write to some branch; that is not yet leave to spend GPUs.
pub fn senders<S: AsRef<str>>(logins: impl IntoIterator<Item = S>) -> Rule {
    Rule::new(Senders(logins.into_iter().map(|login| login.as_ref().into()).collect()))
}

struct Senders(Vec<Arc<str>>);

impl Condition for Senders {
    fn holds(&self, push: &Push) -> Truth {
        let is_listed = |sender: &str| self.0.iter().any(|login| login.eq_ignore_ascii_case(sender));
        let detail = match push.sender.as_deref() {
            _ if self.0.is_empty() => return Truth::True,
            Some(sender) if is_listed(sender) => return Truth::True,
            Some(sender) => format!("`{sender}` is not one of the senders"),
            None => "the push does not say who sent it".to_owned(),
        };
        Truth::False(Reason::new("sender", detail))
    }

    fn why(&self, push: &Push) -> Reason {
        let detail = match push.sender.as_deref() {
            Some(sender) if !self.0.is_empty() => format!("`{sender}` is one of the senders"),
            _ => "everybody is one of the senders".to_owned(),
        };
        Reason::new("sender", detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::push;

    #[test]
    fn logins_are_compared_without_case_and_nobody_is_not_somebody() {
        let by =
            |sender: Option<&str>| Push { sender: sender.map(Arc::from), ..push("refs/heads/main", &[]) };
        let rule = senders(["Dev", "dependabot[bot]"]);
        assert_eq!(rule.holds(&by(Some("dEV"))), Truth::True);
        assert_eq!(rule.holds(&by(Some("dependabot[bot]"))), Truth::True);
        let failed = |detail: &str| Truth::False(Reason::new("sender", detail));
        assert_eq!(rule.holds(&by(Some("eve"))), failed("`eve` is not one of the senders"));
        assert_eq!(rule.holds(&by(None)), failed("the push does not say who sent it"));
        assert_eq!(senders::<&str>([]).holds(&by(None)), Truth::True);
    }
}
