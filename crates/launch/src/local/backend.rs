use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use swifthook_core::{
    Capabilities, Checkpoint, Exit, JobId, LaunchError, Progress, Pulse, Reason, RunHandle, RunKey, RunSpec,
    RunStatus, Stop, Timestamp, TrainingLauncher,
};

use super::checkpoints::still_there;
use super::clear::clear;
use super::config::LocalLauncher;
use super::evidence;
use super::memory;
use super::record::{Ended, Note, StopRequest, VERSION};
use super::run_dir::RunDir;
use super::start::{Fate, fate};

#[async_trait]
impl TrainingLauncher for LocalLauncher {
    fn capabilities(&self) -> Capabilities {
        Self::CAPABILITIES
    }

    /// The run has begun when this returns. What is started is not undone if the future is dropped.
    async fn submit(&self, key: &RunKey, run: &RunSpec) -> Result<RunHandle, LaunchError> {
        let (of, run) = (*key, run.clone());
        self.settle(key, move |this| this.submit_now(&of, &run)).await
    }

    async fn find(&self, key: &RunKey) -> Result<Option<RunHandle>, LaunchError> {
        let of = *key;
        self.settle(key, move |this| this.find_now(&of)).await
    }

    async fn forbid(&self, key: &RunKey) -> Result<Option<RunHandle>, LaunchError> {
        let of = *key;
        self.settle(key, move |this| this.forbid_now(&of)).await
    }

    async fn poll(&self, run: &RunHandle) -> Result<RunStatus, LaunchError> {
        let place = Place::of(run)?;
        if run.host.as_ref() != Some(&self.host) {
            return Ok(RunStatus::Unreachable { since: now() });
        }
        let (key, dir) = (place.key, self.dir_of(&place));
        let seen = {
            let dir = dir.clone();
            self.settle(&key, move |this| this.poll_now(&dir, &place)).await?
        };
        Ok(match seen {
            Seen::Running => RunStatus::Running(self.follows.look(&key, &dir.path).await),
            Seen::Pending(reason) => RunStatus::Pending(reason),
            Seen::Ended(ended) => RunStatus::Ended(self.with_its_end(&key, dir, ended).await),
            Seen::Vanished => RunStatus::Vanished,
            Seen::Unreachable => RunStatus::Unreachable { since: now() },
        })
    }

    async fn stop(&self, run: &RunHandle, how: Stop) -> Result<(), LaunchError> {
        let place = self.reachable(run)?;
        let dir = self.dir_of(&place);
        self.settle(&place.key, move |this| {
            this.has_its_disk().map_err(|error| in_dir(&dir, error))?;
            stop_now(&dir, how)
        })
        .await
    }

    async fn progress(&self, run: &RunHandle) -> Result<Progress, LaunchError> {
        let place = self.reachable(run)?;
        let dir = self.dir_of(&place);
        let path = dir.path.clone();
        let is_over = move |_: &Self| {
            Ok(dir.ended().is_ok_and(|ended| ended.is_some()) || dir.has_vanished().unwrap_or(false))
        };
        Ok(match self.settle(&place.key, is_over).await? {
            true => self.follows.look_again(&place.key, &path).await,
            false => self.follows.look(&place.key, &path).await,
        })
    }

    async fn pulse(&self, run: &RunHandle) -> Result<Pulse, LaunchError> {
        let place = self.reachable(run)?;
        self.follows.pulse(&place.key, &self.dir_of(&place).path).await
    }

    /// In a file `evidence-….txt` of the run's directory.
    async fn examine(&self, run: &RunHandle, why: &Reason) -> Result<Option<PathBuf>, LaunchError> {
        let (place, why) = (self.reachable(run)?, why.clone());
        let (dir, key) = (self.dir_of(&place), place.key);
        let this = self.clone();
        let look = move || {
            let taken = evidence::take(&dir, &key, this.groups.as_ref(), &why);
            taken.map_err(|error| in_dir(&dir, error))
        };
        self.examinations.look(&key, look).await?
    }

    /// The last one that the run itself called whole by a line `{"checkpoint": "…"}`, if it is there among its results; else
    /// the last whole one in `output`.
    async fn checkpoint(&self, run: &RunHandle) -> Result<Option<Checkpoint>, LaunchError> {
        let place = self.reachable(run)?;
        self.follows.checkpoint(&place.key, &self.dir_of(&place).path, Some(self.host.clone())).await
    }

    async fn holds(&self, checkpoint: &Checkpoint) -> Result<bool, LaunchError> {
        let (of, this) = (checkpoint.clone(), self.clone());
        // Of which run it is its path says, which is not believed yet.
        let asked = RunKey { job: JobId([0; 16]), attempt: checkpoint.attempt };
        self.follows.look_at(&asked, move || still_there(&of, &this.runs, Some(&this.host))).await?
    }
}

/// State of a run by what keeps it.
enum Seen {
    Running,
    Pending(Reason),
    Ended(Ended),
    Vanished,
    Unreachable,
}

impl LocalLauncher {
    fn submit_now(&self, key: &RunKey, run: &RunSpec) -> Result<RunHandle, LaunchError> {
        let mut dir = self.dir(key);
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
        let fate = self.open_fate(&mut dir).map_err(|error| in_dir(&dir, error))?;
        match fate {
            Fate::Begun => {}
            Fate::Forbidden => {
                return Err(LaunchError::permanent(format!("run {key} is not wanted any more")));
            }
            Fate::Open(lock) => self.start(&dir, lock, key, run)?,
        }
        self.handle(&dir, key)
    }

