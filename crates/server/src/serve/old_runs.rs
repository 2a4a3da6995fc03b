//! The directories of runs whose jobs are no more.
//!
//! A directory goes when the store does not know its job any more and the job is older than anything that is kept: so
//! none is forgotten when the process dies between the two, and of a store that several machines share each removes
//! its own. One that a supervisor holds stays.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use swifthook_core::{History, Job, JobId, Retention, RunKey, Timestamp};
use swifthook_launch::remove_run;
use tracing::info;

use super::reload::Handle;
use super::run_dirs::{self, Clearing, RunDir};
use super::store::Store;

/// Removes them now and then, until it is told to stop.
pub(super) async fn clear(store: Arc<dyn Store>, handle: Handle, stopped: impl Future<Output = ()>) {
    let clearing = async {
        loop {
            let config = handle.config();
            let now = SystemTime::now().into();
            let removed = remove(&config.store.state_dir, &*store, config.retention, now).await;
            if removed > 0 {
                info!(removed, "removed the directories of runs whose jobs are no more");
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    tokio::select! {
        () = clearing => {}
        () = stopped => {}
    }
}

/// Removes them; answers how many are gone.
pub(crate) async fn remove<S: History + ?Sized>(
    state_dir: &Path,
    store: &S,
    retention: Retention,
    now: Timestamp,
) -> u64 {
    let Some(keep) = retention.shortest() else { return 0 };
    run_dirs::clear(state_dir, store, Old { made_before: now.before(keep) }).await
}

/// Directories of jobs that were made before that and are gone.
#[derive(Clone, Copy)]
struct Old {
    made_before: Timestamp,
}

impl Clearing for Old {
    const WHAT: &'static str = "the directory of a run";

    fn concerns(&self, directory: &RunDir) -> bool {
        made_at(directory.job) <= self.made_before
    }

    fn may_go(&self, _directory: &RunDir, job: Option<&Job>) -> bool {
        job.is_none()
    }

    fn remove(runs: &Path, directory: &RunDir) -> io::Result<bool> {
        remove_run(runs, &RunKey { job: directory.job, attempt: directory.attempt })?;
        Ok(true)
    }
}

/// Ids are UUIDs of version 7, and begin with their time.
fn made_at(job: JobId) -> Timestamp {
    let [a, b, c, d, e, f, ..] = job.0;
    Timestamp(i64::from_be_bytes([0, 0, a, b, c, d, e, f]))
}

/// How often they are looked through.
const EVERY: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;

    use rustix::fs::{FlockOperation, flock};

    use super::*;

    #[test]
    fn only_directories_of_jobs_that_are_old_and_gone_may_go() {
        let directory = |job: &str| RunDir { job: job.parse().unwrap(), attempt: 1, path: "run".into() };
        let old = directory("01900000-0000-7000-8000-000000000001");
        let new = directory("01a00000-0000-7000-8000-000000000001");
        let clearing = Old { made_before: made_at(new.job).before(Duration::from_millis(1)) };
        assert!(clearing.concerns(&old) && !clearing.concerns(&new));
        assert!(clearing.may_go(&old, None));
    }

    /// A run with something of a link to what is not its own, held or not.
    fn world() -> (tempfile::TempDir, RunDir) {
        let folder = tempfile::tempdir().unwrap();
        let job = "01900000-0000-7000-8000-000000000001";
        let path = folder.path().join(format!("runs/{job}-1"));
        fs::create_dir_all(path.join("output")).unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        fs::write(folder.path().join("outside/precious"), "weights").unwrap();
        symlink(folder.path().join("outside"), path.join("output/link")).unwrap();
        symlink(folder.path().join("outside/precious"), path.join("file")).unwrap();
        (folder, RunDir { job: job.parse().unwrap(), attempt: 1, path })
    }

    #[test]
    fn links_are_removed_and_not_followed_and_what_is_locked_stays_of_this_version_and_the_one_before() {
        for lock in
            ["control/01900000-0000-7000-8000-000000000001-1", "runs/01900000-0000-7000-8000-000000000001-1"]
        {
            let (folder, run) = world();
            let (runs, lock) = (folder.path().join("runs"), folder.path().join(lock));
            fs::create_dir_all(&lock).unwrap();
            fs::write(lock.join("lock"), "").unwrap();
            let held = File::open(lock.join("lock")).unwrap();
            flock(&held, FlockOperation::LockExclusive).unwrap();
            assert!(!run_dirs::remove::<Old>(&runs, &run).unwrap() && run.path.exists() && lock.exists());
            drop(held);
            assert!(run_dirs::remove::<Old>(&runs, &run).unwrap() && !run.path.exists() && !lock.exists());
            let precious = fs::read_to_string(folder.path().join("outside/precious")).unwrap();
            assert_eq!(precious, "weights");
        }
    }

    #[test]
    fn what_is_kept_of_a_run_whose_directory_is_gone_goes_too() {
        let (folder, run) = world();
        let runs = folder.path().join("runs");
        let control = folder.path().join("control").join(run.path.file_name().unwrap());
        fs::create_dir_all(&control).unwrap();
        fs::write(control.join("exit.json"), "{}").unwrap();
        fs::remove_dir_all(&run.path).unwrap();
        assert_eq!(run_dirs::list(&runs, |_| true).unwrap(), std::slice::from_ref(&run));
        assert!(run_dirs::remove::<Old>(&runs, &run).unwrap() && !control.exists());
    }

    #[test]
    fn a_run_of_before_whose_lock_is_a_link_is_nobodys_to_hold() {
        let (folder, run) = world();
        symlink("/dev/null", run.path.join("lock")).unwrap();
        let runs = folder.path().join("runs");
        assert!(run_dirs::remove::<Old>(&runs, &run).unwrap() && !run.path.exists());
        assert!(folder.path().join("outside/precious").exists());
    }
}
