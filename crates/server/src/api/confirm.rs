use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use swifthook_core::{Actor, Job, Timestamp};

use crate::serve::random;

/// Confirmations that were given out for dangerous calls: each is good once, for two minutes, for the very same call
/// of the very same caller on a job that is still as it was.
#[derive(Default)]
pub(super) struct Confirmations(Mutex<HashMap<String, Confirmation>>);

struct Confirmation {
    call: Call,
    until: Timestamp,
}

/// What a confirmation is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// What is to be done.
    pub(super) action: &'static str,
    /// To what.
    pub(super) target: String,
    /// As what it is when it is asked.
    pub(super) state: String,
    /// Who asks.
    pub(super) caller: Actor,
}

impl Call {
    /// A command to a job, which is still in its stage and its attempt when the command is confirmed, and held for the same.
    pub(super) fn of_job(action: &'static str, job: &Job, caller: &Actor) -> Self {
        let hold = job.state.hold.as_ref().map(|hold| hold.reason().to_string()).unwrap_or_default();
        let state = format!("{} {} {hold}", job.state.stage, job.state.attempt);
        Self { action, target: job.id.to_string(), state, caller: caller.clone() }
    }
}

impl Confirmations {
    /// A new confirmation of `call`, and until when it is good.
    pub(super) fn give(&self, call: Call, now: Timestamp) -> io::Result<(String, Timestamp)> {
        let (token, until) = (random()?, now.after(GOOD_FOR));
        let mut given = self.given();
        given.retain(|_, confirmation| confirmation.until > now);
        given.insert(token.clone(), Confirmation { call, until });
        Ok((token, until))
    }

    /// Whether `token` confirms `call`. It is used up by that, whatever the answer.
    pub(super) fn take(&self, token: &str, call: &Call, now: Timestamp) -> bool {
        let taken = self.given().remove(token);
        taken.is_some_and(|confirmation| confirmation.until > now && confirmation.call == *call)
    }

    fn given(&self) -> MutexGuard<'_, HashMap<String, Confirmation>> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

const GOOD_FOR: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Call {
        Call {
            action: "cancel",
            target: "one".to_owned(),
            state: "running 1".to_owned(),
            caller: Actor("admin".into()),
        }
    }

    #[test]
    fn a_confirmation_is_good_once_and_for_two_minutes() {
        let confirmations = Confirmations::default();
        let (token, until) = confirmations.give(call(), Timestamp(0)).unwrap();
        assert_eq!(until, Timestamp(120_000));
        assert!(confirmations.take(&token, &call(), Timestamp(119_999)));
        assert!(!confirmations.take(&token, &call(), Timestamp(119_999)));
        let (token, _) = confirmations.give(call(), Timestamp(0)).unwrap();
        assert!(!confirmations.take(&token, &call(), Timestamp(120_000)));
        assert!(!confirmations.take("", &call(), Timestamp(0)));
    }

    #[test]
    fn a_confirmation_is_good_for_one_call_only() {
        for other in [
            Call { action: "abandon", ..call() },
            Call { target: "another".to_owned(), ..call() },
            Call { state: "finishing 1".to_owned(), ..call() },
            Call { state: "running 2".to_owned(), ..call() },
            Call { caller: Actor("somebody".into()), ..call() },
        ] {
            let confirmations = Confirmations::default();
            let (token, _) = confirmations.give(call(), Timestamp(0)).unwrap();
            assert!(!confirmations.take(&token, &other, Timestamp(0)), "{other:?}");
            assert!(!confirmations.take(&token, &call(), Timestamp(0)), "it is used up");
        }
    }
}
