//! The files of control of a run, beside those that a run of the local launcher has too (`lock`, `run.json`, `stop.*.json`,
//! `exit.json`, `vanished.json`, `forbidden.json`). The batch script works among them; the training is started elsewhere.
//! A run whose batch script an earlier version wrote has all of it in its own directory.
//!
//! | file | written by | says |
//! | --- | --- | --- |
//! | `command`, `environment` | launcher, under the lock | what becomes the training, and what it is given |
//! | `sandbox` | launcher, under the lock | what bubblewrap is told, where the run is in a sandbox |
//! | `submitting.json` | launcher, under the lock | `sbatch` was called, or will be: whether Slurm has a job only Slurm knows |
//! | `submitted.json` | launcher, under the lock | the number of the Slurm job |
//! | `start/` | the batch script, or who forbids | the key is spent: whoever makes it has the run |
//! | `start/<job>.<count>` | the batch script | the Slurm job that has it, and how often Slurm began it |
//! | `session`, `code`, `killed`, `missing`, `*.over` | on the node | what `run.sh` needs to end it and to tell how it ended |
//! | `grace` | launcher | how long it may take to end, if other than it was submitted with |
//! | `requeued.json` | launcher | Slurm put it back into its queue, and it was taken out of there |
//!
//! Where somebody dies, and what the next one finds:
//!
//! 1. The submitter before `submitting.json`: Slurm has nothing. The key is free.
//! 2. The submitter after that: Slurm is asked for a job of this name. If it has none the key is free; an `sbatch` that is
//!    on its way still may make a job, and `start/` sees to it that of all of them one runs.
//! 3. The batch script before `exit.json`: what Slurm says of its job counts.
//! 4. Whoever forbids after making `start/` and before `forbidden.json`: nobody's run, which has vanished.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use swifthook_core::Timestamp;

use crate::local::{Lock, Note, RunDir, VERSION};

/// The Slurm job of a run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Submitted {
    pub(super) version: u16,
    pub(super) slurm_job: u64,
}

/// What a run directory has of Slurm.
pub(super) trait SlurmFiles {
    /// Waits for the lock while somebody is just submitting the run.
    fn lock_patiently(&self) -> io::Result<Lock>;
    /// Writes a file that only we may read.
    fn write_private(&self, name: &str, text: impl AsRef<[u8]>) -> io::Result<()>;
    fn submitted(&self) -> io::Result<Option<Submitted>>;
    fn write_submitted(&self, slurm_job: u64) -> io::Result<()>;
    /// Whether `sbatch` may have been called.
    fn is_submitting(&self) -> io::Result<bool>;
    fn write_submitting(&self) -> io::Result<()>;
    /// Whether the run has begun, or was forbidden.
    fn has_started(&self) -> io::Result<bool>;
    /// The Slurm job that has the run, once it has begun.
    fn owner(&self) -> io::Result<Option<u64>>;
    /// Takes the run for nobody, so that it never begins; `false` if it has begun.
    fn take_start(&self) -> io::Result<bool>;
    fn is_requeued(&self) -> io::Result<bool>;
    fn write_requeued(&self) -> io::Result<()>;
    /// Makes sure that what was written on a node is seen here: the entries of a directory are remembered for up to a
    /// minute on a network file system, unless one changes it oneself.
    fn refresh(&self) -> io::Result<()>;
    fn remove_environment(&self);
}

impl SlurmFiles for RunDir {
    fn lock_patiently(&self) -> io::Result<Lock> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(lock) = self.lock_or_make()? {
                return Ok(lock);
            }
            if Instant::now() >= deadline {
                let message =
                    format!("{} is held by somebody who does not get on", self.lock_path().display());
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            thread::sleep(PAUSE);
        }
    }

    fn write_private(&self, name: &str, text: impl AsRef<[u8]>) -> io::Result<()> {
        self.write_bytes(name, text.as_ref())
    }

    fn submitted(&self) -> io::Result<Option<Submitted>> {
        self.read(SUBMITTED)
    }

    fn write_submitted(&self, slurm_job: u64) -> io::Result<()> {
        self.write(SUBMITTED, &Submitted { version: VERSION, slurm_job })
    }

    fn is_submitting(&self) -> io::Result<bool> {
        self.has(SUBMITTING)
    }

    fn write_submitting(&self) -> io::Result<()> {
        self.write(SUBMITTING, &note("sbatch is called"))
    }

    fn has_started(&self) -> io::Result<bool> {
        self.has(START)
    }

    fn owner(&self) -> io::Result<Option<u64>> {
        let entries = match self.files().and_then(|files| files.folder(START)?.entries(MOST_STARTS)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            entries => entries?,
        };
        let owner = |name: &str| name.split_once('.')?.0.parse().ok();
        Ok(entries.iter().find_map(|entry| owner(entry.name.to_str()?)))
    }

    fn take_start(&self) -> io::Result<bool> {
        match DirBuilder::new().mode(0o700).create(self.control.join(START)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn is_requeued(&self) -> io::Result<bool> {
        self.has(REQUEUED)
    }

    fn write_requeued(&self) -> io::Result<()> {
        self.write(REQUEUED, &note("Slurm put it back into its queue"))
    }

    fn refresh(&self) -> io::Result<()> {
        self.write_private(LOOKED, "")?;
        self.files()?.remove_file(LOOKED)
    }

    fn remove_environment(&self) {
        // One that is not there any more was removed on the node.
        let _ = self.files().and_then(|files| files.remove_file(ENVIRONMENT));
    }
}

pub(super) fn note(message: &str) -> Note {
    Note { version: VERSION, message: message.into(), at: Timestamp::from(SystemTime::now()) }
}

pub(super) const COMMAND: &str = "command";
pub(super) const ENVIRONMENT: &str = "environment";
pub(super) const GRACE: &str = "grace";
const SUBMITTING: &str = "submitting.json";
const SUBMITTED: &str = "submitted.json";
const REQUEUED: &str = "requeued.json";
const START: &str = "start";
const LOOKED: &str = "looked";
/// More often than Slurm begins one job.
const MOST_STARTS: usize = 10_000;
/// Longer than `sbatch` may take.
const PATIENCE: Duration = Duration::from_secs(75);
const PAUSE: Duration = Duration::from_millis(5);
