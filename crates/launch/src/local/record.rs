//! What stands in the files of a run directory.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use swifthook_core::{Enclosure, Exit, RunKey, RunLimits, RunSpec, Stop, StopKind, Timestamp};

/// What the supervisor is to do. The environment is not part of it: it may hold secrets, and goes from process to
/// process only.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) version: u16,
    pub(crate) key: RunKey,
    pub(crate) argv: Vec<String>,
    pub(crate) working_dir: PathBuf,
    pub(crate) timeout: Option<Duration>,
    pub(crate) grace: Duration,
    #[serde(default)]
    pub(crate) limits: RunLimits,
    #[serde(default)]
    pub(crate) enclosure: Enclosure,
    /// The control group to make for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cgroup: Option<PathBuf>,
}

impl Order {
    /// What is to be kept of a run; its environment is not.
    pub(crate) fn of(key: &RunKey, run: &RunSpec) -> Self {
        Self {
            version: VERSION,
            key: *key,
            argv: run.argv.clone(),
            working_dir: run.working_dir.clone(),
            timeout: run.timeout,
            grace: run.grace,
            limits: run.limits,
            enclosure: run.enclosure.clone(),
            cgroup: None,
        }
    }
}

/// That a run has begun, and by which supervisor, which leads its session.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Begun {
    pub(crate) version: u16,
    pub(crate) supervisor: i32,
    pub(crate) supervisor_started: u64,
    pub(crate) boot: String,
    /// The namespace in which its pid means something: a container that was made anew counts from 1 again.
    pub(crate) pids: String,
    pub(crate) at: Timestamp,
}

/// How a run ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) version: u16,
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stopped: Option<StopKind>,
    pub(crate) message: Option<String>,
    pub(crate) began_at: Timestamp,
    pub(crate) ended_at: Timestamp,
}

impl From<Ended> for Exit {
    fn from(ended: Ended) -> Self {
        Self {
            code: ended.code,
            signal: ended.signal,
            stopped: ended.stopped,
            message: ended.message.map(Into::into),
            at: Some(ended.ended_at),
            ..Self::default()
        }
    }
}

/// A mark with a word for people.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) version: u16,
    pub(crate) message: String,
    pub(crate) at: Timestamp,
}

/// That somebody wants the run to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StopRequest {
    pub(crate) version: u16,
    pub(crate) how: Stop,
}

/// The version of each of them.
pub(crate) const VERSION: u16 = 1;
