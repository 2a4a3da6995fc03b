use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use async_trait::async_trait;
use swifthook_core::{
    ChangeSet, Checkout, CommitSha, Comparison, RefName, RepoName, Workspace, WorkspaceError,
};

use super::config::{History, Remote};
use super::mirror::{Mirror, folder_of, remove};
use super::submodules;
use super::tidy::{Tidied, is_pressed, remove_others};

/// Working trees by the `git` command (2.31 or later), from a bare mirror for each repository.
///
/// A pushed commit is somebody else's: nothing in it is run, no hook, filter, other transport or command of a
/// submodule, and no name in a push is an option or reaches a shell. Submodules and the content of Git LFS are there
/// only where [`Checkout`] asks for them.
///
/// A working tree borrows the objects of its mirror (`.git/objects/info/alternates`), and is a repository of its own
/// otherwise: what runs in it changes no mirror. Mirrors belong to this program: deleting one costs a fetch, and the
/// past of working trees that are there.
pub struct GitWorkspace {
    state_dir: PathBuf,
    mirrors: HashMap<RepoName, Mirror>,
}

impl GitWorkspace {
    /// A workspace for `remotes`, with its mirrors in folders of `state_dir` whose names begin with `mirrors`.
    ///
    /// # Errors
    ///
    /// When `state_dir` is relative and there is no current directory.
    pub fn new(state_dir: impl AsRef<Path>, remotes: impl IntoIterator<Item = Remote>) -> io::Result<Self> {
        let state_dir = std::path::absolute(state_dir)?;
        let mirrors =
            remotes.into_iter().map(|remote| (remote.name.clone(), Mirror::new(&state_dir, remote)));
        Ok(Self { mirrors: mirrors.collect(), state_dir })
    }

    /// The commits that the branches and tags of a repository are at, by the word of the server that keeps it. Nothing is
    /// fetched: one call of git and no other.
    ///
    /// # Errors
    ///
    /// If the server cannot be asked.
    pub async fn tips(&self, repository: &RepoName) -> Result<BTreeMap<RefName, CommitSha>, WorkspaceError> {
        self.mirror(repository)?.tips().await
    }

    /// Keeps mirrors from growing for ever: forgets commits that nobody has wanted for two weeks (for a day, where the
    /// disk is nearly full), packs anew what has grown, and removes mirrors that nothing names and nobody has used for
    /// as long. Whatever is in use is left for the next time.
    pub async fn tidy(&self, now: SystemTime) -> Tidied {
        let is_pressed = is_pressed(&self.state_dir);
        let mut all = Tidied::default();
        for mirror in self.mirrors.values() {
            match mirror.tidy(now, is_pressed).await {
                Ok(Tidied { forgotten, packed, .. }) => {
                    all.forgotten += forgotten;
                    all.packed += packed;
                }
                Err(error) => tracing::warn!(%error, mirror = %mirror.path.display(), "cannot tidy up"),
            }
        }
        match self.remove_unnamed(now, is_pressed).await {
            Ok(removed) => all.removed = removed,
            Err(error) => tracing::warn!(%error, "cannot remove mirrors that nothing names any more"),
        }
        all
    }

    async fn remove_unnamed(&self, now: SystemTime, is_pressed: bool) -> io::Result<u64> {
        let named: Vec<PathBuf> = self.mirrors.values().map(|mirror| mirror.path.clone()).collect();
        let folders = [History::Full, History::Blobless, History::Shallow].map(folder_of);
        let folders =
            folders.map(|folder| self.state_dir.join(folder)).into_iter().chain([self.submodules()]);
        let folders: Vec<PathBuf> = folders.collect();
        let removing = tokio::task::spawn_blocking(move || {
            let named: Vec<&Path> = named.iter().map(PathBuf::as_path).collect();
            folders.iter().map(|folder| remove_others(folder, &named, now, is_pressed)).sum()
        });
        removing.await.map_err(io::Error::other).flatten()
    }

    fn mirror(&self, repository: &RepoName) -> Result<&Mirror, WorkspaceError> {
        self.mirrors
            .get(repository)
            .ok_or_else(|| WorkspaceError::permanent(format!("repository `{repository}` is not configured")))
    }

    fn submodules(&self) -> PathBuf {
        self.state_dir.join("mirrors-submodules")
    }
}

#[async_trait]
impl Workspace for GitWorkspace {
    async fn checkout(
        &self,
        repository: &RepoName,
        ref_name: &RefName,
        commit: &CommitSha,
        with: &Checkout,
        directory: &Path,
    ) -> Result<PathBuf, WorkspaceError> {
        let mirror = self.mirror(repository)?;
        if let Err(error) = mirror.check_out(ref_name, commit, with, directory).await {
            mirror.mend(error).await?;
            mirror.check_out(ref_name, commit, with, directory).await?;
        }
        if !with.submodules.is_empty() {
            let _use = mirror.in_use().await?;
            submodules::check_out(&self.submodules(), mirror, commit, with, directory).await?;
        }
        Ok(directory.to_owned())
    }

    async fn diff(
        &self,
        repository: &RepoName,
        ref_name: &RefName,
        before: Option<&CommitSha>,
        head: &CommitSha,
    ) -> Result<ChangeSet, WorkspaceError> {
        self.compare(&Comparison::new(repository, ref_name, before, head)).await
    }

    async fn compare(&self, asked: &Comparison<'_>) -> Result<ChangeSet, WorkspaceError> {
        let mirror = self.mirror(asked.repository)?;
        match mirror.compare(asked).await {
            Err(error) => {
                mirror.mend(error).await?;
                mirror.compare(asked).await
            }
            done => done,
        }
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
        match mirror.read(ref_name, commit, path, most_bytes).await {
            Err(error) => {
                mirror.mend(error).await?;
                mirror.read(ref_name, commit, path, most_bytes).await
            }
            done => done,
        }
    }

    async fn message(
        &self,
        repository: &RepoName,
        ref_name: &RefName,
        commit: &CommitSha,
    ) -> Result<String, WorkspaceError> {
        let mirror = self.mirror(repository)?;
        let _use = mirror.in_use().await?;
        mirror.ensure(Some(ref_name), commit).await?;
        mirror.message(commit).await
    }

    async fn discard(&self, _repository: &RepoName, directory: &Path) -> Result<(), WorkspaceError> {
        // Off the async threads: it may be large.
        let directory = directory.to_owned();
        let removed = tokio::task::spawn_blocking(move || remove(&directory)).await.map_err(io::Error::other);
        removed
            .flatten()
            .map_err(|error| WorkspaceError::passing("cannot remove the working tree").because(error))
    }
}

impl Mirror {
    async fn check_out(
        &self,
        ref_name: &RefName,
        commit: &CommitSha,
        with: &Checkout,
        directory: &Path,
    ) -> Result<(), WorkspaceError> {
        let _use = self.in_use().await?;
        self.ensure(Some(ref_name), commit).await?;
        self.fetch_files(commit).await?;
        self.add_tree(directory, commit).await?;
        if with.lfs {
            self.pull_lfs(directory).await?;
        }
        Ok(())
    }

    async fn read(
        &self,
        ref_name: &RefName,
        commit: &CommitSha,
        path: &str,
        most_bytes: usize,
    ) -> Result<Vec<u8>, WorkspaceError> {
        let _use = self.in_use().await?;
        self.ensure(Some(ref_name), commit).await?;
        self.read_file(commit, path, most_bytes).await
    }
}
