use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use swifthook_core::{Capabilities, RunKey, Traces};

use super::queue::Queue;
use crate::beneath::Looks;
use crate::local::{Follows, RunDir, control_of, make_both};

/// What a site says of its Slurm. All of it has a default: that of the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlurmOptions {
    /// Where runs are queued.
    pub partition: Option<String>,
    /// Whom they are charged to.
    pub account: Option<String>,
    /// The quality of service.
    pub qos: Option<String>,
    /// The generic resource that is a GPU: `gpu`, or `gpu:a100`. As many are asked for as a recipe says.
    pub gres: String,
    /// Processors of a node.
    pub cpus: Option<NonZeroU32>,
    /// How long one Slurm job may take. A run that needs longer saves before that and goes on in another one.
    pub time: Option<Duration>,
    /// Further options of `sbatch`, each for a line `#SBATCH …`. None can undo what swifthook says itself.
    pub lines: Vec<String>,
    /// The text of a script of the site's own, with a line [`HERE`](Self::HERE) where the run is to be.
    pub template: Option<String>,
    /// The folder of Slurm's programs, where they are not on the `PATH`.
    pub programs: Option<PathBuf>,
    /// The `slurm.conf` of the cluster, where it is not where Slurm looks for it.
    pub conf: Option<PathBuf>,
    /// How often Slurm is asked how all runs are, at most.
    pub poll: Duration,
}

impl SlurmOptions {
    /// The line of a template where the run is to be.
    pub const HERE: &str = "{swifthook}";

    /// Whether a line can be one of `#SBATCH`: an option, on one line.
    #[must_use]
    pub fn is_line(text: &str) -> bool {
        text.starts_with('-') && !text.contains(['\n', '\r', '\0'])
    }

    /// Whether a template has a place for the run, exactly one, after a first line that says what runs it.
    #[must_use]
    pub fn is_template(text: &str) -> bool {
        text.starts_with("#!") && text.lines().skip(1).filter(|line| line.trim() == Self::HERE).count() == 1
    }

    /// The script around a run.
    pub(super) fn framed(&self, run: &str) -> String {
        let lines: String = self.lines.iter().map(|line| format!("#SBATCH {line}\n")).collect();
        let Some(template) = &self.template else { return format!("#!/bin/sh\n{lines}{run}") };
        let mut script = String::new();
        for (number, line) in template.lines().enumerate() {
            match line.trim() {
                Self::HERE => script.push_str(run),
                _ => script.extend([line, "\n"]),
            }
            if number == 0 {
                script.push_str(&lines);
            }
        }
        script
    }
}

impl Default for SlurmOptions {
    fn default() -> Self {
        Self {
            partition: None,
            account: None,
            qos: None,
            gres: "gpu".to_owned(),
            cpus: None,
            time: None,
            lines: Vec::new(),
            template: None,
            programs: None,
            conf: None,
            poll: Duration::from_secs(10),
        }
    }
}

/// Starts runs as jobs of a Slurm cluster, by its own commands (`sbatch`, `squeue`, `scontrol`, `scancel`, and `sacct`
/// where there is one).
///
/// A run has the same directories as one of the [`LocalLauncher`](crate::LocalLauncher), with the same files, on a file system
/// that this machine and the nodes share. Only the host that submitted a run answers for it: another one
/// need not have that directory, and would take the run for one that never began.
///
/// A run is on its nodes as the user whom swifthook runs as. Of its limits, Slurm sees to memory and the shell to open
/// files; those of disk and processor time are not seen to.
#[derive(Clone)]
pub struct SlurmLauncher {
    pub(super) name: Arc<str>,
    pub(super) runs: Arc<Path>,
    pub(super) control: Arc<Path>,
    pub(super) host: Arc<str>,
    pub(super) options: Arc<SlurmOptions>,
    pub(super) follows: Follows,
    /// Looks at what keeps runs, and talks with Slurm about them.
    pub(super) looks: Looks,
    pub(super) queue: Arc<Queue>,
    /// When this process submitted which run: a look at the queue that is older says nothing of it.
    pub(super) submitted: Arc<Mutex<HashMap<RunKey, Instant>>>,
}

impl SlurmLauncher {
    /// What it can do.
    pub const CAPABILITIES: Capabilities = Capabilities {
        survives_restart: true,
        any_host: false,
        logs: true,
        yields: true,
        multi_node: true,
        gpu_leases: false,
        images: false,
        checks_out: false,
        keeps_output: true,
        counts_processes: false,
    };

    /// A launcher of this name, whose runs have their directories in `runs`.
    ///
    /// # Errors
    ///
    /// When `runs` cannot be made, or `/proc` does not tell which machine this is.
    pub fn new(name: &str, runs: impl AsRef<Path>, options: SlurmOptions) -> io::Result<Self> {
        let runs = std::path::absolute(runs)?;
        let control = control_of(&runs);
        make_both(&runs, &control)?;
        let options = Arc::new(options);
        Ok(Self {
            name: name.into(),
            runs: runs.into(),
            control: control.into(),
            host: fs::read_to_string("/proc/sys/kernel/hostname")?.trim().into(),
            follows: Follows::new(None),
            looks: Looks::new(MOST_LOOKS, PATIENCE),
            queue: Arc::new(Queue::new(options.clone())),
            submitted: Arc::default(),
            options,
        })
    }

    /// The same, and how far its runs are and which checkpoints they have is read so.
    #[must_use]
    pub fn reading(self, traces: Arc<dyn Traces>) -> Self {
        Self { follows: Follows::new(Some(traces)), ..self }
    }

    /// The same under another name of the host.
    #[must_use]
    pub fn host(self, name: &str) -> Self {
        Self { host: name.into(), ..self }
    }

    /// How often Slurm was asked how all runs are: at most once in each [`poll`](SlurmOptions::poll).
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.queue.asked()
    }

    pub(super) fn dir(&self, key: &RunKey) -> RunDir {
        RunDir::of(&self.runs, &self.control, key)
    }
}

impl fmt::Debug for SlurmLauncher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlurmLauncher")
            .field("name", &self.name)
            .field("runs", &self.runs)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Limit of looks at one run that may hang.
const MOST_LOOKS: usize = 8;
/// Time that one may take: as long as `sbatch`, and whoever waits for another one's.
const PATIENCE: Duration = Duration::from_secs(180);
