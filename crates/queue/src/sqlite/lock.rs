use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::config::OpenError;
use super::disk;

/// The right to a store, for as long as it lives. The kernel takes it back when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock file of a store. A process that was killed while it was starting another one has left it the lock
    /// until that executes its program: so that is waited for, and the store is in use only if its owner is alive.
    pub(super) fn take(store: &Path) -> Result<Self, OpenError> {
        disk::check(store)?;
        let path = beside(store, ".lock");
        let refused = |source| OpenError::Io { path: path.clone(), source };
        let mut file = private(&path).map_err(refused)?;
        let deadline = Instant::now() + LAST_BREATH;
        while let Err(errno) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if errno != Errno::WOULDBLOCK {
                return Err(refused(errno.into()));
            }
            let owner = owner(&file);
            if owner.is_none_or(is_alive) || Instant::now() >= deadline {
                return Err(OpenError::InUse { path: store.into(), owner, lock: path });
            }
            thread::sleep(PAUSE);
        }
        let named = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        named.map_err(refused)?;
        // SQLite gives its other files the mode of this one.
        private(store).map_err(|source| OpenError::Io { path: store.into(), source })?;
        Ok(Self { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Not by closing alone: a process that is just being started has a copy of the descriptor until it executes its
        // program, and would keep the lock for that long.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// Opens a file, and makes it for our user alone if there is none: a store says who trains what.
pub(super) fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn owner(file: &File) -> Option<u32> {
    let mut text = [0; 16];
    let length = file.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text[..length]).ok()?.trim().parse().ok()
}

fn is_alive(process: u32) -> bool {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    process.is_some_and(|process| test_kill_process(process) != Err(Errno::SRCH))
}

/// The store and all files that stand beside it while it is in use, there or not.
pub(super) fn files(store: &Path) -> Vec<PathBuf> {
    ENDINGS.iter().map(|ending| beside(store, ending)).collect()
}

/// The file of a store that has its name and this ending.
pub(super) fn beside(store: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(store);
    name.push(ending);
    name.into()
}

/// How long what an ended process has started may hold its lock: no more than it takes to execute a program.
const LAST_BREATH: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);
/// Ours, and those of [SQLite](https://www.sqlite.org/tempfiles.html).
const ENDINGS: [&str; 6] = ["", "-journal", "-shm", "-wal", ".lock", ".reserve"];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_lock_that_the_child_of_a_killed_process_still_holds_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store.db");
        let mut dead = Command::new("true").spawn().unwrap();
        dead.wait().unwrap();
        let file = private(&beside(&store, ".lock")).unwrap();
        flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
        fs::write(beside(&store, ".lock"), dead.id().to_string()).unwrap();
        // What was locked is the child's alone, and stays locked until it ends.
        let mut child = Command::new("sleep").arg("0.3").stdin(Stdio::from(file)).spawn().unwrap();
        Lock::take(&store).unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_lock_that_is_given_back_is_free_though_another_process_still_has_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store.db");
        let lock = Lock::take(&store).unwrap();
        let shared = Stdio::from(lock.file.try_clone().unwrap());
        let mut child = Command::new("sleep").arg("600").stdin(shared).spawn().unwrap();
        drop(lock);
        let again = Lock::take(&store);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(again.is_ok(), "{again:?}");
    }
}
