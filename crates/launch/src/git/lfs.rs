//! Content of Git LFS, by `git lfs`, where a recipe asks for it.

use std::fs;
use std::io;
use std::path::Path;

use swifthook_core::WorkspaceError;

use super::config::Transport;
use super::mirror::Mirror;

impl Mirror {
    /// Puts the content in the place of pointers. It comes from the server of the repository: what a commit says of
    /// other servers (`.lfsconfig`) does not count.
    pub(super) async fn pull_lfs(&self, directory: &Path) -> Result<(), WorkspaceError> {
        let git = self.remote_git_in("get the content of Git LFS", &directory.join(".git"))?;
        let pulled = git
            .with("lfs.url", &self.lfs_url())
            .with("lfs.basicTransfersOnly", "true")
            // It writes no file where it is not configured.
            .with("filter.lfs.process", "git-lfs filter-process")
            .with("filter.lfs.smudge", "git-lfs smudge -- %f")
            .with("filter.lfs.clean", "git-lfs clean -- %f")
            .by_place(directory)
            .args(["lfs", "pull", "origin"])
            .output()
            .await;
        match pulled {
            Ok(_) => {
                let (from, to) = (directory.join(".git/lfs/objects"), self.path.join("lfs/objects"));
                let kept = tokio::task::spawn_blocking(move || keep(&from, &to)).await;
                let kept = kept.map_err(io::Error::other).flatten();
                kept.map_err(|error| WorkspaceError::passing("cannot keep files of Git LFS").because(error))
            }
            Err(failure) if failure.is_unknown_command() => Err(WorkspaceError::permanent(
                "the recipe says `lfs = true`, and there is no `git lfs` here: install git-lfs (3.0 or later)",
            )),
            Err(failure) => Err(self.refused(failure).await),
        }
    }

    /// Where git-lfs looks by itself if nothing is configured:
    /// <https://github.com/git-lfs/git-lfs/blob/main/docs/api/server-discovery.md>.
    fn lfs_url(&self) -> String {
        let url = self.remote.url.trim_end_matches('/');
        match self.remote.transport {
            Transport::Https if url.ends_with(".git") => format!("{url}/info/lfs"),
            Transport::Https => format!("{url}.git/info/lfs"),
            Transport::File if url.starts_with('/') => format!("file://{url}"),
            Transport::Ssh | Transport::File => url.to_owned(),
        }
    }
}

/// Moves what git-lfs has fetched for a tree to where it looks before it asks a server: beside the objects that the tree
/// borrows. Each is there whole or not at all, by the name of its content.
fn keep(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from).into_iter().flatten() {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            keep(&entry.path(), &place)?;
        } else {
            fs::create_dir_all(to)?;
            fs::rename(entry.path(), place)?;
        }
    }
    Ok(())
}
