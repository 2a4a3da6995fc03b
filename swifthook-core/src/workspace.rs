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
    /// between the merge base with the default branch and `head` (on the default branch itself, the empty tree).
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
    /// When git cannot tell.
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
