//! Admission: time and machines, asked at every claim.

use serde::{Deserialize, Serialize};

use crate::job::Job;
use crate::policy::{HoldReason, Reason};
use crate::time::Timestamp;

/// Says whether a job that is next in line may start now. Not part of the algebra of conditions: "later" must not
/// be lost, and "no" must not be an answer to "is the GPU free".
pub trait Admission: Send + Sync {
    /// What becomes of `job`, given the machines in `fleet`.
    fn admit(&self, job: &Job, now: Timestamp, fleet: &Fleet) -> Admit;

    /// Whether `job`, which runs, is to make way now, and why: it saves, and goes on later. By itself whatever has begun
    /// stays.
    fn makes_way(&self, _job: &Job, _now: Timestamp) -> Option<String> {
        None
    }
}

/// The answer of an [`Admission`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admit {
    /// It starts.
    Now,
    /// It is asked again at that time; the job stays queued.
    NotBefore(Timestamp, Wait, String),
    /// It needs an answer first.
    Hold(HoldReason),
    /// It is no longer wanted.
    NoLonger(Reason),
}

/// What is known of the machines at the moment of a claim.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Fleet {
    /// Runs of this worker that are under way.
    pub running: usize,
    /// Runs that it may have at once.
    pub slots: usize,
}

/// What a queued job waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Wait {
    /// The hours in which it may start.
    Window,
    /// A free GPU.
    Gpu,
    /// Another job of its group.
    Group,
    /// Further pushes.
    Debounce,
    /// The pause after a failure of the machine.
    Backoff,
    /// The time that its policy named.
    Time,
    /// Room on the disk.
    Disk,
    /// The host that has the checkpoint from which it goes on.
    Checkpoint,
}

impl Wait {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::Gpu => "gpu",
            Self::Group => "group",
            Self::Debounce => "debounce",
            Self::Backoff => "backoff",
            Self::Time => "time",
            Self::Disk => "disk",
            Self::Checkpoint => "checkpoint",
        }
    }
}

/// Admits everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Always;

impl Admission for Always {
    fn admit(&self, _job: &Job, _now: Timestamp, _fleet: &Fleet) -> Admit {
        Admit::Now
    }
}
