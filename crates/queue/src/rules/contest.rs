use std::sync::Arc;

use swifthook_core::{Event, Job, JobId, JobSpec, QueueError, Stage, Superseding};

use super::Rules;
use crate::chain::Kin;
use crate::store::{Rival, Store};

/// How a job stands to the others of its group.
#[derive(Default)]
pub(super) struct Contest {
    /// A newer one that counts: it is queued, running or finishing, or has run to an end of its own.
    pub(super) newer: Option<JobId>,
    /// Older ones that have not ended.
    pub(super) older: Vec<Rival>,
}

impl<S: Store> Rules<'_, S> {
    /// Looks at a job's group. Where nobody knows which of two is newer, neither is.
    pub(super) fn contest(&mut self, this: &Rival, spec: &JobSpec) -> Result<Contest, QueueError> {
        if spec.superseded == Superseding::Keep {
            return Ok(Contest::default());
        }
        let kin = self.store.chains().kin(&this.place, this.before.as_ref(), &this.head);
        let mut contest = Contest::default();
        for rival in self.store.rivals(&spec.group, this.pushed_at, kin.is_known())? {
            match order(this, &rival, &kin) {
                Some(Order::Newer) if counts(rival.stage) => contest.newer = Some(rival.id),
                Some(Order::Older) if !rival.stage.is_final() => contest.older.push(rival),
                _ => {}
            }
        }
        Ok(contest)
    }

    /// Older jobs give way to `job`: those that wait are superseded, those that run are stopped if its recipe
    /// says so. What is being stopped already stays so, unless it was to go on later.
    pub(super) fn give_way(&mut self, older: &[Rival], job: &Job, who: &Arc<str>) -> Result<(), QueueError> {
        for rival in older {
            if rival.stage.is_active() && job.spec.superseded != Superseding::CancelRunning {
                continue;
            }
            let mut entry = match self.store.entry(rival.id) {
                Ok(Some(entry)) => entry,
                // What is damaged can neither run nor give way, and is no reason to refuse what is newer.
                Ok(None) | Err(QueueError::Store { is_permanent: true, .. }) => continue,
                Err(error) => return Err(error),
            };
            entry.job.superseded_by = Some(job.id);
            self.happen(entry, Event::Supersede { at: self.now }, who)?;
        }
        Ok(())
    }
}

/// What another job is, seen from this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Newer,
    Older,
}

/// By the chain of receipts, else by the time that GitHub signed.
fn order(this: &Rival, other: &Rival, kin: &Kin) -> Option<Order> {
    if this.head == other.head {
        return None;
    }
    if this.place == other.place {
        let follows = this.before.as_ref() == Some(&other.head);
        let precedes = other.before.as_ref() == Some(&this.head);
        match (follows || kin.is_older(&other.head), precedes || kin.is_newer(&other.head)) {
            (true, false) => return Some(Order::Older),
            (false, true) => return Some(Order::Newer),
            _ => {}
        }
    }
    match other.pushed_at?.cmp(&this.pushed_at?) {
        std::cmp::Ordering::Less => Some(Order::Older),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(Order::Newer),
    }
}

/// Whether an older job would come too late. Who was given up leaves the field to others.
fn counts(stage: Stage) -> bool {
    !matches!(stage, Stage::Held | Stage::Cancelled | Stage::Superseded)
}
