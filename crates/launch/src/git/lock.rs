//! Who may do what with a mirror at once.
//!
//! | lock | taken by | together with |
//! | --- | --- | --- |
//! | `<mirror>.lock` | whoever changes it: a fetch, its making, gc | nobody |
//! | `<mirror>.use` | whoever reads objects: checkouts, diffs | others who read, and whoever fetches |
//! | the same, exclusively | whoever forgets commits, or makes the mirror anew | nobody |
//!
//! Both are locks of files, so they hold between processes, and end with whoever has them. A git that we started has
//! the first one too, so that it is not taken while that git works on after we were killed; whoever finds it so ends
//! that git.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use swifthook_core::WorkspaceError;
use tokio::sync::MutexGuard;
use tokio::time::sleep;

use super::mirror::Mirror;
use crate::process::Process;

/// Held while a mirror is changed: by us, and by the git that we started, should we be killed before it.
pub(super) struct Lock<'a> {
    pub(super) file: File,
    _in_process: MutexGuard<'a, ()>,
}

/// Held while objects of a mirror are read.
pub(super) struct Use {
    file: File,
}

impl Mirror {
    /// Keeps everybody else from changing this mirror.
    pub(super) async fn lock(&self) -> Result<Lock<'_>, WorkspaceError> {
        // Those of this process wait here, and not by looking at a file.
        let in_process = self.changing.lock().await;
        let path = self.path.with_extension("lock");
        let file = take(&path, FlockOperation::NonBlockingLockExclusive).await.map_err(not_locked)?;
        Ok(Lock { file, _in_process: in_process })
    }

    /// The same, unless somebody has it.
    pub(super) fn try_lock(&self) -> Option<Lock<'_>> {
        let in_process = self.changing.try_lock().ok()?;
        let file = try_take(&self.path.with_extension("lock"), FlockOperation::NonBlockingLockExclusive);
        Some(Lock { file: file.ok()??, _in_process: in_process })
    }

    /// Keeps everybody from forgetting what is here.
    pub(super) async fn in_use(&self) -> Result<Use, WorkspaceError> {
        let file = take(&self.path.with_extension("use"), FlockOperation::NonBlockingLockShared).await;
        Ok(Use { file: file.map_err(not_locked)? })
    }

    /// Waits until nobody uses it, and keeps everybody from using it.
    pub(super) async fn alone(&self) -> Result<Use, WorkspaceError> {
        let file = take(&self.path.with_extension("use"), FlockOperation::NonBlockingLockExclusive).await;
        Ok(Use { file: file.map_err(not_locked)? })
    }

    /// The same, unless somebody uses it.
    pub(super) fn try_alone(&self) -> Option<Use> {
        let path = self.path.with_extension("use");
        Some(Use { file: try_take(&path, FlockOperation::NonBlockingLockExclusive).ok()?? })
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // Closing is not enough: a process that is just being forked elsewhere has a copy of the descriptor for a
        // moment.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// The git that has a lock, and the process that started it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Holder {
    starter: (i32, u64),
    git: (i32, u64),
}

impl Holder {
    /// A child of ours.
    pub(super) fn of_child(pid: u32) -> Option<Self> {
        let of = |pid: u32| {
            let process = Process::read(pid.cast_signed())?;
            Some((process.pid, process.started))
        };
        Some(Self { starter: of(std::process::id())?, git: of(pid)? })
    }

    pub(super) fn write(&self, file: &File) -> io::Result<()> {
        let Self { starter, git } = self;
        file.write_all_at(format!("{} {} {} {}\n", starter.0, starter.1, git.0, git.1).as_bytes(), 0)
    }

    fn read(path: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(path).ok()?;
        // One that is shorter than the one before it leaves the end of that one.
        let mut fields = text.lines().next()?.split(' ');
        let mut next = || fields.next();
        let starter = (next()?.parse().ok()?, next()?.parse().ok()?);
        Some(Self { starter, git: (next()?.parse().ok()?, next()?.parse().ok()?) })
    }

    /// Ends the git if whoever started it is gone: nobody waits for it, and it may hang for ever.
    fn end_if_left_behind(&self) {
        let is_alive = |(pid, started): (i32, u64)| {
            Process::read(pid).is_some_and(|process| process.is_alive() && process.started == started)
        };
        if is_alive(self.starter) || !is_alive(self.git) {
            return;
        }
        tracing::warn!(pid = self.git.0, "ending a git that a killed process has left behind");
        let all = Process::all_alive().unwrap_or_default();
        all.iter().filter(|process| process.group == self.git.0).for_each(Process::kill);
    }
}

/// Takes the lock of a file. Looks again and again, since a thread that waits in the kernel could not be told that
/// nobody wants it any more.
async fn take(path: &Path, operation: FlockOperation) -> io::Result<File> {
    let mut pause = SHORTEST;
    loop {
        if let Some(file) = try_take(path, operation)? {
            return Ok(file);
        }
        if pause == LONGEST {
            Holder::read(path).iter().for_each(Holder::end_if_left_behind);
        }
        sleep(pause).await;
        pause = LONGEST.min(pause * 2);
    }
}

/// Takes the lock of a file for oneself, unless somebody has it.
pub(super) fn try_exclusive(path: &Path) -> io::Result<Option<Use>> {
    Ok(try_take(path, FlockOperation::NonBlockingLockExclusive)?.map(|file| Use { file }))
}

fn try_take(path: &Path, operation: FlockOperation) -> io::Result<Option<File>> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    match rustix::io::retry_on_intr(|| flock(&file, operation)) {
        Ok(()) => {
            // When it was last used: what nobody names any more is removed by that.
            let _ = file.set_modified(std::time::SystemTime::now());
            Ok(Some(file))
        }
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn not_locked(error: io::Error) -> WorkspaceError {
    WorkspaceError::passing("cannot lock the mirror").because(error)
}

const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(128);
