use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use swifthook_core::{PruneFrom, Retention, Timestamp};

/// What a sweep has to remove, and how far it has come: each goes on where the last one ended.
#[derive(Debug)]
pub(crate) struct Keeper(Mutex<Keeping>);

#[derive(Debug)]
struct Keeping {
    retention: Retention,
    from: PruneFrom,
    rests_until: Timestamp,
}

impl Keeper {
    pub(crate) fn new() -> Self {
        let rests_until = Timestamp(i64::MIN);
        Self(Mutex::new(Keeping { retention: Retention::FOREVER, from: PruneFrom::default(), rests_until }))
    }

    /// Begins anew, by another rule.
    pub(crate) fn set(&self, retention: Retention) {
        let rests_until = Timestamp(i64::MIN);
        *self.keeping() = Keeping { retention, from: PruneFrom::default(), rests_until };
    }

    /// What the next step is to remove, if there is one now.
    pub(crate) fn next(&self, now: Timestamp) -> Option<(Retention, PruneFrom)> {
        let keeping = self.keeping();
        let has_work = keeping.retention != Retention::FOREVER && keeping.rests_until <= now;
        has_work.then_some((keeping.retention, keeping.from))
    }

    /// A step has ended. When all was looked at there is nothing to do for a while.
    pub(crate) fn done(&self, now: Timestamp, next: Option<PruneFrom>) {
        let mut keeping = self.keeping();
        if next.is_none() {
            keeping.rests_until = now.after(REST);
        }
        keeping.from = next.unwrap_or_default();
    }

    fn keeping(&self) -> MutexGuard<'_, Keeping> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

/// How many steps a sweep takes, each a transaction of its own.
pub(crate) const STEPS_A_SWEEP: usize = 16;
/// What is kept for days need not be looked at more often.
const REST: Duration = Duration::from_secs(600);
