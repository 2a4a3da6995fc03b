use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a run may use; `None` is as much as there is.
///
/// A launcher sees to what it can: the local one limits open files for each process, and looks again and again at what all
/// processes of the run use together. A run that goes over it is asked to end as one whose time is up; where the run has a
/// control group, the kernel lets it have an eighth more of memory, and kills it beyond, and gives it no more processes
/// than it may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunLimits {
    /// Memory of all its processes, in bytes; not that of GPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Time on processors, of all its processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_time: Option<Duration>,
    /// Files that one of its processes has open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// What it writes into its directory, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<u64>,
    /// Processes that it has at once, each of their threads counted as one, as the kernel counts tasks. `None` is
    /// [`PROCESSES`](Self::PROCESSES), or half of what the machine or the service around the run can have, if that is
    /// less: a run that forks without end never has all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// Size of its log, in bytes: beyond it the middle is cut out of the file, and its beginning and end are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<u64>,
}

impl RunLimits {
    /// Processes and threads of a run that says nothing of them.
    pub const PROCESSES: u64 = 65_536;

    /// Returns true if somebody has to look at memory, processor time or disk that the run uses.
    #[must_use]
    pub fn are_watched(&self) -> bool {
        self.memory.is_some() || self.cpu_time.is_some() || self.disk.is_some()
    }
}

/// What stands between a run and the rest of its machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enclosure {
    /// A program and its arguments that execute the command, which follows them. No shell sees them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefix: Vec<String>,
    /// Whether that program stays beside the command and would die of a signal that is meant for it: then it is spared,
    /// and ends with the command.
    #[serde(default)]
    pub outlives_command: bool,
    /// The user and group whom the directories belong to that the run writes into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<(u32, u32)>,
}
