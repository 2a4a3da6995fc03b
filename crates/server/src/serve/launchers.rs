//! The launchers of the configuration, by name. Nothing else in a server names a kind of them.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use swifthook_core::TrainingLauncher;
use swifthook_launch::{LocalLauncher, RunGroups};
use swifthook_msswift::SwiftTraces;

use super::points;
use crate::config::{self, Config, LauncherKind};

pub(super) struct Launchers {
    site: Site,
    by_name: RwLock<HashMap<Arc<str>, Known>>,
}

/// A launcher, and what it was made from.
#[derive(Clone)]
struct Known {
    kind: LauncherKind,
    launcher: Arc<dyn TrainingLauncher>,
    /// The same once more, where what is left in its cluster is cleared away.
    #[cfg(feature = "kubernetes")]
    cluster: Option<swifthook_launch::KubernetesLauncher>,
}

/// Where launchers are.
struct Site {
    /// Where runs have their directories.
    runs: PathBuf,
    /// This machine, by the name that launchers write into their handles.
    host: String,
    /// Where runs of this machine have control groups.
    groups: Option<RunGroups>,
}

impl Launchers {
    pub(super) fn open(
        config: &Config,
        state_dir: &Path,
        host: &str,
        groups: Option<RunGroups>,
    ) -> io::Result<Self> {
        let launchers = Self {
            site: Site { runs: state_dir.join("runs"), host: host.to_owned(), groups },
            by_name: RwLock::default(),
        };
        launchers.replace(config)?;
        Ok(launchers)
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<dyn TrainingLauncher>> {
        let by_name = self.by_name.read().expect("nothing panics under this lock");
        by_name.get(name).map(|known| known.launcher.clone())
    }

    /// Those of them that are clusters of Kubernetes.
    #[cfg(feature = "kubernetes")]
    pub(super) fn clusters(&self) -> Vec<swifthook_launch::KubernetesLauncher> {
        let by_name = self.by_name.read().expect("nothing panics under this lock");
        by_name.values().filter_map(|known| known.cluster.clone()).collect()
    }

    /// From now on those of another configuration. What is as it was stays, with all that it knows of its runs.
    pub(super) fn replace(&self, config: &Config) -> io::Result<()> {
        let old = self.by_name.read().expect("nothing panics under this lock").clone();
        let mut new = HashMap::new();
        for config::Launcher { name, kind } in &config.launchers {
            let known = match old.get(name).filter(|known| known.kind == *kind) {
                Some(known) => known.clone(),
                None => self.site.open(name, kind)?,
            };
            new.insert(name.clone(), known);
        }
        *self.by_name.write().expect("nothing panics under this lock") = new;
        Ok(())
    }
}

impl Site {
    #[cfg_attr(
        not(any(feature = "kubernetes", feature = "slurm")),
        expect(unused_variables, reason = "the one of this machine has its own name")
    )]
    fn open(&self, name: &str, kind: &LauncherKind) -> io::Result<Known> {
        let traces = Arc::new(SwiftTraces);
        #[cfg(feature = "kubernetes")]
        let mut of_cluster = None;
        let launcher: Arc<dyn TrainingLauncher> = match kind {
            LauncherKind::Local => {
                let local = LocalLauncher::new(&self.runs)?.host(&self.host).reading(traces);
                Arc::new(match &self.groups {
                    Some(groups) => local.in_groups(groups.clone()),
                    None => local,
                })
            }
            #[cfg(feature = "slurm")]
            LauncherKind::Slurm(options) => {
                let slurm = swifthook_launch::SlurmLauncher::new(name, &self.runs, (**options).clone())?;
                Arc::new(slurm.host(&self.host).reading(traces))
            }
            #[cfg(feature = "kubernetes")]
            LauncherKind::Kubernetes(settings) => {
                let cluster = swifthook_launch::KubernetesLauncher::connect(&self.runs, (**settings).clone());
                let cluster = cluster.map_err(io::Error::other)?.named(name).reading(traces);
                Arc::new(of_cluster.insert(cluster).clone())
            }
        };
        Ok(Known {
            kind: kind.clone(),
            launcher: points::around(launcher),
            #[cfg(feature = "kubernetes")]
            cluster: of_cluster,
        })
    }
}
