use std::io;
use std::sync::PoisonError;
use std::time::Instant;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use swifthook_core::{
    Capabilities, Checkpoint, JobId, LaunchError, Progress, Pulse, RunHandle, RunKey, RunSpec, RunStatus,
    Stop, TrainingLauncher,
};

use super::command::{Answer, call};
use super::config::SlurmLauncher;
use super::end::{in_dir, unreachable};
use super::files::{COMMAND, ENVIRONMENT, GRACE, SlurmFiles, note};
use super::refusal::refused;
use super::script::{self, BEFORE_THE_LIMIT, SANDBOX, Unsayable, job_name};
use crate::local::{Lock, Order, RunDir, StopRequest, VERSION, prepare, still_there};
use crate::sandbox::told;

#[async_trait]
impl TrainingLauncher for SlurmLauncher {
    fn capabilities(&self) -> Capabilities {
        Self::CAPABILITIES
    }

    /// The run is in the queue when this returns.
    async fn submit(&self, key: &RunKey, run: &RunSpec) -> Result<RunHandle, LaunchError> {
        let (this, of, run) = (self.clone(), *key, run.clone());
        self.settle(key, async move { this.submit_now(&of, &run).await }).await
    }

    async fn find(&self, key: &RunKey) -> Result<Option<RunHandle>, LaunchError> {
        let (this, of) = (self.clone(), *key);
        self.settle(key, async move { this.find_now(&of).await }).await
    }

    async fn forbid(&self, key: &RunKey) -> Result<Option<RunHandle>, LaunchError> {
        let (this, of) = (self.clone(), *key);
        self.settle(key, async move { this.forbid_now(&of).await }).await
    }

    async fn poll(&self, run: &RunHandle) -> Result<RunStatus, LaunchError> {
        if run.host.as_ref() != Some(&self.host) {
            return Ok(unreachable());
        }
        let (this, place) = (self.clone(), self.place(run)?);
        let key = place.key;
        self.settle(&key, async move { this.status(&place).await }).await
    }

    /// By a signal to the batch script, which asks the training and sees to its grace; one that has not begun is taken
    /// out of the queue.
    async fn stop(&self, run: &RunHandle, how: Stop) -> Result<(), LaunchError> {
        let (this, place) = (self.clone(), self.place(run)?);
        let key = place.key;
        self.settle(&key, async move { this.stop_now(&place, how).await }).await
    }

    async fn progress(&self, run: &RunHandle) -> Result<Progress, LaunchError> {
        let place = self.place(run)?;
        let dir = self.dir_of(&place);
        let path = dir.path.clone();
        let is_over = async move {
            Ok(dir.ended().is_ok_and(|ended| ended.is_some()) || dir.has_vanished().unwrap_or(false))
        };
        Ok(match self.settle(&place.key, is_over).await? {
            true => self.follows.look_again(&place.key, &path).await,
            false => self.follows.look(&place.key, &path).await,
        })
    }

    async fn pulse(&self, run: &RunHandle) -> Result<Pulse, LaunchError> {
        let place = self.place(run)?;
        self.follows.pulse(&place.key, &self.dir_of(&place).path).await
    }

    async fn checkpoint(&self, run: &RunHandle) -> Result<Option<Checkpoint>, LaunchError> {
        let place = self.place(run)?;
        self.follows.checkpoint(&place.key, &self.dir_of(&place).path, Some(self.host.clone())).await
    }

    async fn holds(&self, checkpoint: &Checkpoint) -> Result<bool, LaunchError> {
        let (of, this) = (checkpoint.clone(), self.clone());
        // Of which run it is its path says, which is not believed yet.
        let asked = RunKey { job: JobId([0; 16]), attempt: checkpoint.attempt };
        self.follows.look_at(&asked, move || still_there(&of, &this.runs, Some(&this.host))).await?
    }
}

/// Files of a run, written before it is submitted.
struct Parts {
    script: String,
    command: String,
    environment: String,
}

impl SlurmLauncher {
    async fn submit_now(&self, key: &RunKey, run: &RunSpec) -> Result<RunHandle, LaunchError> {
        let mut dir = self.dir(key);
        // What no script can say is refused before anything is made.
        self.parts(&dir, key, run)?;
        dir.create().map_err(|error| in_dir(&dir, error))?;
        let mut _lock = self.lock(&dir).await?;
        if dir.is_forbidden().map_err(|error| in_dir(&dir, error))? {
            return Err(LaunchError::permanent(format!("run {key} is not wanted any more")));
        }
        if !self.has_a_job(&dir, key).await? {
            if dir.is_old() {
                // Nothing came of what an earlier version began.
                dir = RunDir::apart(&self.runs, &self.control, key);
                dir.create().map_err(|error| in_dir(&dir, error))?;
                _lock = self.lock(&dir).await?;
            }
            let failed = |error| in_dir(&dir, error);
            let parts = self.parts(&dir, key, run)?;
            self.write(&dir, key, run, &parts).map_err(failed)?;
            let arguments = script::arguments(&self.options, key, run);
            let slurm_job = match call(&self.options, "sbatch", &arguments, &parts.script).await? {
                Answer::Done(told) => told,
                Answer::Refused(why) => return Err(refused(&why)),
            };
            // `--parsable`: the number, and on some systems the cluster after a semicolon.
            let number = slurm_job.trim().split(';').next().and_then(|number| number.parse().ok());
            let number = number.ok_or_else(|| {
                LaunchError::passing(format!("`sbatch` says `{}`, and not which job it is", slurm_job.trim()))
            })?;
            self.record(&dir, key, number)?;
        }
        Ok(self.handle(&dir, key))
    }

