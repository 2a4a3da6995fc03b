//! The directories of runs whose jobs are no more.
//!
//! A directory goes when the store does not know its job any more and the job is older than anything that is kept: so
//! none is forgotten when the process dies between the two, and of a store that several machines share each removes
//! its own. One that a supervisor holds stays.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use swifthook_core::{History, Job, JobId, Retention, Timestamp};
use tracing::info;

use super::reload::Handle;
use super::run_dirs::{self, Clearing, Held, RunDir, lock_of};
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

    fn remove(directory: &Path) -> io::Result<bool> {
        let lock = lock_of(directory)?;
        if matches!(lock, Held::Others) {
            return Ok(false);
        }
        // It removes links and does not follow them: https://doc.rust-lang.org/std/fs/fn.remove_dir_all.html
        fs::remove_dir_all(directory)?;
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
    use std::fs::File;
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

    #[test]
    fn links_are_removed_and_not_followed_and_what_is_locked_stays() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("precious"), "weights").unwrap();
        let run = folder.path().join("run");
        fs::create_dir_all(run.join("output")).unwrap();
        symlink(&outside, run.join("output/link")).unwrap();
        symlink(outside.join("precious"), run.join("file")).unwrap();
        fs::write(run.join("lock"), "").unwrap();
        let held = File::open(run.join("lock")).unwrap();
        flock(&held, FlockOperation::LockExclusive).unwrap();
        assert!(!Old::remove(&run).unwrap() && run.exists());
        drop(held);
        assert!(Old::remove(&run).unwrap() && !run.exists());
        assert_eq!(fs::read_to_string(outside.join("precious")).unwrap(), "weights");
    }

    #[test]
    fn a_run_whose_lock_is_a_link_stays() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        fs::create_dir(&run).unwrap();
        symlink("/dev/null", run.join("lock")).unwrap();
        assert!(Old::remove(&run).is_err() && run.exists());
    }
}
