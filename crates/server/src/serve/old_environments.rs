//! Python environments that no run has asked for lately.
//!
//! When one was last asked for is the time of its lock file, which stays: whoever waits for it has it open. An environment
//! goes when that is long ago, no run that goes on stands on it, and nobody makes it now.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use swifthook_core::{History, JobFilter, QueueError, Stage};
use tracing::warn;

use super::uv::{ENVIRONMENTS, remove};

/// Removes those that were last asked for longer than `keep` ago; answers how many are gone.
pub(super) async fn clear<S: History + ?Sized>(
    state_dir: &Path,
    store: &S,
    keep: Option<Duration>,
    now: SystemTime,
) -> u64 {
    let Some(before) = keep.and_then(|keep| now.checked_sub(keep)) else { return 0 };
    let root = state_dir.join(ENVIRONMENTS);
    let listing = tokio::task::spawn_blocking(move || old(&root, before)).await;
    let found = match listing.map_err(io::Error::other).flatten() {
        Ok(found) if found.is_empty() => return 0,
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return 0,
        Err(error) => {
            warn!(%error, "the environments cannot be listed");
            return 0;
        }
    };
    let needed = match needed(store).await {
        Ok(needed) => needed,
        Err(error) => {
            warn!(%error, "which environments runs stand on is not known, and all of them stay");
            return 0;
        }
    };
    let mut removed = 0;
    for folder in found.into_iter().filter(|folder| !needed.contains(&name_of(folder))) {
        let shown = folder.display().to_string();
        let removing = tokio::task::spawn_blocking(move || remove_one(&folder, before)).await;
        match removing.map_err(io::Error::other).flatten() {
            Ok(is_gone) => removed += u64::from(is_gone),
            Err(error) => warn!(%error, environment = shown, "an environment cannot be removed"),
        }
    }
    removed
}

