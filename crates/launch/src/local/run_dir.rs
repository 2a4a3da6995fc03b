//! The two directories of a run: their files, what each says, and what is left when somebody dies in between.
//!
//! The run has one, `<runs>/<key>`: what it writes there is its own word and nobody else's. What the launcher and the
//! supervisor tell each other is in the other one, `<control>/<key>`, which no sandbox shows to a run:
//!
//! | file of control | written by | says |
//! | --- | --- | --- |
//! | `lock` | | whoever holds it exclusively decides; the supervisor holds it all its life |
//! | `run.json` | launcher, under the lock | what the supervisor is to do; says nothing of whether it was begun |
//! | `begun.json` | supervisor, under the lock | the key is spent: this run has begun, and no other ever will |
//! | `stop.*.json` | launcher | somebody wants the run to end |
//! | `exit.json` | supervisor, under the lock | it has ended so, and nothing of it is left |
//! | `vanished.json` | whoever finds the lock free, under the lock | it is gone without a word, nothing of it is left |
//! | `forbidden.json` | launcher, under the lock | it never began, and never will |
//! | `wake` | | a pipe by which the supervisor learns that there is a `stop.*.json` |
//!
//! | file of the run | written by | says |
//! | --- | --- | --- |
//! | `log` | the training | its standard output and standard error |
//! | `evidence-*.txt` | launcher | how the run looked from outside when it seemed stuck |
//! | `progress.jsonl`, `output/`, `tree/`, `tmp/` | the training | whatever it likes |
//!
//! Without a sandbox a run is the same user as we are, and can write to both. So what is in either is opened without
//! following a link or waiting, and read no further than it can be meant; and what is killed by it has to be the run's by
//! the kernel's word too: see [`clear`](super::clear).
//!
//! Runs of before there was a directory for control have all in one. They are known by a `lock` beside their `log` where
//! there is none in control. Of a run that has one, or whose handle says so, nothing of that kind is looked at.
//!
//! The lock belongs to an open file description (`flock(2)`). The submitter takes it, and gives the description to
//! the supervisor as standard input, so from taking it to the end of the run it is never free. The training gets
//! another standard input, so it does not keep the lock.
//!
//! Where somebody dies, and what the next one finds:
//!
//! 1. The submitter before it has a supervisor: lock free, no `begun.json`. Nothing was started; the key is free.
//! 2. The submitter after that: the supervisor has the lock and goes on. Who asks meanwhile waits until there is a
//!    `begun.json` or the lock is free.
//! 3. The supervisor before `begun.json`: it has started nothing yet. As 1.
//! 4. The supervisor between `begun.json` and `exit.json`: lock free, the training may be alive. Whoever finds it
//!    so takes the lock, kills what is left, and writes `vanished.json`. The key stays spent.
//! 5. The supervisor after `exit.json`: nothing else was alive when it wrote it. The run has ended.
//! 6. Whoever clears up: the lock is free again, and the next one clears up.
//! 7. The machine: nothing is alive. `exit.json` and `vanished.json` are synced before they count; the other files
//!    need not be, since what is lost with them is lost with the run.

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FlockOperation;
use serde::Serialize;
use serde::de::DeserializeOwned;
use swifthook_core::{RunKey, Stop};

use super::lock::Lock;
use super::record::{Begun, Ended, Note, Order, StopRequest, VERSION};
use crate::beneath::Beneath;

/// The directories of one run.
#[derive(Clone, Debug)]
pub(crate) struct RunDir {
    /// Directory of the run itself.
    pub(crate) path: PathBuf,
    /// Directory of whoever keeps it.
    pub(crate) control: PathBuf,
}

impl RunDir {
    pub(crate) fn new(path: PathBuf, control: PathBuf) -> Self {
        Self { path, control }
    }

    /// Directory of `key`, which may be one of before there was a directory for control.
    pub(crate) fn of(runs: &Path, control: &Path, key: &RunKey) -> Self {
        let apart = Self::apart(runs, control, key);
        let is_old = || {
            let lock = apart.path.join(LOCK).symlink_metadata();
            lock.is_ok_and(|lock| lock.is_file()) && apart.control.symlink_metadata().is_err()
        };
        if is_old() { Self::new(apart.path.clone(), apart.path) } else { apart }
    }

    /// Directory of `key` with a directory for control, whatever is there.
    pub(crate) fn apart(runs: &Path, control: &Path, key: &RunKey) -> Self {
        Self::new(runs.join(key.to_string()), control.join(key.to_string()))
    }

