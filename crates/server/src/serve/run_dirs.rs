//! The directories of runs: which there are, whose they are, and what of them may go.
//!
//! Only real directories right under `runs`, and where is kept what no run sees, that are named as runs are looked at;
//! nothing is followed out of them. What
//! may go is asked of the store, and what it cannot tell stays.

use std::io;
use std::path::{Path, PathBuf};

use swifthook_core::{History, Job, JobId, RunKey};
use swifthook_launch::{hold_run, known_runs};
use tracing::warn;

/// The directory of an attempt, which need not be there any more: then something is that was kept of it.
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

    /// Removes it from the directory of a run in `runs` that nobody has; `false` if there was nothing.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    fn remove(runs: &Path, directory: &RunDir) -> io::Result<bool>;
}

/// Clears away what may go of all of them; answers of how many.
pub(super) async fn clear<C: Clearing, S: History + ?Sized>(state_dir: &Path, store: &S, what: C) -> u64 {
    let runs = state_dir.join("runs");
    let all = runs.clone();
    let listing = tokio::task::spawn_blocking(move || list(&all, |directory| what.concerns(directory))).await;
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
        let runs = runs.clone();
        let removing = tokio::task::spawn_blocking(move || remove::<C>(&runs, &directory)).await;
        match removing.map_err(io::Error::other).flatten() {
            Ok(is_gone) => removed += u64::from(is_gone),
            Err(error) => warn!(%error, directory = shown, "{} cannot be removed", C::WHAT),
        }
    }
    removed
}

/// Removes it unless somebody has the run; `false` then, and where there was nothing.
pub(super) fn remove<C: Clearing>(runs: &Path, directory: &RunDir) -> io::Result<bool> {
    let key = RunKey { job: directory.job, attempt: directory.attempt };
    match hold_run(runs, &key)? {
        Some(_held) => C::remove(runs, directory),
        None => Ok(false),
    }
}

/// Those that are wanted.
pub(super) fn list(runs: &Path, is_wanted: impl Fn(&RunDir) -> bool) -> io::Result<Vec<RunDir>> {
    let named = |key: RunKey| RunDir { job: key.job, attempt: key.attempt, path: runs.join(key.to_string()) };
    Ok(known_runs(runs)?.into_iter().map(named).filter(is_wanted).collect())
}
