//! Pushes for tests.

use crate::git::{CommitSha, RefName};
use crate::id::RepoName;
use crate::push::{Change, ChangeSet, Gap, Paths, Push, Source};

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
        origin: Default::default(),
    }
}

/// The same push, of whose files only some are known.
pub(crate) fn incomplete(push: Push, gap: Gap) -> Push {
    Push { changes: ChangeSet::Incomplete(push.changes.paths().clone(), gap), ..push }
}

pub(crate) fn present(files: &[&str]) -> Paths {
    files.iter().map(|file| (*file, Change::Present)).collect()
}
