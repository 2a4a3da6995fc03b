//! What is left of runs, for whoever clears it away: nothing of it knows where a launcher has its files but this.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use swifthook_core::RunKey;

use super::lock::Lock;
use super::run_dir::{RunDir, control_of};
use crate::beneath::{Beneath, remove_tree};

/// The lock of a run: its supervisor has it, or whoever is just beginning or settling it.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "it is held as long as it is there")] Option<Lock>);

/// The runs of which there is anything in `runs`, or in what launchers keep beside and in it. A link is none.
///
/// # Errors
///
/// If the directories cannot be listed. That one is not there is no error.
pub fn known_runs(runs: &Path) -> io::Result<Vec<RunKey>> {
    let mut known = BTreeSet::new();
    for folder in [runs.to_owned()].into_iter().chain(controls(runs)) {
        // What is above it is ours, and may be a link to a larger disk.
        let entries = match std::fs::canonicalize(folder).and_then(Beneath::at) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            folder => folder?.entries(usize::MAX)?,
        };
        let folders = entries.iter().filter(|entry| entry.is_dir);
        known.extend(folders.filter_map(|entry| key_of(entry.name.to_str()?)));
    }
    Ok(known.into_iter().collect())
}

/// Keeps a run from being begun or settled by anybody else for as long as what it gives is there; `None` if somebody has it.
///
/// # Errors
///
/// If its lock cannot be looked at, such as one that is a link.
pub fn hold_run(runs: &Path, key: &RunKey) -> io::Result<Option<Held>> {
    let dir = RunDir::of(runs, &control_of(runs), key);
    let lock = match dir.files().and_then(|files| files.file("lock")) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Held(None))),
        Err(error) => return Err(error),
    };
    let lock = Lock::take(lock, FlockOperation::NonBlockingLockExclusive)?;
    Ok(lock.map(|lock| Held(Some(lock))))
}

/// Removes all that there is of a run, and what is kept of it last: so what is left of a removal that is broken off is
/// still known for what it is.
///
/// # Errors
///
/// If something of it cannot be removed.
pub fn remove_run(runs: &Path, key: &RunKey) -> io::Result<()> {
    remove_tree(&runs.join(key.to_string()))?;
    controls(runs).iter().try_for_each(|control| remove_tree(&control.join(key.to_string())))
}

/// Directories in which launchers keep what no run is to see.
fn controls(runs: &Path) -> [PathBuf; 2] {
    [control_of(runs), shared_control_of(runs)]
}

/// Removes those of runs that any host may ask for: in the directory that all of them share.
pub(crate) fn shared_control_of(runs: &Path) -> PathBuf {
    runs.join(".control")
}

/// The key of `<job>-<attempt>`.
fn key_of(name: &str) -> Option<RunKey> {
    let (job, attempt) = name.split_at_checked(36)?;
    let digits = attempt.strip_prefix('-')?;
    let is_number = digits.bytes().all(|digit| digit.is_ascii_digit());
    Some(RunKey { job: job.parse().ok()?, attempt: digits.parse().ok().filter(|_| is_number)? })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;

    use rustix::fs::flock;

    use super::*;

    const JOB: &str = "01900000-0000-7000-8000-000000000001";
    const OTHER: &str = "01a00000-0000-7000-8000-000000000001";

    fn key(attempt: u32) -> RunKey {
        RunKey { job: JOB.parse().unwrap(), attempt }
    }

    #[test]
    fn runs_are_known_by_either_of_their_directories_and_nothing_else_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        for name in [
            format!("runs/{JOB}-1"),
            format!("control/{JOB}-1"),
            format!("control/{JOB}-2"),
            format!("runs/.control/{JOB}-3"),
            format!("runs/{JOB}-"),
            format!("runs/{JOB}-x"),
            format!("runs/{JOB}-+1"),
            format!("runs/{JOB}"),
            format!("runs/x{JOB}-1"),
            "control/precious".to_owned(),
        ] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        symlink("/etc", runs.join(format!("{JOB}-7"))).unwrap();
        fs::write(runs.join(format!("{JOB}-8")), "a file").unwrap();
        assert_eq!(known_runs(&runs).unwrap(), [key(1), key(2), key(3)]);
        assert_eq!(known_runs(&folder.path().join("absent")).unwrap(), []);
    }

    #[test]
    fn a_run_that_somebody_has_is_not_held_and_all_of_it_goes_in_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        for name in [format!("runs/{JOB}-1/output"), format!("control/{JOB}-1"), format!("runs/{OTHER}-1")] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let lock = folder.path().join(format!("control/{JOB}-1/lock"));
        fs::write(&lock, "").unwrap();
        // What a run puts beside its log is no lock any more.
        symlink("/dev/null", runs.join(format!("{JOB}-1/lock"))).unwrap();
        let held = File::open(&lock).unwrap();
        flock(&held, FlockOperation::LockExclusive).unwrap();
        assert!(hold_run(&runs, &key(1)).unwrap().is_none());
        drop(held);
        let ours = hold_run(&runs, &key(1)).unwrap().unwrap();
        remove_run(&runs, &key(1)).unwrap();
        drop(ours);
        assert_eq!(known_runs(&runs).unwrap(), [RunKey { job: OTHER.parse().unwrap(), attempt: 1 }]);
        assert!(hold_run(&runs, &key(9)).unwrap().is_some(), "of one that is not there nobody has the lock");
    }

    #[test]
    fn of_a_run_of_before_the_lock_is_beside_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join(format!("runs/{JOB}-1"));
        fs::create_dir_all(&run).unwrap();
        fs::write(run.join("lock"), "").unwrap();
        let held = File::open(run.join("lock")).unwrap();
        flock(&held, FlockOperation::LockExclusive).unwrap();
        assert!(hold_run(&folder.path().join("runs"), &key(1)).unwrap().is_none());
    }
}
