//! What workers tell of themselves, for those who look after them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// A worker's word that it is there. Nothing is decided by it: leases alone say whose a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Its name, unique among those that share the queue.
    pub name: Arc<str>,
    /// Its host.
    pub host: Arc<str>,
    /// Its labels.
    pub labels: Vec<Arc<str>>,
    /// Runs that it may have at once.
    pub slots: usize,
    /// Runs that it has.
    pub busy: usize,
    /// The version of its software.
    pub version: Arc<str>,
    /// The models of the GPUs that it may give to runs, one for each, as far as it knows them.
    pub gpus: Vec<Arc<str>>,
    /// Where it is on its way.
    pub duty: Duty,
}

/// Where a worker is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    /// It has just begun.
    Begins,
    /// It claims jobs.
    Works,
    /// It claims no more, and lets go of what it has.
    Drains,
    /// It is gone, and is to be listed no more.
    Ends,
}

/// A worker, as it was last heard of. Times are the queue's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownWorker {
    /// Its name.
    pub name: Arc<str>,
    /// Its host.
    pub host: Arc<str>,
    /// Its labels.
    pub labels: Vec<Arc<str>>,
    /// Runs that it may have at once.
    pub slots: usize,
    /// Runs that it has.
    pub busy: usize,
    /// The version of its software.
    pub version: Arc<str>,
    /// The models of the GPUs that it may give to runs, one for each, as far as it knows them.
    #[serde(default)]
    pub gpus: Vec<Arc<str>>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was last heard of.
    pub seen_at: Timestamp,
    /// Whether it claims no more.
    pub is_draining: bool,
}