    async fn find_now(&self, key: &RunKey) -> Result<Option<RunHandle>, LaunchError> {
        let dir = self.dir(key);
        let failed = |error| in_dir(&dir, error);
        // Asked first, so that a directory of runs that is not there is not taken for one without this run.
        for folder in [&self.runs, &self.control] {
            folder.read_dir().map_err(failed)?;
        }
        if !dir.has_control().map_err(failed)? || dir.is_forbidden().map_err(failed)? {
            return Ok(None);
        }
        if !dir.is_submitting().map_err(failed)? {
            return Ok(None);
        }
        let _lock = self.lock(&dir).await?;
        Ok(self.has_a_job(&dir, key).await?.then(|| self.handle(&dir, key)))
    }

    async fn forbid_now(&self, key: &RunKey) -> Result<Option<RunHandle>, LaunchError> {
        let dir = self.dir(key);
        let failed = |error| in_dir(&dir, error);
        dir.create().map_err(failed)?;
        let _lock = self.lock(&dir).await?;
        if dir.is_forbidden().map_err(failed)? {
            return Ok(None);
        }
        // A job that comes from an `sbatch` on its way finds the start taken.
        if self.has_a_job(&dir, key).await? || !dir.take_start().map_err(failed)? {
            return Ok(Some(self.handle(&dir, key)));
        }
        dir.write_forbidden(&note("it was forbidden before it began")).map_err(failed)?;
        dir.remove_environment();
        Ok(None)
    }

    async fn stop_now(&self, place: &Place, how: Stop) -> Result<(), LaunchError> {
        let (key, dir) = (place.key, self.dir_of(place));
        let ask = || {
            if dir.ended()?.is_some() || dir.has_vanished()? {
                return Ok(false);
            }
            if let Stop::Grace(grace) = how {
                dir.write_private(GRACE, script::seconds(grace))?;
            }
            dir.write_stop(&StopRequest { version: VERSION, how })?;
            Ok(true)
        };
        if !ask().map_err(|error| in_dir(&dir, error))? {
            return Ok(());
        }
        let name = format!("--name={}", job_name(&key));
        self.cancel(&["--state=PENDING".to_owned(), name.clone()]).await?;
        match how {
            // The script hears it too, kills what it has, and says so; what does not end then is killed by Slurm.
            Stop::Kill => self.cancel(&[name]).await,
            Stop::Grace(_) | Stop::Yield => {
                self.cancel(&["--batch".to_owned(), "--signal=TERM".to_owned(), name]).await
            }
        }
    }

    fn parts(&self, dir: &RunDir, key: &RunKey, run: &RunSpec) -> Result<Parts, LaunchError> {
        let unsayable = |Unsayable(why): Unsayable| LaunchError::permanent(why);
        if run.argv.is_empty() {
            return Err(LaunchError::permanent("the command is empty"));
        }
        if run.run_dir != dir.path {
            return Err(LaunchError::permanent(format!(
                "the run directory is {}, and that of {key} would be {}",
                run.run_dir.display(),
                dir.path.display()
            )));
        }
        if run.enclosure.owner.is_some() {
            return Err(LaunchError::permanent(
                "on Slurm a run is its submitter's: it cannot be another user's",
            ));
        }
        if run.enclosure.sandbox.is_some() && rustix::process::geteuid().is_root() {
            return Err(LaunchError::permanent("on Slurm a run is its submitter's, and root has no sandbox"));
        }
        let least = run.grace + BEFORE_THE_LIMIT;
        if self.options.time.is_some_and(|time| time <= least) {
            let why = format!(
                "it is asked to save {} s before the time limit of its Slurm job, which leaves it no time",
                least.as_secs()
            );
            return Err(LaunchError::permanent(why));
        }
        Ok(Parts {
            script: script::script(&self.options, &dir.control, key, run).map_err(unsayable)?,
            command: script::command(&dir.control, key, run).map_err(unsayable)?,
            environment: script::environment(run).map_err(unsayable)?,
        })
    }

