use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use swifthook_core::Current;
use tracing::warn;

use super::backends::Trees;
use super::catalog::ServerCatalog;
use super::ranges::{Ranges, RangesError};
use super::store::Store;
use super::{environment, snapshot};
use crate::api::{Changes, Hidden};
use crate::config::{Config, Mistakes, Outside};

/// A way to a running server from outside. Cheap to clone.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

struct Shared {
    config: Mutex<Arc<Config>>,
    /// `None` where no pushes are taken.
    receiver: Option<(Arc<Current>, Ranges)>,
    catalog: Arc<ServerCatalog>,
    trees: Arc<Trees>,
    changes: Changes,
    store: Arc<dyn Store>,
}

/// A new configuration was refused; the old one goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// There are mistakes in it.
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
    /// It cannot be used.
    #[error(transparent)]
    Unusable(#[from] snapshot::Error),
    /// Where GitHub's deliveries come from is not known.
    #[error(transparent)]
    Ranges(#[from] RangesError),
    /// A launcher cannot be had.
    #[error("a launcher cannot be had")]
    Launchers(#[source] io::Error),
    /// There is no place for working trees.
    #[error("working trees cannot be made")]
    Trees(#[from] io::Error),
}

/// What of a file changes when it is written or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileState(Option<(SystemTime, u64, u64)>);

impl FileState {
    fn of(file: &Path) -> Self {
        // A link is followed: that is how mounted secrets are replaced.
        let state = fs::metadata(file).and_then(|meta| Ok((meta.modified()?, meta.len(), meta.ino())));
        Self(state.ok())
    }
}

/// What takes effect at a start only.
fn needs_restart(old: &Config, new: &Config) -> bool {
    let of = |config: &Config| {
        (
            (config.server.listen, config.server.admin_listen, config.server.admin_token.clone()),
            config.server.github_meta.clone(),
            (config.store.url.clone(), config.store.state_dir.clone(), config.intake.clone()),
            (
                (config.worker.slots, config.worker.labels.clone(), config.worker.listen),
                (config.worker.gpus.clone(), config.worker.machine.clone(), config.worker.cgroup.clone()),
            ),
            config.limits.connections,
        )
    };
    of(old) != of(new)
}

fn remotes(config: &Config) -> String {
    // Tokens are not in it, and those in files are read for each fetch.
    format!("{:?}", config.repositories)
}

impl Handle {
    pub(super) fn new(
        config: Config,
        receiver: Option<(Arc<Current>, Ranges)>,
        catalog: Arc<ServerCatalog>,
        trees: Arc<Trees>,
        changes: Changes,
        store: Arc<dyn Store>,
    ) -> Self {
        store.retain(config.retention);
        let config = Mutex::new(Arc::new(config));
        Self(Arc::new(Shared { config, receiver, catalog, trees, changes, store }))
    }

    /// What happens to jobs, from now on.
    #[must_use]
    pub fn changes(&self) -> Changes {
        self.0.changes.clone()
    }

    /// Tells the values that no log shows.
    pub(super) fn hidden(&self) -> Hidden {
        let handle = self.clone();
        Arc::new(move || environment::hidden(&handle.config().recipes, &|name| std::env::var(name).ok()))
    }

    /// The working trees.
    pub(super) fn trees(&self) -> Arc<Trees> {
        self.0.trees.clone()
    }

    /// The configuration of the moment.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        self.0.config.lock().expect("nothing panics under this lock").clone()
    }

    /// Reads the configuration again, secrets too. Requests under way keep the old one to their end.
    ///
    /// Of `[server]`, `[store]`, `[intake]`, `[worker]` and `connections` in `[limits]`, changes take effect at the next
    /// start only.
    ///
    /// # Errors
    ///
    /// When something is wrong with it: then the old one goes on.
    pub fn reload(&self, variable: &dyn Fn(&str) -> Option<String>) -> Result<(), ReloadError> {
        self.take(self.config().load_again(variable)?)
    }

    /// Reads the secrets again, with the configuration as it is.
    ///
    /// # Errors
    ///
    /// When something is wrong with them: then the old ones go on.
    pub fn reread_secrets(&self, variable: &dyn Fn(&str) -> Option<String>) -> Result<(), ReloadError> {
        self.take(self.config().reread(variable)?)
    }

    /// The files in which secrets of hooks stand, with what changes when they do.
    #[must_use]
    pub fn secret_files(&self) -> HashMap<PathBuf, FileState> {
        let config = self.config();
        let places = config.hooks.iter().flat_map(|hook| &hook.secrets);
        let files = places.filter_map(|place| match place {
            Outside::File(file) => Some((file.clone(), FileState::of(file))),
            Outside::Variable(_) => None,
        });
        files.collect()
    }

    /// Asks GitHub again where its deliveries come from, if a hook wants to know. Blocks.
    ///
    /// # Errors
    ///
    /// When GitHub does not say: then the old addresses go on.
    pub fn refresh_ranges(&self) -> Result<(), ReloadError> {
        let Some((_, ranges)) = &self.0.receiver else { return Ok(()) };
        let config = self.config();
        if Ranges::are_needed(&config) && ranges.refresh()? {
            self.take(Config::clone(&config))?;
        }
        Ok(())
    }

    fn take(&self, config: Config) -> Result<(), ReloadError> {
        let (receiver, recipes) = match &self.0.receiver {
            Some((current, ranges)) => {
                let (receiver, recipes) = snapshot::of(&config, &ranges.of(&config)?)?;
                (Some((current, receiver)), recipes)
            }
            None => (None, snapshot::recipes(&config)?),
        };
        if needs_restart(&self.config(), &config) {
            warn!(
                "changes of [server], [store], [intake], [worker] and of `connections` in [limits] take effect at the next start"
            );
        }
        if remotes(&self.config()) != remotes(&config) {
            self.0.trees.replace(&config)?;
        }
        self.0.catalog.replace(recipes, &config).map_err(ReloadError::Launchers)?;
        if let Some((current, receiver)) = receiver {
            current.replace(receiver);
        }
        if self.config().retention != config.retention {
            self.0.store.retain(config.retention);
        }
        *self.0.config.lock().expect("nothing panics under this lock") = Arc::new(config);
        Ok(())
    }
}
