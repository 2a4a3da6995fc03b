//! What uv keeps beside the environments that it made, one cache for each recipe.
//!
//! All of it can be had again. It goes when no environment was made with it in a long time, or when there is too little room
//! on the disk for jobs to begin; of one that is in use nothing goes. The Pythons in it that uv has installed stay as long as
//! an environment is there that was made with it, since that stands on one of them. Environments that do not tell how they
//! were made, as those of earlier versions, keep all caches.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use swifthook_launch::remove_tree;
use tracing::warn;

use super::old_environments::{is_digest, lock_of, name_of};
use super::uv::{CACHE, ENVIRONMENTS, PYTHONS, cache_lock, cache_of, is_complete};

/// Removes what was last used longer than `keep` ago, or all of them if the disk `is_tight`; answers how many.
pub(super) async fn clear(state_dir: &Path, keep: Option<Duration>, is_tight: bool, now: SystemTime) -> u64 {
    let before = if is_tight { Some(now) } else { keep.and_then(|keep| now.checked_sub(keep)) };
    let Some(before) = before else { return 0 };
    let root = state_dir.join(ENVIRONMENTS);
    let clearing = tokio::task::spawn_blocking(move || clear_all(&root, before)).await;
    match clearing.map_err(io::Error::other).flatten() {
        Ok(cleared) => cleared,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => {
            warn!(%error, "the caches of uv cannot be listed");
            0
        }
    }
}

fn clear_all(root: &Path, before: SystemTime) -> io::Result<u64> {
    let mut cleared = 0;
    for folder in folders(root)? {
        if name_of(&folder).starts_with(GONE) {
            // A removal was broken off.
            remove_tree(&folder)?;
        } else if let Some(recipe) = name_of(&folder).strip_prefix(CACHE) {
            match clear_one(root, recipe, before) {
                Ok(had_any) => cleared += u64::from(had_any),
                Err(error) => warn!(%error, recipe, "a cache of uv cannot be cleared"),
            }
        }
    }
    Ok(cleared)
}

/// Moves it out of the way while nobody can begin to use it, and takes its time to remove it afterwards.
fn clear_one(root: &Path, recipe: &str, before: SystemTime) -> io::Result<bool> {
    // One that nobody has noted a use of yet counts from now on.
    let lock = File::options().write(true).create(true).truncate(false).open(cache_lock(root, recipe))?;
    if lock.metadata()?.modified()? >= before || !is_mine(&lock)? || is_any_being_made(root)? {
        return Ok(false);
    }
    let Some(users) = users(root)? else { return Ok(false) };
    let (cache, gone) = (root.join(format!("{CACHE}{recipe}")), root.join(format!("{GONE}{recipe}")));
    remove_tree(&gone)?;
    fs::create_dir(&gone)?;
    let stays = |name: &str| name == PYTHONS && users.contains(&name_of(&cache));
    let mut had_any = false;
    for entry in fs::read_dir(&cache)? {
        let name = entry?.file_name();
        if !name.to_str().is_some_and(stays) {
            fs::rename(cache.join(&name), gone.join(&name))?;
            had_any = true;
        }
    }
    drop(lock);
    remove_tree(&gone)?;
    Ok(had_any)
}

