//! The directories of runs whose jobs are no more.
//!
//! A directory goes when the store does not know its job any more and the job is older than anything that is kept: so
//! none is forgotten when the process dies between the two, and of a store that several machines share each removes
//! its own. Only real directories right under `runs` that are named as runs are go, nothing is followed out of them,
//! and none that a supervisor holds.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use swifthook_core::{History, JobId, Retention, Timestamp};
use tracing::{info, warn};

use super::reload::Handle;
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
    let (runs, before) = (state_dir.join("runs"), now.before(keep));
    let listing = tokio::task::spawn_blocking(move || old(&runs, before)).await;
    let candidates = match listing.map_err(io::Error::other).flatten() {
        Ok(candidates) => candidates,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return 0,
        Err(error) => {
            warn!(%error, "the directories of runs cannot be listed");
            return 0;
        }
    };
    let mut removed = 0;
    for (job, directory) in candidates {
        match store.job(job).await {
            Ok(None) => {}
            Ok(Some(_)) => continue,
            // What cannot be known is not removed.
            Err(error) => {
                warn!(%error, %job, "whether a job is still there is not known, and its runs stay");
                continue;
            }
        }
        let shown = directory.display().to_string();
        let removing = tokio::task::spawn_blocking(move || remove_one(&directory)).await;
        match removing.map_err(io::Error::other).flatten() {
            Ok(is_gone) => removed += u64::from(is_gone),
            Err(error) => warn!(%error, directory = shown, "the directory of a run cannot be removed"),
        }
    }
    removed
}

/// The directories of runs of jobs that were made before that.
fn old(runs: &Path, before: Timestamp) -> io::Result<Vec<(JobId, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(runs)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(job) = name.to_str().and_then(job_of) else { continue };
        // Of the entry itself: a link is none.
        if made_at(job) <= before && entry.file_type()?.is_dir() {
            found.push((job, entry.path()));
        }
    }
    Ok(found)
}

/// The job of `<job>-<attempt>`.
fn job_of(name: &str) -> Option<JobId> {
    let (job, attempt) = name.split_at_checked(36)?;
    let digits = attempt.strip_prefix('-')?;
    let is_attempt = digits.bytes().all(|digit| digit.is_ascii_digit()) && digits.parse::<u32>().is_ok();
    if is_attempt { job.parse().ok() } else { None }
}

/// Ids are UUIDs of version 7, and begin with their time.
fn made_at(job: JobId) -> Timestamp {
    let [a, b, c, d, e, f, ..] = job.0;
    Timestamp(i64::from_be_bytes([0, 0, a, b, c, d, e, f]))
}

fn remove_one(directory: &Path) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let _lock = match open(directory.join("lock"), flags, Mode::empty()) {
        Ok(lock) => {
            let lock = File::from(lock);
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => Some(lock),
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Err(rustix::io::Errno::NOENT) => None,
        Err(error) => return Err(error.into()),
    };
    // It removes links and does not follow them: https://doc.rust-lang.org/std/fs/fn.remove_dir_all.html
    fs::remove_dir_all(directory)?;
    Ok(true)
}

/// How often they are looked through.
const EVERY: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_directories_that_are_named_as_old_runs_are() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path();
        let (old_job, new_job) =
            ("01900000-0000-7000-8000-000000000001", "01a00000-0000-7000-8000-000000000001");
        for name in [
            format!("{old_job}-1"),
            format!("{old_job}-23"),
            format!("{new_job}-1"),
            format!("{old_job}-"),
            format!("{old_job}-x"),
            format!("{old_job}-+1"),
            old_job.to_owned(),
            format!("x{old_job}-1"),
            "precious".to_owned(),
        ] {
            fs::create_dir(runs.join(name)).unwrap();
        }
        symlink("/etc", runs.join(format!("{old_job}-7"))).unwrap();
        fs::write(runs.join(format!("{old_job}-8")), "a file").unwrap();
        let before = made_at(new_job.parse().unwrap()).before(std::time::Duration::from_millis(1));
        let mut names: Vec<_> = old(runs, before)
            .unwrap()
            .into_iter()
            .map(|(_, path)| path.file_name().unwrap().to_str().unwrap()[37..].to_owned())
            .collect();
        names.sort();
        assert_eq!(names, ["1", "23"]);
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
        assert!(!remove_one(&run).unwrap() && run.exists());
        drop(held);
        assert!(remove_one(&run).unwrap() && !run.exists());
        assert_eq!(fs::read_to_string(outside.join("precious")).unwrap(), "weights");
    }

    #[test]
    fn a_link_in_place_of_the_lock_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        fs::create_dir(&run).unwrap();
        symlink("/dev/null", run.join("lock")).unwrap();
        assert!(remove_one(&run).is_err() && run.exists());
    }
}
