use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use swifthook_core::{Capabilities, RunKey, Traces};

use super::follow::Follows;
use super::run_dir::{RunDir, control_of, make_both};
use crate::beneath::Looks;
use crate::cgroup::RunGroups;
use crate::process::boot_id;

/// Starts runs as processes of this machine, each under a supervisor that outlives us.
///
/// A run has the directory `<runs>/<job>-<attempt>`: `log` is its output, `output/` its result. What keeps it (its lock, how
/// it ended) is in another one, `<job>-<attempt>` of a folder `control` beside `runs`, or `NAME.control` where that is called
/// `NAME`: show that to no run. How far a run is stands in
/// `progress.jsonl` or `output/logging.jsonl`, for a launcher that was told how to [read](Self::reading) them. Its
/// environment has `SWIFTHOOK_RUN=<job>-<attempt>` beside what the [`RunSpec`](swifthook_core::RunSpec) says: by that a
/// run is known whose supervisor was killed.
///
/// Only the host that started a run can answer for it; on any other it is out of reach. A container that gets a new
/// name with every start needs a fixed [`host`](Self::host).
///
/// What leaves the supervisor's family (a container runtime, `systemd-run`, a cluster's scheduler) is not held by
/// it, and not ended by it.
#[derive(Clone, Debug)]
pub struct LocalLauncher {
    pub(super) runs: Arc<Path>,
    pub(super) control: Arc<Path>,
    pub(super) host: Arc<str>,
    pub(super) boot: Arc<str>,
    pub(super) supervisor: Arc<Path>,
    pub(super) follows: Follows,
    /// Looks at what keeps runs, apart from those at what they write: these may hang by a run's own doing.
    pub(super) looks: Looks,
    /// Looks that ask other programs, too.
    pub(super) examinations: Looks,
    pub(super) groups: Option<RunGroups>,
}

impl LocalLauncher {
    /// What it can do.
    pub const CAPABILITIES: Capabilities = Capabilities {
        survives_restart: true,
        any_host: false,
        logs: true,
        yields: true,
        multi_node: false,
        gpu_leases: true,
        images: false,
        checks_out: false,
        keeps_output: true,
        counts_processes: true,
    };

    /// A launcher whose runs have their directories in `runs`.
    ///
    /// The supervisor is the binary that is running now, executed again: it must call
    /// [`supervise_if_asked`](crate::supervise_if_asked) before anything else.
    ///
    /// # Errors
    ///
    /// If `runs` or the folder for control cannot be made, or `/proc` does not tell which machine this is.
    pub fn new(runs: impl AsRef<Path>) -> io::Result<Self> {
        let runs = std::path::absolute(runs)?;
        let control = control_of(&runs);
        make_both(&runs, &control)?;
        Ok(Self {
            runs: runs.into(),
            control: control.into(),
            host: fs::read_to_string("/proc/sys/kernel/hostname")?.trim().into(),
            boot: boot_id()?.into(),
            // Not the path that it has: the file there may be another version by the time of a run.
            supervisor: PathBuf::from("/proc/self/exe").into(),
            follows: Follows::new(None),
            looks: Looks::new(MOST_LOOKS, PATIENCE),
            examinations: Looks::new(1, 2 * PATIENCE),
            groups: None,
        })
    }

    /// The same, and how far its runs are and which checkpoints they have is read so: of ms-swift, and of whatever keeps
    /// to the contract of `SWIFTHOOK_PROGRESS`, by `SwiftTraces` of `swifthook-msswift`.
    #[must_use]
    pub fn reading(self, traces: Arc<dyn Traces>) -> Self {
        Self { follows: Follows::new(Some(traces)), ..self }
    }

    /// The same with another binary as the supervisor, such as `swifthook-supervise`.
    #[must_use]
    pub fn supervised_by(self, program: impl Into<PathBuf>) -> Self {
        Self { supervisor: program.into().into(), ..self }
    }

    /// The same with a control group for each run.
    #[must_use]
    pub fn in_groups(self, groups: RunGroups) -> Self {
        Self { groups: Some(groups), ..self }
    }

    /// The same under another name of the host.
    #[must_use]
    pub fn host(self, name: &str) -> Self {
        Self { host: name.into(), ..self }
    }

    pub(super) fn dir(&self, key: &RunKey) -> RunDir {
        RunDir::of(&self.runs, &self.control, key)
    }
}

/// Limit of looks at what keeps a run that may hang.
const MOST_LOOKS: usize = 8;
/// Time that one may take: longer than somebody who begins a run holds its lock, or what is left of one takes to end.
const PATIENCE: Duration = Duration::from_secs(60);