    /// Fate of the key of `dir`. One of before there was a directory for control, of which nothing has begun, is
    /// begun with one.
    fn open_fate(&self, dir: &mut RunDir) -> io::Result<Fate> {
        dir.create()?;
        let known = fate(dir)?;
        match known {
            Fate::Open(_lock) if dir.is_old() => {
                let name = dir.path.file_name().unwrap_or_default().to_owned();
                *dir = RunDir::new(dir.path.clone(), self.control.join(name));
                dir.create()?;
                fate(dir)
            }
            known => Ok(known),
        }
    }

    fn find_now(&self, key: &RunKey) -> Result<Option<RunHandle>, LaunchError> {
        let dir = self.dir(key);
        // Asked first, so that a directory of runs that is not there is not taken for one without this run.
        self.has_its_disk().map_err(|error| in_dir(&dir, error))?;
        if !dir.has_control().map_err(|error| in_dir(&dir, error))? {
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

    /// An error where the directories are not there in which those of all runs are.
    fn has_its_disk(&self) -> io::Result<()> {
        [&self.runs, &self.control].into_iter().try_for_each(|folder| folder.read_dir().map(drop))
    }

    fn poll_now(&self, dir: &RunDir, place: &Place) -> Result<Seen, LaunchError> {
        self.status(dir, place).map_err(|error| in_dir(dir, error))
    }

    fn status(&self, dir: &RunDir, place: &Place) -> io::Result<Seen> {
        // Somebody has removed it, or its disk is not there: that says nothing of the run.
        if self.has_its_disk().is_err() || !dir.exists()? {
            return Ok(Seen::Unreachable);
        }
        if let Some(known) = end(dir)? {
            return Ok(known);
        }
        // What was not written to the disk when the machine went down is not needed any more.
        let is_rebooted = place.boot != *self.boot;
        let lock =
            if is_rebooted { dir.create().and_then(|()| dir.lock_or_make())? } else { dir.lock_exclusive()? };
        let Some(lock) = lock else {
            return Ok(match dir.begun()? {
                Some(_) => Seen::Running,
                None => Seen::Pending(Reason::new("starting", "its supervisor is being started")),
            });
        };
        // It may have ended between the two looks.
        if dir.ended()?.is_none() && !dir.has_vanished()? {
            clear(dir, &lock, &place.key, self.groups.as_ref(), is_rebooted)?;
        }
        drop(lock);
        end(dir)?.ok_or_else(|| io::Error::other("the end of the run was recorded and is not there"))
    }

    /// End of a run, with what its log says of it, if that can be read.
    async fn with_its_end(&self, key: &RunKey, dir: RunDir, ended: Ended) -> Exit {
        let plain = ended.clone();
        let read = self.follows.look_at(key, move || memory::with_its_end(&dir, ended)).await;
        read.unwrap_or_else(|_| plain.into())
    }

    /// The same from whoever asks: what is in it was decided when the run began.
    fn handle(&self, dir: &RunDir, key: &RunKey) -> Result<RunHandle, LaunchError> {
        let begun = dir.begun().map_err(|error| in_dir(dir, error))?;
        let boot = begun.map_or_else(|| self.boot.to_string(), |begun| begun.boot);
        let place = Place { key: *key, boot, has_control: !dir.is_old() };
        let data = serde_json::to_value(place).expect("a key and a text are always JSON");
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

    /// The directories of a run. Of one that has a directory for control by its handle, nothing else is taken for one.
    fn dir_of(&self, place: &Place) -> RunDir {
        match place.has_control {
            true => RunDir::apart(&self.runs, &self.control, &place.key),
            false => self.dir(&place.key),
        }
    }

    /// Does what is to be found out or done with what keeps a run, within its time: its disk may not answer.
    async fn settle<T: Send + 'static>(
        &self,
        key: &RunKey,
        work: impl FnOnce(&Self) -> Result<T, LaunchError> + Send + 'static,
    ) -> Result<T, LaunchError> {
        let this = self.clone();
        self.looks.look(key, move || work(&this)).await?
    }
}

/// The end of a run, if it is known.
fn end(dir: &RunDir) -> io::Result<Option<Seen>> {
    if let Some(ended) = dir.ended()? {
        return Ok(Some(if is_let_go(dir)? { Seen::Ended(ended) } else { Seen::Running }));
    }
    Ok(dir.has_vanished()?.then_some(Seen::Vanished))
}

fn stop_now(dir: &RunDir, how: Stop) -> Result<(), LaunchError> {
    let ask = || {
        if dir.ended()?.is_some() || dir.has_vanished()? {
            return Ok(());
        }
        // One that is only about to begin hears it then.
        if dir.path.try_exists()? {
            dir.create()?;
        }
        dir.write_stop(&StopRequest { version: VERSION, how })?;
        dir.wake()
    };
    ask().map_err(|error| in_dir(dir, error))
}

/// The launcher's part of a handle.
#[derive(Serialize, Deserialize)]
struct Place {
    key: RunKey,
    boot: String,
    /// Set where there is a directory for control; not so of runs that an earlier version began.
    #[serde(default)]
    has_control: bool,
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
