//! What is left over: working trees of attempts that are over, mirrors that have grown, environments that nobody wants,
//! and what was kept to make them.
//!
//! The runner removes the tree of an attempt when the attempt ends. What is left is of a process that died between the
//! two, or of a disk that was too slow. A tree goes only when the store says that its attempt is over and nobody holds
//! the lock of its run.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use swifthook_core::{Job, State};
use swifthook_launch::remove_tree;
use tracing::info;

use super::backends::Trees;
use super::reload::Handle;
use super::run_dirs::{self, Clearing, RunDir};
use super::store::Store;
use super::{old_caches, old_environments};
use crate::config::Config;
use crate::preflight::free;

/// Clears them away now and then, until it is told to stop.
pub(super) async fn tidy(
    store: Arc<dyn Store>,
    trees: Arc<Trees>,
    handle: Handle,
    stopped: impl Future<Output = ()>,
) {
    let tidying = async {
        loop {
            // Not in the way of what a server has to do at its start.
            tokio::time::sleep(EVERY).await;
            let state_dir = handle.config().store.state_dir.clone();
            let left = LeftTrees { now: SystemTime::now() };
            let removed = run_dirs::clear(&state_dir, &*store, left).await;
            if removed > 0 {
                info!(removed, "removed working trees of attempts that are over");
            }
            let keep = handle.config().environments;
            let removed = old_environments::clear(&state_dir, &*store, keep, SystemTime::now()).await;
            if removed > 0 {
                info!(removed, "removed environments that nobody has asked for lately");
            }
            let removed =
                old_caches::clear(&state_dir, keep, is_tight(&handle.config()), SystemTime::now()).await;
            if removed > 0 {
                info!(removed, "cleared caches of uv that were not used lately, or for want of room");
            }
            let tidied = trees.tidy(SystemTime::now()).await;
            if tidied != swifthook_launch::Tidied::default() {
                let swifthook_launch::Tidied { removed, forgotten, packed, .. } = tidied;
                info!(removed, forgotten, packed, "tidied up the mirrors");
            }
        }
    };
    tokio::select! {
        () = tidying => {}
        () = stopped => {}
    }
}

/// Whether a job may wait for room on the disk.
fn is_tight(config: &Config) -> bool {
    let most = config.recipes.iter().filter_map(|recipe| recipe.run.limits.disk).max();
    let wanted = config.limits.free_disk.saturating_add(most.unwrap_or_default());
    free(&config.store.state_dir).is_ok_and(|free| free < wanted)
}

/// Working trees of attempts that are over and that have stood for so long that nobody is just making them.
#[derive(Clone, Copy)]
struct LeftTrees {
    now: SystemTime,
}

impl Clearing for LeftTrees {
    const WHAT: &'static str = "a working tree";

    fn concerns(&self, RunDir { path, .. }: &RunDir) -> bool {
        let is_old = |tree: &Path| {
            let made = fs::symlink_metadata(tree.join(".git")).or_else(|_| fs::symlink_metadata(tree));
            let made = made.and_then(|made| made.modified());
            made.is_ok_and(|made| self.now.duration_since(made).is_ok_and(|passed| passed > GRACE))
        };
        is_old(&path.join(TREE)) || fs::symlink_metadata(path.join(GONE)).is_ok()
    }

    /// Of a job that is gone the whole directory goes in its time.
    fn may_go(&self, directory: &RunDir, job: Option<&Job>) -> bool {
        job.is_some_and(|job| is_over(&job.state, directory.attempt))
    }

    fn remove(_runs: &Path, directory: &RunDir) -> io::Result<bool> {
        // Out of the way at once, so that an attempt of the same number that begins just now has the place to itself.
        let gone = directory.path.join(GONE);
        let had_rest = fs::symlink_metadata(&gone).is_ok();
        remove_tree(&gone)?;
        match fs::rename(directory.path.join(TREE), &gone) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(had_rest),
            other => other?,
        }
        remove_tree(&gone)?;
        Ok(true)
    }
}

/// Whether a job has no use any more for what its attempt of this number left.
fn is_over(state: &State, attempt: u32) -> bool {
    !state.stage.is_active() || state.attempt != attempt
}

const EVERY: Duration = Duration::from_secs(3_600);
/// How long a tree is left alone in any case.
const GRACE: Duration = Duration::from_secs(3_600);
const TREE: &str = "tree";
const GONE: &str = "tree.gone";

#[cfg(test)]
mod tests {
    use std::fs::File;

    use rustix::fs::{FlockOperation, flock};
    use swifthook_core::Stage;

    use super::*;

    #[test]
    fn an_attempt_is_over_when_its_job_has_ended_waits_or_is_at_another() {
        let state = |stage, attempt| State { stage, attempt, ..State::queued(None, None) };
        for (stage, is_over_at_2) in [
            (Stage::Queued, true),
            (Stage::Running, false),
            (Stage::Finishing, false),
            (Stage::Succeeded, true),
            (Stage::Failed, true),
        ] {
            assert_eq!(is_over(&state(stage, 2), 2), is_over_at_2, "{stage:?}");
            assert!(is_over(&state(stage, 3), 2), "{stage:?}");
        }
    }

    #[test]
    fn only_trees_of_runs_that_have_stood_for_long_are_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path();
        let job = "01900000-0000-7000-8000-000000000001";
        for name in [format!("{job}-1/tree/.git"), format!("{job}-2"), "precious/tree/.git".to_owned()] {
            fs::create_dir_all(runs.join(name)).unwrap();
        }
        let now = SystemTime::now();
        let found = |now| run_dirs::list(runs, |directory| LeftTrees { now }.concerns(directory)).unwrap();
        assert_eq!(found(now), []);
        let path = runs.join(format!("{job}-1"));
        assert_eq!(found(now + GRACE * 2), [RunDir { job: job.parse().unwrap(), attempt: 1, path }]);
    }

    #[test]
    fn the_tree_of_a_run_that_somebody_holds_stays_and_nothing_else_goes_with_one() {
        let folder = tempfile::tempdir().unwrap();
        let (job, runs) = ("01900000-0000-7000-8000-000000000001", folder.path().join("runs"));
        let run = &runs.join(format!("{job}-1"));
        let directory = RunDir { job: job.parse().unwrap(), attempt: 1, path: run.clone() };
        let remove = || run_dirs::remove::<LeftTrees>(&runs, &directory).unwrap();
        fs::create_dir_all(run.join("tree/sub")).unwrap();
        fs::create_dir_all(run.join("tree.gone/half")).unwrap();
        fs::write(run.join("log"), "precious").unwrap();
        fs::write(run.join("lock"), "").unwrap();
        let held = File::open(run.join("lock")).unwrap();
        flock(&held, FlockOperation::LockExclusive).unwrap();
        assert!(!remove() && run.join("tree/sub").exists());
        drop(held);
        assert!(remove());
        let mut left: Vec<_> = fs::read_dir(run).unwrap().flatten().map(|entry| entry.file_name()).collect();
        left.sort();
        assert_eq!(left, ["lock", "log"]);
        assert!(!remove());
    }
}
