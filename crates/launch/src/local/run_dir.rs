//! The directory of a run: its files, what each says, and what is left when somebody dies in between.
//!
//! | file | written by | says |
//! | --- | --- | --- |
//! | `lock` | | whoever holds it exclusively decides; the supervisor holds it all its life |
//! | `run.json` | launcher, under the lock | what the supervisor is to do; says nothing of whether it was begun |
//! | `begun.json` | supervisor, under the lock | the key is spent: this run has begun, and no other ever will |
//! | `stop.*.json` | launcher | somebody wants the run to end |
//! | `exit.json` | supervisor, under the lock | it has ended so, and nothing of it is left |
//! | `vanished.json` | whoever finds the lock free, under the lock | it is gone without a word, nothing of it is left |
//! | `forbidden.json` | launcher, under the lock | it never began, and never will |
//! | `log` | the training | its standard output and standard error |
//! | `wake` | | a pipe by which the supervisor learns that there is a `stop.*.json` |
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

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, OFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;
use swifthook_core::{RunKey, Stop};

use super::lock::Lock;
use super::record::{Begun, Ended, Note, Order, StopRequest, VERSION};

/// The directory of one run.
#[derive(Clone, Debug)]
pub(crate) struct RunDir {
    pub(crate) path: PathBuf,
}

impl RunDir {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Makes it. Its log may hold secrets, so it is for our user alone. Not what it is in: where that is gone, its disk
    /// is, and with it what is known of this run.
    pub(crate) fn create(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    pub(crate) fn exists(&self) -> io::Result<bool> {
        self.path.try_exists()
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

    /// The log, to append to.
    pub(crate) fn log(&self) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).mode(0o600).open(self.log_path())
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.path.join(LOG)
    }

    pub(crate) fn lock_path(&self) -> PathBuf {
        self.path.join(LOCK)
    }

    /// Takes the lock for oneself, and makes it if there is none; `None` if anybody else has it.
    pub(crate) fn lock_or_make(&self) -> io::Result<Option<Lock>> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        Lock::take(options.open(self.lock_path())?, FlockOperation::NonBlockingLockExclusive)
    }

    /// Takes the lock for oneself; `None` if anybody else has it. A lock that is not there is an error: somebody has
    /// removed it, so that it tells nothing.
    pub(crate) fn lock_exclusive(&self) -> io::Result<Option<Lock>> {
        Lock::take(File::open(self.lock_path())?, FlockOperation::NonBlockingLockExclusive)
    }

    /// Takes the lock together with others who only look; `None` if somebody has it for himself.
    pub(crate) fn lock_shared(&self) -> io::Result<Option<Lock>> {
        Lock::take(File::open(self.lock_path())?, FlockOperation::NonBlockingLockShared)
    }

    pub(crate) fn wake_path(&self) -> PathBuf {
        self.path.join(WAKE)
    }

    /// Wakes the supervisor. Where there is none yet, or no longer, nothing happens: it looks before it waits.
    pub(crate) fn wake(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        match options.open(self.wake_path()).and_then(|mut pipe| pipe.write_all(b"!")) {
            Err(error) if is_harmless(&error) => Ok(()),
            other => other,
        }
    }

    pub(crate) fn has(&self, name: &str) -> io::Result<bool> {
        self.path.join(name).try_exists()
    }

    pub(crate) fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        match fs::read(self.path.join(name)) {
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
        self.write_then(name, value, |_| Ok(()))
    }

    fn write_synced(&self, name: &str, value: &impl Serialize) -> io::Result<()> {
        self.write_then(name, value, File::sync_all)?;
        File::open(&self.path)?.sync_all()
    }

    /// The file is there whole or not at all.
    fn write_then(
        &self,
        name: &str,
        value: &impl Serialize,
        before_it_counts: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        let serial = NEXT_WRITE.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.path.join(format!("{name}.{}.{serial}.tmp", std::process::id()));
        let written = || {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
            file.write_all(&serde_json::to_vec(value)?)?;
            before_it_counts(&file)?;
            fs::rename(&unfinished, self.path.join(name))
        };
        // On a full disk whoever tries again would leave one after the other.
        written().inspect_err(|_| drop(fs::remove_file(&unfinished)))
    }
}

/// The name under `runs` of the directory of a key.
pub(crate) fn dir_of(runs: &Path, key: &RunKey) -> RunDir {
    RunDir::new(runs.join(key.to_string()))
}

/// No pipe yet, nobody at its other end, or nobody reads and it is full of wake-up calls.
fn is_harmless(error: &io::Error) -> bool {
    let nobody_reads = error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error());
    nobody_reads
        || matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::WouldBlock | io::ErrorKind::BrokenPipe
        )
}

/// Tells apart what two threads write at once.
static NEXT_WRITE: AtomicU64 = AtomicU64::new(0);

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
