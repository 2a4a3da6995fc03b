use std::collections::BTreeMap;
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
    /// The sandbox that bubblewrap keeps the command in. There is no prefix then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Sandbox>,
    /// Folders of objects that a working tree borrows, each with the group that is to read them where the user cannot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lent: Vec<(String, u32)>,
}

impl Enclosure {
    /// True where the command is started as it stands.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.prefix.is_empty() && self.sandbox.is_none()
    }
}

/// The view of the machine that [bubblewrap](https://github.com/containers/bubblewrap) gives a run: namespaces of its own for
/// users, processes, IPC, host name, mounts and control groups, no capabilities, a session of its own, and all files to read,
/// except as it is listed here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// The absolute path of bubblewrap: a `PATH` may lead into what a repository has chosen.
    pub program: String,
    /// The user that the process becomes first, which root has to; `None` for whoever starts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Account>,
    /// True where the network is that of the machine; else there is none.
    pub network: bool,
    /// The most bytes that files in its `/dev/shm` may have, and those in all its other file systems in memory together;
    /// `None` for what the kernel gives to each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Files and folders that are not as on the machine, in this order: the later cover the earlier.
    pub mounts: Vec<Mount>,
    /// The folder that the command begins in.
    pub working_dir: String,
    /// The device nodes of each GPU, by its name in `CUDA_VISIBLE_DEVICES`: those are shown that the variable names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gpus: BTreeMap<String, Vec<String>>,
}

/// A user of a run, who need not be one of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The number of the user; never 0.
    pub user: u32,
    /// The number of the user's group.
    pub group: u32,
    /// Further groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<u32>,
    /// The name that programs find in `/etc/passwd`, for one whom the machine does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The way in which something is shown at an absolute path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mount {
    /// An empty folder in memory, where there is a folder.
    Empty(String),
    /// The one of the machine, to read; nothing where it cannot be reached.
    ReadOnly(String),
    /// Something beneath a folder of the machine, to read, where no link leads to it; nothing where there is nothing.
    ReadOnlyBeneath {
        /// The folder, whose own path nobody changes who is confined.
        folder: String,
        /// The path beneath it.
        path: String,
    },
    /// A folder that is made where it is missing: to write to, else to read, else nothing.
    Cache(String),
    /// Something of the machine to write to, at another path. It has to be there.
    Writable {
        /// The path on the machine.
        from: String,
        /// The path that the run sees.
        at: String,
    },
    /// Nothing to be read: an empty file or folder in the place of what is there, also of what a link leads to.
    Hidden(String),
}
