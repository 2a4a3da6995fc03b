//! What whoever runs a store asks of it: how much there is, and what is to go.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::id::{DeliveryId, JobId};
use crate::job::Stage;
use crate::queue::QueueError;
use crate::time::Timestamp;

/// For how long what has ended is kept; `None` is for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Jobs that succeeded, were cancelled or superseded, from their end on, and deliveries that led to no job.
    pub keep: Option<Duration>,
    /// Jobs that failed or were quarantined, from their end on.
    pub keep_failed: Option<Duration>,
}

impl Retention {
    /// Nothing is removed.
    pub const FOREVER: Self = Self { keep: None, keep_failed: None };

    /// For how long a job is kept that has come to this end; `None` for what has not ended, too.
    #[must_use]
    pub fn of(&self, stage: Stage) -> Option<Duration> {
        match stage {
            Stage::Failed | Stage::Quarantined => self.keep_failed,
            Stage::Succeeded | Stage::Cancelled | Stage::Superseded => self.keep,
            _ => None,
        }
    }

    /// The shorter of the two: what is younger than that stays, whatever became of it.
    #[must_use]
    pub fn shortest(&self) -> Option<Duration> {
        [self.keep, self.keep_failed].into_iter().flatten().min()
    }
}

/// A store, for whoever runs it.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// From now on [`sweep`](crate::JobQueue::sweep) removes what is older than that, a little at a time. Until this
    /// is called nothing is removed.
    fn retain(&self, retention: Retention);

    /// Removes what is older than `retention` says: one small transaction, from where the last one ended
    /// ([`Pruned::next`]), so that nobody waits long behind it. A job goes with its timeline, and only at its end;
    /// a delivery goes with its verdicts and paths, once none of its jobs is there any more.
    ///
    /// What is known of a change stays: its key, and of its last training the id, the run, the end, and the hook and
    /// GUID that it came by. A delivery of it still is a duplicate, or trains again what failed, by the same rules.
    ///
    /// With `is_dry` nothing is removed, and what would be is counted.
    ///
    /// # Errors
    ///
    /// When the store cannot answer; nothing of this step was removed.
    async fn prune(&self, retention: Retention, from: PruneFrom, is_dry: bool) -> Result<Pruned, QueueError>;

    /// How much there is.
    ///
    /// # Errors
    ///
    /// When the store cannot answer.
    async fn stats(&self) -> Result<Stats, QueueError>;
}

/// Where a step of pruning begins. The first one begins at the [`Default`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PruneFrom {
    /// After this job of this final stage.
    Jobs(Stage, Option<JobId>),
    /// After this delivery.
    Deliveries(Option<DeliveryId>),
}

impl Default for PruneFrom {
    fn default() -> Self {
        Self::Jobs(Stage::Succeeded, None)
    }
}

/// What a step of pruning did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Jobs that are gone.
    pub jobs: u64,
    /// Deliveries that are gone.
    pub deliveries: u64,
    /// Where the next step begins; `None` if all was looked at.
    pub next: Option<PruneFrom>,
}

/// How much there is in a store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Jobs in each stage, in the order of [`Stage::ALL`].
    pub jobs: Vec<(Stage, u64)>,
    /// Deliveries.
    pub deliveries: u64,
    /// Changes that are known, with those whose jobs were removed.
    pub changes: u64,
    /// When the oldest delivery that is there was received.
    pub oldest: Option<Timestamp>,
    /// When the newest was.
    pub newest: Option<Timestamp>,
    /// What it takes on disk, with its log and indexes, in bytes; `None` where nothing is on disk.
    pub bytes: Option<u64>,
    /// The version of its schema; `None` where there is none.
    pub schema: Option<u32>,
}
