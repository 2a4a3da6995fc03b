use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// What a source says of a GPU, before anybody judges it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) uuid: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) index: u32,
    pub(super) is_slice: bool,
    /// Its memory; `Err` where that cannot be told, and why.
    pub(super) memory: Result<Memory, String>,
    /// In percent, where it tells.
    pub(super) utilization: Option<u32>,
    pub(super) processes: Vec<Process>,
}

/// In bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) total: u64,
    pub(super) used: u64,
    pub(super) free: u64,
}

/// A process that computes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// What it uses, in bytes, where that is told.
    pub(super) memory: Option<u64>,
}

/// Whom to ask about GPUs.
pub(super) trait Source: Send {
    /// How they are now. May take as long as the driver does.
    ///
    /// # Errors
    ///
    /// Why nobody can tell.
    fn look(&mut self) -> Result<Vec<Reading>, String>;

    /// The minor numbers of the device nodes of GPUs, by UUID: `/dev/nvidia3` has 3. Not of slices, which have others.
    fn minors(&mut self) -> HashMap<Arc<str>, u32>;

    /// Its name, for people.
    fn name(&self) -> &'static str;
}

impl Reading {
    /// Who uses it, as far as that is told: `30.5 GiB, pid 4711`.
    pub(super) fn users(&self) -> String {
        let used = self.memory.as_ref().map_or(0, |memory| memory.used);
        let pids: Vec<_> = self.processes.iter().map(ToString::to_string).collect();
        let who = if pids.is_empty() { String::new() } else { format!(", {}", pids.join(", ")) };
        format!("{:.1} GiB used{who}", used as f64 / f64::from(1 << 30))
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {}", self.pid)?;
        match self.memory {
            Some(bytes) => write!(f, " with {:.1} GiB", bytes as f64 / f64::from(1 << 30)),
            None => Ok(()),
        }
    }
}