    fn write(&self, dir: &RunDir, key: &RunKey, run: &RunSpec, parts: &Parts) -> io::Result<()> {
        std::fs::create_dir_all(&run.working_dir)?;
        std::fs::create_dir_all(&run.output_dir)?;
        dir.write_order(&Order::of(key, run))?;
        if let Some(sandbox) = &run.enclosure.sandbox {
            prepare(dir, run)?;
            dir.write_private(SANDBOX, told(sandbox)?)?;
        }
        dir.write_private(COMMAND, &parts.command)?;
        dir.write_private(ENVIRONMENT, &parts.environment)?;
        dir.log()?;
        dir.write_submitting()
    }

    /// Whether the run has a Slurm job, or had one. The caller has the lock.
    async fn has_a_job(&self, dir: &RunDir, key: &RunKey) -> Result<bool, LaunchError> {
        let known = || {
            let is_over = dir.ended()?.is_some() || dir.has_vanished()?;
            Ok((is_over || dir.submitted()?.is_some() || dir.has_started()?, dir.is_submitting()?))
        };
        let (is_known, is_submitting) = known().map_err(|error| in_dir(dir, error))?;
        if is_known || !is_submitting {
            return Ok(is_known);
        }
        // Whoever called `sbatch` did not live to write down what came of it.
        let jobs = self.queue.named(key).await?;
        let Some(job) = jobs.first() else { return Ok(false) };
        self.record(dir, key, job.id)?;
        Ok(true)
    }

    fn record(&self, dir: &RunDir, key: &RunKey, slurm_job: u64) -> Result<(), LaunchError> {
        dir.write_submitted(slurm_job).map_err(|error| in_dir(dir, error))?;
        self.submitted.lock().unwrap_or_else(PoisonError::into_inner).insert(*key, Instant::now());
        tracing::info!(run = %key, slurm_job, "is with Slurm");
        Ok(())
    }

    /// When the run was submitted by this process.
    pub(super) fn submitted_at(&self, key: &RunKey) -> Option<Instant> {
        self.submitted.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    /// Has Slurm signal or cancel jobs. That there are none of them any more is no error.
    pub(super) async fn cancel(&self, which: &[String]) -> Result<(), LaunchError> {
        match call(&self.options, "scancel", which, "").await? {
            Answer::Done(_) => Ok(()),
            Answer::Refused(why) if GONE.iter().any(|phrase| why.contains(phrase)) => Ok(()),
            Answer::Refused(why) => Err(LaunchError::passing(format!("`scancel` says: {why}"))),
        }
    }

    async fn lock(&self, dir: &RunDir) -> Result<Lock, LaunchError> {
        let of = dir.clone();
        let taken = tokio::task::spawn_blocking(move || of.lock_patiently()).await;
        let taken =
            taken.map_err(|error| LaunchError::passing("the launcher was interrupted").because(error))?;
        taken.map_err(|error| in_dir(dir, error))
    }

    /// The same from whoever asks.
    fn handle(&self, dir: &RunDir, key: &RunKey) -> RunHandle {
        let place = Place { key: *key, has_control: !dir.is_old() };
        let data = serde_json::to_value(place).expect("a key is always JSON");
        RunHandle { launcher: self.name.clone(), host: Some(self.host.clone()), version: VERSION, data }
    }

    fn place(&self, run: &RunHandle) -> Result<Place, LaunchError> {
        if run.version != VERSION {
            return Err(LaunchError::permanent(format!("a handle of version {}", run.version)));
        }
        if run.host.as_ref() != Some(&self.host) {
            let its = run.host.as_deref().unwrap_or_default();
            let message = format!("the run was submitted on host `{its}`, and this is `{}`", self.host);
            return Err(LaunchError::passing(message));
        }
        serde_json::from_value(run.data.clone())
            .map_err(|error| LaunchError::permanent("not a handle of this launcher").because(error))
    }

    /// The directories of a run. Of one that has a directory for control by its handle, nothing else is taken for one.
    pub(super) fn dir_of(&self, place: &Place) -> RunDir {
        match place.has_control {
            true => RunDir::apart(&self.runs, &self.control, &place.key),
            false => self.dir(&place.key),
        }
    }

    /// Does what is to be found out or done about a run, within its time. It is on a thread of its own, since the file system that
    /// it looks at now and then may be across a network.
    async fn settle<T: Send + 'static>(
        &self,
        key: &RunKey,
        work: impl Future<Output = Result<T, LaunchError>> + Send + 'static,
    ) -> Result<T, LaunchError> {
        let runtime = tokio::runtime::Handle::current();
        self.looks.look(key, move || runtime.block_on(work)).await?
    }
}

/// The launcher's part of a handle.
#[derive(Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) key: RunKey,
    /// Set where there is a directory for control; not so of runs that an earlier version submitted.
    #[serde(default)]
    has_control: bool,
}

/// How `scancel` says that a job has ended, or has not begun.
const GONE: [&str; 4] =
    ["Invalid job id", "already completing or completed", "already finished", "is pending"];
