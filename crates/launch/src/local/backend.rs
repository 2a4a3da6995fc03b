use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use swifthook_core::{
    Capabilities, Checkpoint, LaunchError, Progress, Pulse, Reason, RunHandle, RunKey, RunSpec, RunStatus,
    Stop, Timestamp, TrainingLauncher,
};

use super::checkpoints::{last_checkpoint, still_there};
use super::clear::clear;
use super::config::LocalLauncher;
use super::evidence;
use super::memory;
use super::record::{Note, StopRequest, VERSION};
use super::run_dir::RunDir;
use super::start::{Fate, fate};

#[async_trait]
impl TrainingLauncher for LocalLauncher {
    fn capabilities(&self) -> Capabilities {
        Self::CAPABILITIES
    }

    /// The run has begun when this returns. What is started is not undone if the future is dropped.
    async fn submit(&self, key: &RunKey, run: &RunSpec) -> Result<RunHandle, LaunchError> {
        let (key, run) = (*key, run.clone());
        self.blocking(move |this| this.submit_now(&key, &run)).await
    }

    async fn find(&self, key: &RunKey) -> Result<Option<RunHandle>, LaunchError> {
        let key = *key;
        self.blocking(move |this| this.find_now(&key)).await
    }

    async fn forbid(&self, key: &RunKey) -> Result<Option<RunHandle>, LaunchError> {
        let key = *key;
        self.blocking(move |this| this.forbid_now(&key)).await
    }

    async fn poll(&self, run: &RunHandle) -> Result<RunStatus, LaunchError> {
        let place = Place::of(run)?;
        if run.host.as_ref() != Some(&self.host) {
            return Ok(RunStatus::Unreachable { since: now() });
        }
        self.blocking(move |this| this.poll_now(&place)).await
    }

    async fn stop(&self, run: &RunHandle, how: Stop) -> Result<(), LaunchError> {
        let place = self.reachable(run)?;
        self.blocking(move |this| this.stop_now(&place.key, how)).await
    }

    async fn progress(&self, run: &RunHandle) -> Result<Progress, LaunchError> {
        let place = self.reachable(run)?;
        self.blocking(move |this| Ok(this.progress_now(&place.key))).await
    }

    async fn pulse(&self, run: &RunHandle) -> Result<Pulse, LaunchError> {
        let place = self.reachable(run)?;
        self.blocking(move |this| Ok(evidence::pulse(&this.dir(&place.key).path))).await
    }

    /// In a file `evidence-….txt` of the run's directory.
    async fn examine(&self, run: &RunHandle, why: &Reason) -> Result<Option<PathBuf>, LaunchError> {
        let (place, why) = (self.reachable(run)?, why.clone());
        self.blocking(move |this| {
            let dir = this.dir(&place.key);
            evidence::take(&dir, &place.key, &why).map_err(|error| in_dir(&dir, error))
        })
        .await
    }

    /// The last one that the run itself called whole by a line `{"checkpoint": "…"}`, if it is there; else the last whole
    /// one in `output`.
    async fn checkpoint(&self, run: &RunHandle) -> Result<Option<Checkpoint>, LaunchError> {
        let place = self.reachable(run)?;
        self.blocking(move |this| {
            let dir = this.dir(&place.key).path;
            Ok(last_checkpoint(&this.follows, &place.key, &dir, Some(this.host.clone())))
        })
        .await
    }

    async fn holds(&self, checkpoint: &Checkpoint) -> Result<bool, LaunchError> {
        let checkpoint = checkpoint.clone();
        self.blocking(move |this| still_there(&checkpoint, Some(&this.host))).await
    }
}

impl LocalLauncher {
    fn submit_now(&self, key: &RunKey, run: &RunSpec) -> Result<RunHandle, LaunchError> {
        let dir = self.dir(key);
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
        dir.create().and_then(|()| fate(&dir)).map_err(|error| in_dir(&dir, error)).and_then(|fate| {
            match fate {
                Fate::Begun => Ok(()),
                Fate::Forbidden => Err(LaunchError::permanent(format!("run {key} is not wanted any more"))),
                Fate::Open(lock) => self.start(&dir, lock, key, run),
            }
        })?;
        self.handle(&dir, key)
    }

    fn find_now(&self, key: &RunKey) -> Result<Option<RunHandle>, LaunchError> {
        let dir = self.dir(key);
        // Asked first, so that a directory of runs that is not there is not taken for one without this run.
        self.runs.read_dir().map_err(|error| in_dir(&dir, error))?;
        if !dir.exists().map_err(|error| in_dir(&dir, error))? {
            return Ok(None);
        }
        match fate(&dir).map_err(|error| in_dir(&dir, error))? {
            Fate::Begun => self.handle(&dir, key).map(Some),
            Fate::Forbidden | Fate::Open(_) => Ok(None),
        }
    }

    fn forbid_now(&self, key: &RunKey) -> Result<Option<RunHandle>, LaunchError> {
        let dir = self.dir(key);
        let forbid = || {
            dir.create()?;
            let fate = fate(&dir)?;
            if let Fate::Open(_lock) = &fate {
                dir.write_forbidden(&note("it was forbidden before it began"))?;
            }
            Ok(matches!(fate, Fate::Begun))
        };
        let has_begun = forbid().map_err(|error| in_dir(&dir, error))?;
        has_begun.then(|| self.handle(&dir, key)).transpose()
    }

