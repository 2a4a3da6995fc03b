//! Mirrors that do not grow for ever.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use swifthook_core::WorkspaceError;

use super::lock::try_exclusive;
use super::mirror::{KEPT, Mirror, remove};

/// What was done about mirrors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tidied {
    /// Mirrors that nothing names any more, and that are gone.
    pub removed: u64,
    /// Commits that are not kept any more.
    pub forgotten: u64,
    /// Mirrors that were packed anew.
    pub packed: u64,
}

impl Mirror {
    /// Forgets commits that nobody has wanted for long, and packs anew what has grown. Does nothing while anybody uses
    /// or changes it: the next time will do.
    pub(super) async fn tidy(&self, now: SystemTime, is_pressed: bool) -> Result<Tidied, WorkspaceError> {
        let mut tidied = Tidied::default();
        if !self.path.exists() {
            return Ok(tidied);
        }
        let Some(lock) = self.try_lock() else { return Ok(tidied) };
        self.clear_debris(&lock);
        if let Some(_alone) = self.try_alone() {
            tidied.forgotten = self.forget(now, is_pressed).map_err(not_tidied)?;
            self.forget_lfs(now, is_pressed).map_err(not_tidied)?;
        }
        if tidied.forgotten > 0 || has_grown(&self.path) {
            // Readers are not in its way, nor it in theirs: what they read has a ref.
            let packing = self.git("pack the mirror").holding(&lock);
            packing.args(["gc", "--quiet", "--prune=now"]).output().await?;
            tidied.packed = 1;
        }
        Ok(tidied)
    }

    fn forget(&self, now: SystemTime, is_pressed: bool) -> io::Result<u64> {
        let in_trees = Self::commits_in_trees(&self.path)?;
        let mut kept = Vec::new();
        for entry in list(&self.path.join(KEPT))? {
            let commit = entry.file_name().to_string_lossy().into_owned();
            kept.push((entry.metadata()?.modified()?, commit));
        }
        let mut forgotten = 0;
        for commit in superfluous(kept, &in_trees, now, is_pressed) {
            fs::remove_file(self.path.join(KEPT).join(commit))?;
            forgotten += 1;
        }
        Ok(forgotten)
    }

    /// What is gone is fetched again when it is needed.
    fn forget_lfs(&self, now: SystemTime, is_pressed: bool) -> io::Result<()> {
        for first in list(&self.path.join("lfs/objects"))? {
            for second in list(&first.path())? {
                for object in list(&second.path())? {
                    if is_older(object.metadata()?.modified()?, now, age(is_pressed)) {
                        fs::remove_file(object.path())?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Removes the mirrors under `folder` (`<folder>/<owner>/<name>.git`) that are not among `named`, and were not used for
/// long: a repository may be missing from the configuration by mistake.
pub(super) fn remove_others(
    folder: &Path,
    named: &[&Path],
    now: SystemTime,
    is_pressed: bool,
) -> io::Result<u64> {
    let mut removed = 0;
    for owner in list(folder)?.into_iter().filter(|owner| owner.file_type().is_ok_and(|kind| kind.is_dir())) {
        for entry in list(&owner.path())? {
            let path = entry.path();
            let is_mirror = path.extension().is_some_and(|end| end == "git") && entry.file_type()?.is_dir();
            if !is_mirror || named.contains(&&*path) {
                continue;
            }
            let used = [path.with_extension("lock"), path.with_extension("use"), path.clone()];
            let used = used.iter().filter_map(|path| fs::metadata(path).ok()?.modified().ok()).max();
            if used.is_some_and(|used| is_older(used, now, age(is_pressed))) && remove_unused(&path)? {
                tracing::info!(mirror = %path.display(), "removed a mirror that nothing names any more");
                removed += 1;
            }
        }
    }
    Ok(removed)
}

/// Removes a mirror unless it is used. The files of its locks stay: somebody may be waiting for them.
fn remove_unused(path: &Path) -> io::Result<bool> {
    let Some(_lock) = try_exclusive(&path.with_extension("lock"))? else { return Ok(false) };
    let Some(_alone) = try_exclusive(&path.with_extension("use"))? else { return Ok(false) };
    if !Mirror::commits_in_trees(path)?.is_empty() {
        return Ok(false);
    }
    let gone = path.with_extension("broken");
    remove(&gone)?;
    fs::rename(path, &gone)?;
    remove(&gone)?;
    Ok(true)
}

/// Which of these commits, each with the time when it was last wanted, need not be kept. Some always are: with them the
/// next fetch is a small one.
fn superfluous(
    mut kept: Vec<(SystemTime, String)>,
    in_trees: &[String],
    now: SystemTime,
    is_pressed: bool,
) -> Vec<String> {
    kept.sort_unstable_by(|a, b| b.cmp(a));
    let older = kept.into_iter().skip(ALWAYS).filter(|(wanted, _)| is_older(*wanted, now, age(is_pressed)));
    older.map(|(_, commit)| commit).filter(|commit| !in_trees.contains(commit)).collect()
}

/// Whether there are as many packs or single objects as git itself takes for too many:
/// <https://git-scm.com/docs/git-gc>, `gc.auto` and `gc.autoPackLimit`.
fn has_grown(mirror: &Path) -> bool {
    let count = |folder: PathBuf| list(&folder).map_or(0, |entries| entries.len());
    let packs = list(&mirror.join("objects/pack")).unwrap_or_default();
    let packs =
        packs.iter().filter(|entry| entry.path().extension().is_some_and(|end| end == "pack")).count();
    packs > 50 || count(mirror.join("objects/17")) > 27
}

/// Whether a disk is nearly full.
pub(super) fn is_pressed(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|disk| {
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        free < LEAST_FREE || disk.f_bavail.saturating_mul(20) < disk.f_blocks
    })
}

fn is_older(time: SystemTime, now: SystemTime, age: Duration) -> bool {
    now.duration_since(time).is_ok_and(|passed| passed > age)
}

fn age(is_pressed: bool) -> Duration {
    if is_pressed { PRESSED_AGE } else { AGE }
}

/// The entries of a folder; none if it is not there.
fn list(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn not_tidied(error: io::Error) -> WorkspaceError {
    WorkspaceError::passing("cannot tidy the mirror").because(error)
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// For how long what nobody wants is kept.
const AGE: Duration = DAY.saturating_mul(14);
/// The same where the disk is nearly full.
const PRESSED_AGE: Duration = DAY;
/// How many commits are kept in any case.
const ALWAYS: usize = 32;
const LEAST_FREE: u64 = 2 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_wanted_lately_or_stands_in_a_tree_is_kept_and_some_always() {
        let now = SystemTime::UNIX_EPOCH + DAY * 1_000;
        let commits: Vec<_> = (0..100).map(|n| (now - DAY * n, format!("{n:03}"))).collect();
        let in_trees = ["050".to_owned()];
        let gone = superfluous(commits.clone(), &in_trees, now, false);
        assert_eq!((gone.len(), gone.first().map(String::as_str)), (100 - 32 - 1, Some("032")));
        assert!(!gone.contains(&"050".to_owned()));
        let many = (0..100).map(|n| (now - DAY * 2, format!("{n:03}"))).collect::<Vec<_>>();
        assert_eq!(superfluous(many.clone(), &[], now, false), Vec::<String>::new());
        assert_eq!(superfluous(many, &[], now, true).len(), 68);
        assert_eq!(superfluous(commits[..32].to_vec(), &[], now + DAY * 99, true), Vec::<String>::new());
    }
}