/// The folders of environments that nobody has asked for since.
fn old(root: &Path, before: SystemTime) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        // Of the entry itself: a link is none.
        let is_environment = entry.file_type()?.is_dir() && is_digest(&name_of(&entry.path()));
        if is_environment && asked_for_at(&entry.path())? < before {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// The digests of the environments that runs stand on which go on.
async fn needed<S: History + ?Sized>(store: &S) -> Result<HashSet<String>, QueueError> {
    let mut filter =
        JobFilter { stages: vec![Stage::Running, Stage::Finishing], limit: 500, ..JobFilter::default() };
    let mut needed = HashSet::new();
    loop {
        let page = store.jobs(&filter).await?;
        let environments = page.iter().filter_map(|job| job.state.environment.as_deref());
        needed.extend(environments.filter_map(|name| name.strip_prefix("uv:")).map(str::to_owned));
        match page.last() {
            Some(last) => filter.before = Some(last.id),
            None => return Ok(needed),
        }
    }
}

fn remove_one(folder: &Path, before: SystemTime) -> io::Result<bool> {
    let lock = File::options().write(true).create(true).truncate(false).open(lock_of(folder))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    // Somebody may have asked for it since it was listed.
    if asked_for_at(folder)? >= before {
        return Ok(false);
    }
    remove(folder)?;
    match fs::remove_file(folder.with_extension("log")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(true),
    }
}

fn asked_for_at(folder: &Path) -> io::Result<SystemTime> {
    let lock = fs::symlink_metadata(lock_of(folder));
    lock.or_else(|_| fs::symlink_metadata(folder))?.modified()
}

pub(super) fn lock_of(folder: &Path) -> PathBuf {
    folder.with_extension("lock")
}

pub(super) fn name_of(folder: &Path) -> String {
    folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

pub(super) fn is_digest(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use swifthook_core::{
        ChangeSet, CommitSha, ConfigDigest, Decided, Event, Intake, JobQueue, Lease, Paths, Prepared, Push,
        Recipe, RefName, RepoName, Source, Timestamp, Worker,
    };
    use swifthook_queue::MemoryQueue;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn environment(root: &Path, digit: char) -> PathBuf {
        let folder = root.join(digit.to_string().repeat(32));
        fs::create_dir_all(folder.join("venv/bin")).unwrap();
        for file in [folder.join("complete"), lock_of(&folder), folder.with_extension("log")] {
            fs::write(file, "").unwrap();
        }
        folder
    }

    #[test]
    fn only_environments_that_nobody_asked_for_lately_are_old() {
        let root = tempfile::tempdir().unwrap();
        let (lately, long_ago) = (environment(root.path(), 'a'), environment(root.path(), 'b'));
        fs::create_dir(root.path().join("cache-sft")).unwrap();
        symlink("/etc", root.path().join("c".repeat(32))).unwrap();
        let now = SystemTime::now();
        File::options().write(true).open(lock_of(&long_ago)).unwrap().set_modified(now - 40 * DAY).unwrap();
        assert_eq!(old(root.path(), now - 30 * DAY).unwrap(), [long_ago]);
        let both = old(root.path(), now + DAY).unwrap();
        assert!(both.contains(&lately) && both.len() == 2, "{both:?}");
    }

    #[tokio::test]
    async fn one_that_a_run_stands_on_stays_however_long_it_takes() {
        let state_dir = tempfile::tempdir().unwrap();
        let root = state_dir.path().join(ENVIRONMENTS);
        let (needed, other) = (environment(&root, 'a'), environment(&root, 'b'));
        let store = MemoryQueue::default();
        let lease = claimed(&store).await;
        let environment = Some(format!("uv:{}", name_of(&needed)).into());
        let prepared = Event::Prepared(Prepared { environment, ..Prepared::default() });
        let start = Event::Start { at: Timestamp(0), host: None, gpus: None };
        for event in [prepared, start] {
            store.apply(&lease, event).await.unwrap();
        }
        let (keep, later) = (Some(DAY), SystemTime::now() + 40 * DAY);
        assert_eq!(clear(state_dir.path(), &store, None, later).await, 0, "they are kept for ever");
        assert_eq!(clear(state_dir.path(), &store, keep, later).await, 1);
        assert!(needed.exists() && !other.exists());
        store
            .apply(
                &lease,
                Event::Refused {
                    is_permanent: true,
                    message: "no".to_owned(),
                    until: Timestamp(0),
                    at: Timestamp(0),
                },
            )
            .await
            .unwrap();
        assert_eq!(clear(state_dir.path(), &store, keep, later).await, 1);
        assert!(!needed.exists());
    }

    async fn claimed(store: &MemoryQueue) -> Lease {
        let repository = RepoName::new("acme/models").unwrap();
        let push = Push {
            repository: repository.clone(),
            ref_name: RefName::Branch("main".into()),
            before: None,
            head: CommitSha::parse(&"1".repeat(40)).unwrap(),
            skip_marker: false,
            sender: None,
            pushed_at: None,
            changes: ChangeSet::Complete(Paths::empty()),
            source: Source::Person,
            origin: Default::default(),
        };
        let now = SystemTime::now().into();
        let recipe = Recipe::new("sft", repository, swifthook_core::condition::all([]));
        let decided = Decided {
            version: Decided::VERSION,
            verdicts: vec![recipe.decide(&push, now)],
            push,
            config: ConfigDigest::default(),
            received_at: now,
            is_redeliverable: true,
        };
        store.accept(&decided).await.unwrap();
        let worker = Worker {
            name: "w".into(),
            host: "box".into(),
            labels: Vec::new(),
            slots_free: 1,
            has_gpus: false,
            lease: DAY,
        };
        store.claim(&worker).await.unwrap().unwrap().lease
    }

    #[test]
    fn one_that_is_being_made_or_was_asked_for_in_between_stays_and_its_lock_stays_always() {
        let root = tempfile::tempdir().unwrap();
        let folder = environment(root.path(), 'a');
        let later = SystemTime::now() + DAY;
        let held = File::open(lock_of(&folder)).unwrap();
        flock(&held, FlockOperation::LockExclusive).unwrap();
        assert!(!remove_one(&folder, later).unwrap() && folder.exists());
        drop(held);
        assert!(!remove_one(&folder, SystemTime::now() - DAY).unwrap() && folder.exists());
        assert!(remove_one(&folder, later).unwrap() && !folder.exists());
        assert!(lock_of(&folder).exists() && !folder.with_extension("log").exists());
    }
}