    /// Tells one of before there was a directory for control.
    pub(crate) fn is_old(&self) -> bool {
        self.path == self.control
    }

    /// Makes both. A log may hold secrets, so they are for our user alone. Not what they are in: where that is gone, its
    /// disk is, and with it what is known of this run.
    pub(crate) fn create(&self) -> io::Result<()> {
        [&self.path, &self.control].into_iter().try_for_each(|path| {
            match DirBuilder::new().mode(0o700).create(path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                other => other,
            }
        })
    }

    /// Tells of anything that is there of the run. A run may have removed its own directory.
    pub(crate) fn exists(&self) -> io::Result<bool> {
        Ok(self.has_control()? || self.path.try_exists()?)
    }

    /// Tells of a directory for control, without which nothing has begun.
    pub(crate) fn has_control(&self) -> io::Result<bool> {
        self.control.try_exists()
    }

    /// Whether the key is spent: the run has begun, or is known to be over.
    pub(crate) fn is_spent(&self) -> io::Result<bool> {
        Ok(self.has(BEGUN)? || self.has(EXIT)? || self.has(VANISHED)?)
    }

    pub(crate) fn is_forbidden(&self) -> io::Result<bool> {
        self.has(FORBIDDEN)
    }

    pub(crate) fn has_vanished(&self) -> io::Result<bool> {
        self.has(VANISHED)
    }

    pub(crate) fn order(&self) -> io::Result<Option<Order>> {
        self.read(ORDER)
    }

    pub(crate) fn begun(&self) -> io::Result<Option<Begun>> {
        self.read(BEGUN)
    }

    pub(crate) fn ended(&self) -> io::Result<Option<Ended>> {
        self.read(EXIT)
    }

    pub(crate) fn write_order(&self, order: &Order) -> io::Result<()> {
        self.write(ORDER, order)
    }

    pub(crate) fn write_begun(&self, begun: &Begun) -> io::Result<()> {
        self.write(BEGUN, begun)
    }

    pub(crate) fn write_ended(&self, ended: &Ended) -> io::Result<()> {
        self.write_synced(EXIT, ended)
    }

    pub(crate) fn write_vanished(&self, note: &Note) -> io::Result<()> {
        self.write_synced(VANISHED, note)
    }

    pub(crate) fn write_forbidden(&self, note: &Note) -> io::Result<()> {
        self.write_synced(FORBIDDEN, note)
    }

    /// What was asked, the gentlest first. Each way of asking has a file of its own, so that none undoes another.
    pub(crate) fn stop_requests(&self) -> io::Result<Vec<StopRequest>> {
        let requests = [STOP_YIELD, STOP_GRACE, STOP_KILL].map(|name| self.read(name).transpose());
        requests.into_iter().flatten().collect()
    }

    pub(crate) fn write_stop(&self, request: &StopRequest) -> io::Result<()> {
        let name = match request.how {
            Stop::Yield => STOP_YIELD,
            Stop::Grace(_) => STOP_GRACE,
            Stop::Kill => STOP_KILL,
        };
        self.write(name, request)
    }

    /// The log, to append to. Whatever a run has put in its place that is no file is an error.
    pub(crate) fn log(&self) -> io::Result<File> {
        Beneath::at(&self.path)?.append(LOG)
    }

    /// The last bytes of the log.
    pub(crate) fn end_of_log(&self, most: u64) -> io::Result<Vec<u8>> {
        Beneath::at(&self.path)?.end_of(LOG, most)
    }

    pub(crate) fn lock_path(&self) -> PathBuf {
        self.control.join(LOCK)
    }

    /// The numbers of the device and of the file that is the lock.
    pub(crate) fn lock_file(&self) -> io::Result<(u64, u64)> {
        use std::os::unix::fs::MetadataExt;
        let lock = self.files()?.metadata(LOCK)?;
        Ok((lock.dev(), lock.ino()))
    }

    /// Takes the lock for oneself, and makes it if there is none; `None` if anybody else has it.
    pub(crate) fn lock_or_make(&self) -> io::Result<Option<Lock>> {
        Lock::take(self.files()?.read_write(LOCK)?, FlockOperation::NonBlockingLockExclusive)
    }

    /// Takes the lock for oneself; `None` if anybody else has it. A lock that is not there is an error: somebody has
    /// removed it, so that it tells nothing.
    pub(crate) fn lock_exclusive(&self) -> io::Result<Option<Lock>> {
        Lock::take(self.files()?.file(LOCK)?, FlockOperation::NonBlockingLockExclusive)
    }

