//! What a server stands on: the store, the launchers, the working trees.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::SystemTime;

use async_trait::async_trait;
use swifthook_core::{
    ChangeSet, Checkout, CommitSha, Comparison, RefName, RepoName, Workspace, WorkspaceError,
};
use swifthook_launch::{GitWorkspace, GpuProbe, Tidied};

use super::cgroup;
use super::error::StartError;
use super::host;
use super::launchers::Launchers;
use super::store::{self, Store};
use crate::config::Config;

pub(super) struct Backends {
    pub(super) store: Arc<dyn Store>,
    pub(super) launchers: Arc<Launchers>,
    pub(super) workspace: Arc<Trees>,
    /// This machine, by the name that launchers write into their handles.
    pub(super) host: String,
    /// Its GPUs; looked at where jobs are run.
    pub(super) gpus: Option<Arc<GpuProbe>>,
}

impl Backends {
    pub(super) async fn open(config: &Config) -> Result<Self, StartError> {
        let directory = &config.store.state_dir;
        let state_dir = |source| StartError::StateDir { directory: directory.clone(), source };
        // Logs of runs and the admin token are in it.
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(state_dir)?;
        let host = host::of(directory).map_err(state_dir)?;
        let machine = match &config.worker.machine {
            Some(machine) => machine.to_string(),
            None => host::machine().map_err(state_dir)?,
        };
        let gpus = (config.worker.slots > 0)
            .then(|| Arc::new(GpuProbe::start(&machine, config.worker.gpus.clone())));
        let store = store::open(&config.store.url).await?;
        let groups = if config.worker.slots > 0 { cgroup::open(&config.worker.cgroup)? } else { None };
        let launchers = Arc::new(Launchers::open(config, directory, &host, groups).map_err(state_dir)?);
        #[cfg(feature = "kubernetes")]
        tokio::spawn(super::orphans::sweep(Arc::downgrade(&launchers), Arc::downgrade(&store)));
        Ok(Self { gpus, store, launchers, workspace: Arc::new(Trees::of(config).map_err(state_dir)?), host })
    }
}

/// The working trees of the repositories of the moment.
pub(super) struct Trees(RwLock<Arc<GitWorkspace>>);

impl Trees {
    pub(super) fn of(config: &Config) -> io::Result<Self> {
        Ok(Self(RwLock::new(Arc::new(workspace(config)?))))
    }

    /// From now on those of another configuration. What is under way goes on.
    pub(super) fn replace(&self, config: &Config) -> io::Result<()> {
        *self.0.write().expect("nothing panics under this lock") = Arc::new(workspace(config)?);
        Ok(())
    }

    /// See [`GitWorkspace::tidy`].
    pub(super) async fn tidy(&self, now: SystemTime) -> Tidied {
        self.now().tidy(now).await
    }

    /// See [`GitWorkspace::tips`].
    pub(super) async fn tips(
        &self,
        repository: &RepoName,
    ) -> Result<BTreeMap<RefName, CommitSha>, WorkspaceError> {
        self.now().tips(repository).await
    }

    fn now(&self) -> Arc<GitWorkspace> {
        self.0.read().expect("nothing panics under this lock").clone()
    }
}

#[async_trait]
impl Workspace for Trees {
    async fn checkout(
        &self,
        repository: &RepoName,
        ref_name: &RefName,
        commit: &CommitSha,
        with: &Checkout,
        directory: &Path,
    ) -> Result<PathBuf, WorkspaceError> {
        self.now().checkout(repository, ref_name, commit, with, directory).await
    }

    async fn diff(
        &self,
        repository: &RepoName,
        ref_name: &RefName,
        before: Option<&CommitSha>,
        head: &CommitSha,
    ) -> Result<ChangeSet, WorkspaceError> {
        self.now().diff(repository, ref_name, before, head).await
    }

    async fn compare(&self, asked: &Comparison<'_>) -> Result<ChangeSet, WorkspaceError> {
        self.now().compare(asked).await
    }

    async fn read_file(
        &self,
        repository: &RepoName,
        ref_name: &RefName,
        commit: &CommitSha,
        path: &str,
        most_bytes: usize,
    ) -> Result<Vec<u8>, WorkspaceError> {
        self.now().read_file(repository, ref_name, commit, path, most_bytes).await
    }

    async fn message(
        &self,
        repository: &RepoName,
        ref_name: &RefName,
        commit: &CommitSha,
    ) -> Result<String, WorkspaceError> {
        self.now().message(repository, ref_name, commit).await
    }

    async fn discard(&self, repository: &RepoName, directory: &Path) -> Result<(), WorkspaceError> {
        self.now().discard(repository, directory).await
    }
}

fn workspace(config: &Config) -> io::Result<GitWorkspace> {
    let remotes = config.repositories.iter().map(|repository| repository.remote.clone());
    GitWorkspace::new(&config.store.state_dir, remotes)
}
