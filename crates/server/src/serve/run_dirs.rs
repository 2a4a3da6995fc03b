//! The directories of runs: which there are, whose they are, and what of them may go.
//!
//! Only real directories right under `runs` that are named as runs are looked at; nothing is followed out of them. What
//! may go is asked of the store, and what it cannot tell stays.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use swifthook_core::{History, Job, JobId};
use tracing::warn;

/// The directory of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunDir {
    pub(super) job: JobId,
    pub(super) attempt: u32,
    pub(super) path: PathBuf,
}

/// What is cleared away of the directories of runs.
pub(super) trait Clearing: Copy + Send + 'static {
    /// What goes, for people: "a working tree".
    const WHAT: &'static str;

    /// Whether there is anything to clear away in a directory.
    fn concerns(&self, directory: &RunDir) -> bool;

    /// Whether it may go, given its job, which may be gone.
    fn may_go(&self, directory: &RunDir, job: Option<&Job>) -> bool;

    /// Removes it; `false` if there was nothing, or somebody holds the run.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    fn remove(directory: &Path) -> io::Result<bool>;
}

/// Clears away what may go of all of them; answers of how many.
pub(super) async fn clear<C: Clearing, S: History + ?Sized>(state_dir: &Path, store: &S, what: C) -> u64 {
    let runs = state_dir.join("runs");
    let listing =
        tokio::task::spawn_blocking(move || list(&runs, |directory| what.concerns(directory))).await;
    let candidates = match listing.map_err(io::Error::other).flatten() {
        Ok(candidates) => candidates,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return 0,
        Err(error) => {
            warn!(%error, "the directories of runs cannot be listed");
            return 0;
        }
    };
    let mut removed = 0;
    for directory in candidates {
        match store.job(directory.job).await {
            Ok(job) if what.may_go(&directory, job.as_ref()) => {}
            Ok(_) => continue,
            Err(error) => {
                let job = directory.job;
                warn!(%error, %job, "how a job is is not known, and what its runs left stays");
                continue;
            }
        }
        let shown = directory.path.display().to_string();
        let removing = tokio::task::spawn_blocking(move || C::remove(&directory.path)).await;
        match removing.map_err(io::Error::other).flatten() {
            Ok(is_gone) => removed += u64::from(is_gone),
            Err(error) => warn!(%error, directory = shown, "{} cannot be removed", C::WHAT),
        }
    }
    removed
}

/// Those that are wanted.
pub(super) fn list(runs: &Path, is_wanted: impl Fn(&RunDir) -> bool) -> io::Result<Vec<RunDir>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(runs)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some((job, attempt)) = name.to_str().and_then(attempt_of) else { continue };
        let directory = RunDir { job, attempt, path: entry.path() };
        // Of the entry itself: a link is none.
        if is_wanted(&directory) && entry.file_type()?.is_dir() {
            found.push(directory);
        }
    }
    Ok(found)
}

/// The job and the attempt of `<job>-<attempt>`.
fn attempt_of(name: &str) -> Option<(JobId, u32)> {
    let (job, attempt) = name.split_at_checked(36)?;
    let digits = attempt.strip_prefix('-')?;
    let is_number = digits.bytes().all(|digit| digit.is_ascii_digit());
    Some((job.parse().ok()?, digits.parse().ok().filter(|_| is_number)?))
}

/// The lock of a run: its supervisor has it, or whoever is just beginning or settling it.
pub(super) enum Held {
    /// It is ours as long as this is there.
    Ours(#[expect(dead_code, reason = "it is held as long as it is there")] File),
    /// There is none.
    Nobodys,
    Others,
}

pub(super) fn lock_of(directory: &Path) -> io::Result<Held> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match open(directory.join("lock"), flags, Mode::empty()) {
        Ok(lock) => {
            let lock = File::from(lock);
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => Ok(Held::Ours(lock)),
                Err(rustix::io::Errno::WOULDBLOCK) => Ok(Held::Others),
                Err(error) => Err(error.into()),
            }
        }
        Err(rustix::io::Errno::NOENT) => Ok(Held::Nobodys),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_directories_that_are_named_as_runs_are() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path();
        let (job, other) = ("01900000-0000-7000-8000-000000000001", "01a00000-0000-7000-8000-000000000001");
        for name in [
            format!("{job}-1"),
            format!("{job}-23"),
            format!("{other}-1"),
            format!("{job}-"),
            format!("{job}-x"),
            format!("{job}-+1"),
            job.to_owned(),
            format!("x{job}-1"),
            "precious".to_owned(),
        ] {
            fs::create_dir(runs.join(name)).unwrap();
        }
        symlink("/etc", runs.join(format!("{job}-7"))).unwrap();
        fs::write(runs.join(format!("{job}-8")), "a file").unwrap();
        let job: JobId = job.parse().unwrap();
        let mut found = list(runs, |directory| directory.job == job).unwrap();
        found.sort_by_key(|directory| directory.attempt);
        let named = |attempt| RunDir { job, attempt, path: runs.join(format!("{job}-{attempt}")) };
        assert_eq!(found, [named(1), named(23)]);
    }

    #[test]
    fn a_link_in_place_of_the_lock_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        symlink("/dev/null", folder.path().join("lock")).unwrap();
        assert!(lock_of(folder.path()).is_err());
    }
}