    /// Takes the lock together with others who only look; `None` if somebody has it for himself.
    pub(crate) fn lock_shared(&self) -> io::Result<Option<Lock>> {
        Lock::take(self.files()?.file(LOCK)?, FlockOperation::NonBlockingLockShared)
    }

    pub(crate) fn wake_path(&self) -> PathBuf {
        self.control.join(WAKE)
    }

    /// Wakes the supervisor. Where there is none yet, or no longer, nothing happens: it looks before it waits.
    pub(crate) fn wake(&self) -> io::Result<()> {
        let written = self.files()?.pipe(WAKE).and_then(|mut pipe| {
            // It is no pipe only if somebody has replaced it, who is no supervisor.
            if pipe.metadata()?.file_type().is_fifo() { pipe.write_all(b"!") } else { Ok(()) }
        });
        match written {
            Err(error) if is_harmless(&error) => Ok(()),
            other => other,
        }
    }

    pub(crate) fn has(&self, name: &str) -> io::Result<bool> {
        match self.files() {
            Ok(files) => files.has(name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        match self.files().and_then(|files| files.read_all(name, LONGEST)) {
            Ok(text) => {
                let value: serde_json::Value = serde_json::from_slice(&text)?;
                if value["version"] != VERSION {
                    let message = format!("{name} is not of version {VERSION}");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, message));
                }
                Ok(Some(serde_json::from_value(value)?))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn write(&self, name: &str, value: &impl Serialize) -> io::Result<()> {
        self.write_then(name, &serde_json::to_vec(value)?, |_| Ok(()))
    }

    /// Writes what is there whole or not at all, for our user alone.
    #[cfg(feature = "slurm")]
    pub(crate) fn write_bytes(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.write_then(name, bytes, |_| Ok(()))
    }

    fn write_synced(&self, name: &str, value: &impl Serialize) -> io::Result<()> {
        self.write_then(name, &serde_json::to_vec(value)?, File::sync_all)?;
        self.files()?.sync()
    }

    /// The file is there whole or not at all.
    fn write_then(
        &self,
        name: &str,
        bytes: &[u8],
        before_it_counts: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        let files = self.files()?;
        let serial = NEXT_WRITE.fetch_add(1, Ordering::Relaxed);
        let unfinished = format!("{name}.{}.{serial}.tmp", std::process::id());
        // One that a process of our number has left which was killed.
        files.remove_file(&unfinished)?;
        let written = || {
            let mut file = files.create_new(&unfinished)?;
            file.write_all(bytes)?;
            before_it_counts(&file)?;
            files.rename(&unfinished, name)
        };
        // On a full disk whoever tries again would leave one after the other.
        written().inspect_err(|_| drop(files.remove_file(&unfinished)))
    }

    /// The files of control.
    pub(crate) fn files(&self) -> io::Result<Beneath> {
        Beneath::at(&self.control)
    }
}

/// Directory of control of the runs in `runs`: beside it in `control`, or in `NAME.control` where it is called `NAME` and not
/// `runs`.
pub(crate) fn control_of(runs: &Path) -> PathBuf {
    match runs.file_name() {
        Some(name) if name != "runs" => {
            let mut name = name.to_owned();
            name.push(".control");
            runs.with_file_name(name)
        }
        _ => runs.with_file_name("control"),
    }
}

/// Makes the directories in which the runs of a launcher have theirs.
pub(crate) fn make_both(runs: &Path, control: &Path) -> io::Result<()> {
    std::fs::create_dir_all(runs)?;
    DirBuilder::new().recursive(true).mode(0o700).create(control)
}

/// No pipe yet, nobody at its other end, or nobody reads and it is full of wake-up calls.
fn is_harmless(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::WouldBlock
            | io::ErrorKind::BrokenPipe
            // Nobody reads, or it is a link.
            | io::ErrorKind::InvalidInput
    )
}

/// Tells apart what two threads write at once.
static NEXT_WRITE: AtomicU64 = AtomicU64::new(0);

/// More than any of the files has: a command line has two megabytes at most.
const LONGEST: u64 = 8 << 20;
const LOCK: &str = "lock";
const LOG: &str = "log";
const WAKE: &str = "wake";
const ORDER: &str = "run.json";
const BEGUN: &str = "begun.json";
const EXIT: &str = "exit.json";
const VANISHED: &str = "vanished.json";
const FORBIDDEN: &str = "forbidden.json";
const STOP_YIELD: &str = "stop.yield.json";
const STOP_GRACE: &str = "stop.grace.json";
const STOP_KILL: &str = "stop.kill.json";