/// Whether nobody makes an environment with it: they hold it together, and we alone.
fn is_mine(lock: &File) -> io::Result<bool> {
    match flock(lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether any environment is being made, also by an uv whose server was killed: that has the lock of its environment alone.
fn is_any_being_made(root: &Path) -> io::Result<bool> {
    for folder in folders(root)?.into_iter().filter(|folder| is_digest(&name_of(folder))) {
        let lock = match File::open(lock_of(&folder)) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        match flock(&lock, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// The names of the caches with which environments were made that are there; `None` if one does not tell.
fn users(root: &Path) -> io::Result<Option<HashSet<String>>> {
    // What was left half made, and is made by nobody, is none.
    let is_environment = |folder: &PathBuf| is_digest(&name_of(folder)) && is_complete(folder);
    let environments = folders(root)?.into_iter().filter(is_environment);
    Ok(environments.map(|folder| cache_of(&folder)).collect())
}

/// The real folders: a link is none.
fn folders(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

const GONE: &str = "gone-";

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    /// A state directory with the cache of the recipe `sft`, and an environment that says of itself what is given.
    fn world(says: Option<&str>) -> (tempfile::TempDir, PathBuf) {
        let state_dir = tempfile::tempdir().unwrap();
        let root = state_dir.path().join(ENVIRONMENTS);
        for folder in ["cache-sft/archive-v0/x", "cache-sft/python/cpython"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(cache_lock(&root, "sft"), "").unwrap();
        if let Some(says) = says {
            let folder = environment(&root);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("complete"), says).unwrap();
            fs::write(lock_of(&folder), "").unwrap();
        }
        (state_dir, root)
    }

    fn environment(root: &Path) -> PathBuf {
        root.join("a".repeat(32))
    }

    fn left(root: &Path) -> Vec<String> {
        let cache = fs::read_dir(root.join("cache-sft")).into_iter().flatten().flatten();
        let mut left: Vec<_> = cache.map(|entry| name_of(&entry.path())).collect();
        left.sort();
        left
    }

    const MADE_WITH_IT: &str = r#"{"version":1,"at":"2026-11-28T00:00:00Z","cache":"cache-sft"}"#;

    #[tokio::test]
    async fn a_cache_goes_when_it_was_not_used_for_long_or_when_there_is_no_room() {
        let now = SystemTime::now();
        for (keep, is_tight, at, goes) in [
            (Some(30 * DAY), false, now + 29 * DAY, false),
            (Some(30 * DAY), false, now + 31 * DAY, true),
            (None, false, now + 9_999 * DAY, false),
            (Some(30 * DAY), true, now + DAY, true),
            (None, true, now + DAY, true),
        ] {
            let (state_dir, root) = world(None);
            let cleared = clear(state_dir.path(), keep, is_tight, at).await;
            assert_eq!((cleared, left(&root).is_empty()), (u64::from(goes), goes), "{keep:?} {is_tight}");
            assert_eq!(clear(state_dir.path(), keep, is_tight, at).await, 0, "there is nothing more");
        }
        let nowhere = tempfile::tempdir().unwrap();
        assert_eq!(clear(nowhere.path(), Some(DAY), false, now).await, 0);
    }

    #[tokio::test]
    async fn what_environments_stand_on_stays() {
        let later = SystemTime::now() + DAY;
        let (state_dir, root) = world(Some(MADE_WITH_IT));
        assert_eq!(clear(state_dir.path(), None, true, later).await, 1);
        assert_eq!(left(&root), ["python"]);
        fs::remove_file(environment(&root).join("complete")).unwrap();
        assert_eq!(clear(state_dir.path(), None, true, later).await, 1);
        assert_eq!(left(&root), Vec::<String>::new());

        let (state_dir, root) = world(Some(&MADE_WITH_IT.replace("sft", "dpo")));
        assert_eq!(clear(state_dir.path(), None, true, later).await, 1);
        assert_eq!(left(&root), Vec::<String>::new());

        for says in [r#"{"version":1,"at":"2026-11-28T00:00:00Z"}"#, "", "["] {
            let (state_dir, root) = world(Some(says));
            assert_eq!(clear(state_dir.path(), None, true, later).await, 0, "{says}");
            assert_eq!(left(&root), ["archive-v0", "python"], "{says}");
        }
    }

    #[tokio::test]
    async fn one_with_which_an_environment_is_being_made_stays() {
        let later = SystemTime::now() + DAY;
        let (state_dir, root) = world(Some(MADE_WITH_IT));
        // By a server that lives, and by an uv that has outlived its own.
        for lock in [cache_lock(&root, "sft"), lock_of(&environment(&root))] {
            let held = File::open(&lock).unwrap();
            flock(&held, FlockOperation::LockShared).unwrap();
            let of_an_environment = lock.extension().is_some();
            if of_an_environment {
                flock(&held, FlockOperation::LockExclusive).unwrap();
            }
            assert_eq!(clear(state_dir.path(), None, true, later).await, 0, "{lock:?}");
            assert_eq!(left(&root), ["archive-v0", "python"]);
        }
        assert_eq!(clear(state_dir.path(), None, true, later).await, 1);
    }

    #[tokio::test]
    async fn a_removal_that_was_broken_off_is_finished_and_one_of_before_counts_from_now_on() {
        let (state_dir, root) = world(None);
        fs::create_dir_all(root.join("gone-sft/wheels-v5")).unwrap();
        fs::remove_file(cache_lock(&root, "sft")).unwrap();
        let now = SystemTime::now();
        assert_eq!(clear(state_dir.path(), Some(30 * DAY), false, now).await, 0);
        assert!(!root.join("gone-sft").exists() && cache_lock(&root, "sft").exists());
        assert_eq!(left(&root), ["archive-v0", "python"]);
    }
}
