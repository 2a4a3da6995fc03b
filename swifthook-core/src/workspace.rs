//! The workspace: where a run finds the pushed commit.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use crate::git::{CommitSha, RefName};
use crate::id::RepoName;
use crate::problem::opaque_problem;
use crate::push::ChangeSet;

/// Makes working trees of exactly one commit, and asks git what changed. Where to fetch from is its own
/// configuration; a payload is never asked.
#[async_trait]
pub trait Workspace: Send + Sync {
    /// A fresh working tree of `commit` at `directory`, which does not exist yet or holds what an earlier try
    /// left. Directories above it that are missing are made, for this user alone.
    ///
    /// # Errors
    ///
    /// Permanent where the commit cannot be had (the repository is not configured, the commit is gone), and where what
    /// `with` asks for is not allowed or cannot be done here.
    async fn checkout(
        &self,
        repository: &RepoName,
        ref_name: &RefName,
        commit: &CommitSha,
        with: &Checkout,
        directory: &Path,
    ) -> Result<PathBuf, WorkspaceError>;

    /// The files that differ between `before` and `head`; without `before`, or where the server no longer has it,
    /// between `head` and what [`Comparison`] names.
    /// Complete, unless there are more of them than one would decide by: then it has the first of them, and says that it
    /// is cut ([`Gap::Truncated`](crate::Gap)).
    ///
    /// # Errors
    ///
    /// When git cannot tell.
    async fn diff(
        &self,
        repository: &RepoName,
        ref_name: &RefName,
        before: Option<&CommitSha>,
        head: &CommitSha,
    ) -> Result<ChangeSet, WorkspaceError>;

    /// The same, with all that is known of what to compare with; see [`Comparison`] for the rules. The default asks
    /// [`diff`](Self::diff).
    ///
    /// # Errors
    ///
    /// If git cannot tell, or what is known cannot be looked up.
    async fn compare(&self, asked: &Comparison<'_>) -> Result<ChangeSet, WorkspaceError> {
        self.diff(asked.repository, asked.ref_name, asked.before, asked.head).await
    }

    /// One regular file of `commit`, from the objects of git: no working tree is made, no link followed and no filter
    /// run. The default has none.
    ///
    /// # Errors
    ///
    /// Permanent where there is no such file, where it is none (a link, a directory, a submodule), where it is larger
    /// than `most_bytes`, and where the commit cannot be had.
    async fn read_file(
        &self,
        _repository: &RepoName,
        _ref_name: &RefName,
        commit: &CommitSha,
        path: &str,
        _most_bytes: usize,
    ) -> Result<Vec<u8>, WorkspaceError> {
        Err(WorkspaceError::permanent(format!("this workspace reads no files, such as `{path}` of {commit}")))
    }

    /// The message of a commit. The default tells none.
    ///
    /// # Errors
    ///
    /// If git cannot tell.
    async fn message(
        &self,
        _repository: &RepoName,
        _ref_name: &RefName,
        _commit: &CommitSha,
    ) -> Result<String, WorkspaceError> {
        Ok(String::new())
    }

    /// Removes a working tree. What is not there is no error.
    ///
    /// # Errors
    ///
    /// When it could not be removed.
    async fn discard(&self, repository: &RepoName, directory: &Path) -> Result<(), WorkspaceError>;
}

/// A push of which git is asked what it changed, and what it is compared with: the first of these that there is.
///
/// 1. `before`, where the server still has it.
/// 2. For a tag, the newest earlier tag for which `counts` answers yes and whose commit is an ancestor of `head`; a tag
///    of the same commit is none. Without one, nothing: all files are new.
/// 3. `head` itself, where it is [known](KnownHeads): then nothing has changed.
/// 4. Where `head` left the default branch: the one that HEAD of the repository names, else `default_branch`.
/// 5. On the default branch itself, and where nobody knows which that is, the nearest ancestor of `head` that is known,
///    else nothing: all files are new.
#[derive(Clone, Copy)]
pub struct Comparison<'a> {
    /// The repository.
    pub repository: &'a RepoName,
    /// What was moved.
    pub ref_name: &'a RefName,
    /// Where the ref was before; `None` if it is new.
    pub before: Option<&'a CommitSha>,
    /// Where it is now.
    pub head: &'a CommitSha,
    /// The default branch, by the payload.
    pub default_branch: Option<&'a str>,
    /// Tells whether a tag of this name is one that a tag may be compared with.
    pub counts: &'a (dyn Fn(&str) -> bool + Send + Sync),
    /// Which commits are known.
    pub known: &'a dyn KnownHeads,
    /// Which paths are looked at, of more than can be; `None` is all of them.
    pub wanted: Option<&'a PathPredicate<'a>>,
}

/// Tells of a path, in bytes, whether it is looked at.
pub type PathPredicate<'a> = dyn Fn(&[u8]) -> bool + Send + Sync + 'a;

/// Looks up at which commits refs of the repository were when a recipe was asked about them.
#[async_trait]
pub trait KnownHeads: Send + Sync {
    /// These commits, in no order.
    ///
    /// # Errors
    ///
    /// If it cannot be told.
    async fn commits(&self) -> Result<Vec<CommitSha>, WorkspaceError>;
}

/// Nothing is known.
#[async_trait]
impl KnownHeads for () {
    async fn commits(&self) -> Result<Vec<CommitSha>, WorkspaceError> {
        Ok(Vec::new())
    }
}

impl<'a> Comparison<'a> {
    /// A comparison of which no more is known than where the ref was and is.
    #[must_use]
    pub fn new(
        repository: &'a RepoName,
        ref_name: &'a RefName,
        before: Option<&'a CommitSha>,
        head: &'a CommitSha,
    ) -> Self {
        Self {
            repository,
            ref_name,
            before,
            head,
            default_branch: None,
            counts: &|_| true,
            known: &(),
            wanted: None,
        }
    }
}

/// What a working tree has beside the files that stand in the commit itself. By default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkout {
    /// The content of files of Git LFS, of which the commit has pointers.
    pub lfs: bool,
    /// Submodules, from these hosts (`github.com`, `git.example.org:8443`) and no other. None: no submodules.
    pub submodules: Arc<[String]>,
}

opaque_problem! {
    /// Git could not do what was asked.
    WorkspaceError
}
