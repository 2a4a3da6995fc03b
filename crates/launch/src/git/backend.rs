use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use swifthook_core::{ChangeSet, CommitSha, RefName, RepoName, Workspace, WorkspaceError};

use super::command::Git;
use super::config::Remote;
use super::mirror::{Mirror, remove};

/// Working trees by the `git` command (2.31 or later), from a bare mirror for each repository.
///
/// A pushed commit is somebody else's: nothing in it is run, no hook, filter, submodule or other transport, and no
/// name in a push is an option or reaches a shell. Large files of Git LFS stay pointers.
///
/// Mirrors only grow. They belong to this program: deleting one costs a fetch and nothing else.
pub struct GitWorkspace {
    mirrors: HashMap<RepoName, Mirror>,
}

impl GitWorkspace {
    /// A workspace for `remotes`, with its mirrors in `<state_dir>/mirrors`.
    ///
    /// # Errors
    ///
    /// When `state_dir` is relative and there is no current directory.
    pub fn new(state_dir: impl AsRef<Path>, remotes: impl IntoIterator<Item = Remote>) -> io::Result<Self> {
        let path = std::path::absolute(state_dir)?.join("mirrors");
        let mirrors = remotes.into_iter().map(|remote| (remote.name.clone(), Mirror::new(&path, remote)));
        Ok(Self { mirrors: mirrors.collect() })
    }

    fn mirror(&self, repository: &RepoName) -> Result<&Mirror, WorkspaceError> {
        self.mirrors
            .get(repository)
            .ok_or_else(|| WorkspaceError::permanent(format!("repository `{repository}` is not configured")))
    }
}

#[async_trait]
impl Workspace for GitWorkspace {
    async fn checkout(
        &self,
        repository: &RepoName,
        ref_name: &RefName,
        commit: &CommitSha,
        directory: &Path,
    ) -> Result<PathBuf, WorkspaceError> {
        let mirror = self.mirror(repository)?;
        mirror.ensure(ref_name, commit).await?;
        clear(directory).await?;
        mirror.add_worktree(directory, commit).await?;
        Git::local("check out", &directory.join(".git"))
            .in_tree(directory)
            .args(["reset", "--quiet", "--hard", "--no-recurse-submodules"])
            .output()
            .await?;
        Ok(directory.to_owned())
    }

    async fn diff(
        &self,
        repository: &RepoName,
        ref_name: &RefName,
        before: Option<&CommitSha>,
        head: &CommitSha,
    ) -> Result<ChangeSet, WorkspaceError> {
        self.mirror(repository)?.diff(ref_name, before, head).await
    }

    async fn read_file(
        &self,
        repository: &RepoName,
        ref_name: &RefName,
        commit: &CommitSha,
        path: &str,
        most_bytes: usize,
    ) -> Result<Vec<u8>, WorkspaceError> {
        let mirror = self.mirror(repository)?;
        mirror.ensure(ref_name, commit).await?;
        mirror.read_file(commit, path, most_bytes).await
    }

    async fn discard(&self, repository: &RepoName, directory: &Path) -> Result<(), WorkspaceError> {
        clear(directory).await?;
        match self.mirrors.get(repository) {
            Some(mirror) => mirror.prune_worktrees().await,
            None => Ok(()),
        }
    }
}

/// Removes a working tree, off the async threads: it may be large.
async fn clear(directory: &Path) -> Result<(), WorkspaceError> {
    let directory = directory.to_owned();
    let removed = tokio::task::spawn_blocking(move || remove(&directory)).await.map_err(io::Error::other);
    removed
        .flatten()
        .map_err(|error| WorkspaceError::passing("cannot remove the working tree").because(error))
}
