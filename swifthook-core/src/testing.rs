//! Pushes for tests.

use crate::git::{CommitSha, RefName};
use crate::id::{JobId, RepoName};
use crate::job::{Change as TrainedChange, Job, JobSpec, Retry, State, Superseding};
use crate::push::{Change, ChangeSet, Gap, Paths, Push, Source};
use crate::time::Timestamp;

/// A push of `acme/models` that changes these files.
pub(crate) fn push(full_ref: &str, files: &[&str]) -> Push {
    Push {
        repository: RepoName::new("acme/models").unwrap(),
        ref_name: RefName::parse(full_ref).unwrap(),
        before: CommitSha::parse(&"aa".repeat(20)).unwrap(),
        head: CommitSha::parse(&"ab".repeat(20)).unwrap(),
        skip_marker: false,
        sender: Some("dev".into()),
        pushed_at: None,
        changes: ChangeSet::Complete(present(files)),
        source: Source::Person,
    }
}

/// The same push, of whose files only some are known.
pub(crate) fn incomplete(push: Push, gap: Gap) -> Push {
    Push { changes: ChangeSet::Incomplete(push.changes.paths().clone(), gap), ..push }
}

pub(crate) fn present(files: &[&str]) -> Paths {
    files.iter().map(|file| (*file, Change::Present)).collect()
}

/// A queued job of [`push`].
#[cfg(feature = "schedule")]
pub(crate) fn job() -> Job {
    let push = push("refs/heads/main", &[]);
    let change = TrainedChange {
        repository: push.repository,
        ref_name: push.ref_name,
        head: push.head.unwrap(),
        recipe: "train".into(),
        config: "".into(),
        run: 0,
    };
    let spec = JobSpec {
        recipe: "train".into(),
        config: None,
        group: "train".into(),
        priority: 0,
        launcher: "local".into(),
        labels: Vec::new(),
        command: [].into(),
        superseded: Superseding::default(),
        debounce: None,
        retry: Retry::default(),
    };
    Job {
        id: JobId([0; 16]),
        change,
        before: push.before,
        sender: push.sender,
        pushed_at: push.pushed_at,
        source: push.source,
        spec,
        state: State::queued(None, None),
        created_at: Timestamp(0),
        rerun_of: None,
        superseded_by: None,
        progress: None,
    }
}