    fn poll_now(&self, place: &Place) -> Result<RunStatus, LaunchError> {
        let dir = self.dir(&place.key);
        self.status(&dir, place).map_err(|error| in_dir(&dir, error))
    }

    fn progress_now(&self, key: &RunKey) -> Progress {
        let dir = self.dir(key);
        let is_over = dir.ended().is_ok_and(|ended| ended.is_some()) || dir.has_vanished().unwrap_or(false);
        if !is_over {
            return self.follows.look(key, &dir.path);
        }
        // The last look is from the beginning: what was written after the one before it counts in any case.
        self.follows.forget(key);
        let progress = self.follows.look(key, &dir.path);
        self.follows.forget(key);
        progress
    }

    fn status(&self, dir: &RunDir, place: &Place) -> io::Result<RunStatus> {
        // Somebody has removed it, or its disk is not there: that says nothing of the run.
        if !dir.exists()? {
            return Ok(RunStatus::Unreachable { since: now() });
        }
        if let Some(known) = self.end(dir, &place.key)? {
            return Ok(known);
        }
        // What was not written to the disk when the machine went down is not needed any more.
        let is_rebooted = place.boot != *self.boot;
        let lock = if is_rebooted { dir.lock_or_make()? } else { dir.lock_exclusive()? };
        let Some(lock) = lock else {
            return Ok(match dir.begun()? {
                Some(_) => RunStatus::Running(self.follows.look(&place.key, &dir.path)),
                None => RunStatus::Pending(Reason::new("starting", "its supervisor is being started")),
            });
        };
        // It may have ended between the two looks.
        if dir.ended()?.is_none() && !dir.has_vanished()? {
            clear(dir, &lock, &place.key, is_rebooted)?;
        }
        drop(lock);
        self.end(dir, &place.key)?
            .ok_or_else(|| io::Error::other("the end of the run was recorded and is not there"))
    }

    /// The end of a run, if it is known.
    fn end(&self, dir: &RunDir, key: &RunKey) -> io::Result<Option<RunStatus>> {
        if let Some(ended) = dir.ended()? {
            return Ok(Some(match is_let_go(dir)? {
                true => RunStatus::Ended(memory::with_its_end(&dir.log_path(), ended)),
                false => RunStatus::Running(self.follows.look(key, &dir.path)),
            }));
        }
        Ok(dir.has_vanished()?.then_some(RunStatus::Vanished))
    }

    fn stop_now(&self, key: &RunKey, how: Stop) -> Result<(), LaunchError> {
        let dir = self.dir(key);
        let ask = || {
            if dir.ended()?.is_some() || dir.has_vanished()? {
                return Ok(());
            }
            dir.write_stop(&StopRequest { version: VERSION, how })?;
            dir.wake()
        };
        ask().map_err(|error| in_dir(&dir, error))
    }

    /// The same from whoever asks: what is in it was decided when the run began.
    fn handle(&self, dir: &RunDir, key: &RunKey) -> Result<RunHandle, LaunchError> {
        let begun = dir.begun().map_err(|error| in_dir(dir, error))?;
        let boot = begun.map_or_else(|| self.boot.to_string(), |begun| begun.boot);
        let data = serde_json::to_value(Place { key: *key, boot }).expect("a key and a text are always JSON");
        Ok(RunHandle { launcher: NAME.into(), host: Some(self.host.clone()), version: VERSION, data })
    }

    fn reachable(&self, run: &RunHandle) -> Result<Place, LaunchError> {
        match &run.host {
            Some(host) if *host == self.host => Place::of(run),
            host => Err(LaunchError::passing(format!(
                "the run is on host `{}`, and this is `{}`",
                host.as_deref().unwrap_or_default(),
                self.host
            ))),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, LaunchError> + Send + 'static,
    ) -> Result<T, LaunchError> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || work(&this))
            .await
            .map_err(|error| LaunchError::passing("the launcher was interrupted").because(error))?
    }
}

/// The launcher's part of a handle.
#[derive(Serialize, Deserialize)]
struct Place {
    key: RunKey,
    boot: String,
}

impl Place {
    fn of(run: &RunHandle) -> Result<Self, LaunchError> {
        if &*run.launcher != NAME || run.version != VERSION {
            return Err(LaunchError::permanent(format!(
                "not a handle of this launcher: `{}`, version {}",
                run.launcher, run.version
            )));
        }
        serde_json::from_value(run.data.clone())
            .map_err(|error| LaunchError::permanent("not a handle of this launcher").because(error))
    }
}

/// Whether the supervisor of a run that has ended is gone too: to let go of the lock is the last that it does.
fn is_let_go(dir: &RunDir) -> io::Result<bool> {
    let deadline = Instant::now() + LAST_BREATH;
    loop {
        match dir.lock_shared() {
            Ok(None) => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // Free, or somebody has removed it: the end is known anyhow.
            _ => return Ok(true),
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn in_dir(dir: &RunDir, error: io::Error) -> LaunchError {
    LaunchError::passing(format!("cannot tell about the run in {}", dir.path.display())).because(error)
}

fn note(message: &str) -> Note {
    Note { version: VERSION, message: message.into(), at: now() }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

const NAME: &str = "local";
const LAST_BREATH: Duration = Duration::from_secs(1);
