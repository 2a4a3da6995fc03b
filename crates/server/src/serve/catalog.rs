//! What the configuration of the moment says of a job.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use swifthook_core::{
    Admission, Admit, Always, Fleet, Hook, Job, Recipe, Rerun, RunShape, Source, Timestamp, TrainingLauncher,
    Wait,
};
use swifthook_launch::{GpuProbe, Looks};
use swifthook_runner::{Catalog, Compose, Terms};

use super::backends::Backends;
use super::enclose::Enclosing;
use super::environment;
use super::host;
use super::launchers::Launchers;
use super::prepare::Preparing;
use super::swift::{MOST_LOOKS, PATIENCE, SwiftComposer, Versions};
use super::uv::Uv;
use crate::api::CannotRerun;
use crate::config;

/// The recipes of one configuration, and how old a push may be by its hooks.
#[derive(Default)]
pub(super) struct Recipes {
    pub(super) by_name: HashMap<Arc<str>, (Arc<Recipe>, config::Recipe)>,
    pub(super) max_ages: HashMap<Arc<str>, Option<Duration>>,
    /// What has to be free on the disk before an attempt begins, in bytes.
    pub(super) free_disk: u64,
    /// Files of the server that no isolated run sees.
    pub(super) private: Arc<[PathBuf]>,
}

impl Recipes {
    /// By a hook that is gone, a push may be as old as by default.
    fn max_age(&self, source: &Source) -> Option<Duration> {
        match source {
            Source::Hook { hook, .. } => self.max_ages.get(hook).copied().unwrap_or(Some(Hook::MAX_AGE)),
            _ => None,
        }
    }
}

/// The catalog of a server. A reload swaps recipes and launchers.
pub(super) struct ServerCatalog {
    recipes: RwLock<Arc<Recipes>>,
    launchers: Arc<Launchers>,
    versions: Arc<Versions>,
    looks: Looks,
    state_dir: PathBuf,
    /// The mark that tells it from others.
    mark: Arc<str>,
    gpus: Option<Arc<GpuProbe>>,
    uv: Arc<Uv>,
}

impl ServerCatalog {
    pub(super) fn new(recipes: Recipes, state_dir: &Path, backends: &Backends) -> Self {
        let recipes = RwLock::new(Arc::new(recipes));
        let state_dir = std::path::absolute(state_dir).unwrap_or_else(|_| state_dir.to_owned());
        let uv = Arc::new(Uv::new(&state_dir, backends.workspace.clone()));
        // Of a directory that was just made it was just read.
        let mark = host::mark(&state_dir).unwrap_or_default().into();
        let (launchers, gpus) = (backends.launchers.clone(), backends.gpus.clone());
        let looks = Looks::new(MOST_LOOKS, PATIENCE);
        Self { recipes, launchers, versions: Arc::default(), looks, state_dir, mark, gpus, uv }
    }

    fn compose(&self, run: &config::Run, recipes: &Recipes) -> Arc<dyn Compose> {
        let swift = run.swift.clone().map(|swift| SwiftComposer {
            swift,
            nproc: run.nproc.get(),
            set_by_recipe: run.env.keys().cloned().collect(),
            visible: environment::visible(run),
            versions: self.versions.clone(),
            looks: self.looks.clone(),
        });
        let enclosing = run.isolation.clone().map(|isolation| Enclosing {
            isolation,
            has_home: run.env.contains_key("HOME"),
            state_dir: self.state_dir.clone(),
            mark: self.mark.clone(),
            private: recipes.private.clone(),
            named: run.swift.as_ref().map(named).unwrap_or_default(),
            has_tree: run.has_tree(),
            gpus: self.gpus.clone(),
            memory: run.limits.memory,
        });
        // What a run may write has to be there when it begins.
        let free_disk = recipes.free_disk.saturating_add(run.limits.disk.unwrap_or_default());
        let uv = run.uv.clone().map(|lock| (self.uv.clone(), lock));
        let (state_dir, limits) = (self.state_dir.clone(), run.limits);
        Arc::new(Preparing { swift, enclosing, uv, limits, state_dir, free_disk })
    }

    /// A finished job's change as the recipe of the moment renders it.
    pub(super) fn render(&self, job: &Job) -> Result<Rerun, CannotRerun> {
        let recipes = self.recipes.read().expect("nothing panics under this lock").clone();
        let recipe = recipes.by_name.get(&job.change.recipe).map(|(recipe, _)| recipe);
        let recipe = recipe.filter(|recipe| recipe.repository == job.change.repository);
        recipe.ok_or(CannotRerun::Gone)?.rerun(job).ok_or(CannotRerun::ForAllFiles)
    }

    /// From now on the recipes and launchers of `config`.
    pub(super) fn replace(&self, recipes: Recipes, config: &config::Config) -> io::Result<()> {
        self.launchers.replace(config)?;
        *self.recipes.write().expect("nothing panics under this lock") = Arc::new(recipes);
        Ok(())
    }
}

impl Catalog for ServerCatalog {
    fn terms(&self, job: &Job) -> Option<Terms> {
        let recipes = self.recipes.read().expect("nothing panics under this lock").clone();
        let (recipe, from) = recipes.by_name.get(&job.change.recipe)?;
        // A recipe of the same name for another repository is another recipe.
        if recipe.repository != job.change.repository {
            return None;
        }
        let (env, admission): (_, Arc<dyn Admission>) =
            match environment::of(&from.run, &|name| std::env::var(name).ok()) {
                Ok(env) => match &from.queueing.schedule {
                    Some(schedule) => (env, Arc::new(schedule.clone())),
                    None => (env, Arc::new(Always)),
                },
                Err(missing) => (BTreeMap::new(), Arc::new(NotYet(missing.to_string()))),
            };
        Some(Terms {
            recipe: recipe.clone(),
            admission,
            gpus: from.gpus.clone(),
            env,
            timeout: from.run.timeout,
            grace: from.run.grace,
            watch: from.watch,
            limits: from.run.limits,
            shape: shape(from),
            max_age: recipes.max_age(&job.source),
            checkout: from.run.has_tree().then(|| from.run.checkout.clone()),
            compose: Some(self.compose(&from.run, &recipes)),
        })
    }

    fn launcher(&self, name: &str) -> Option<Arc<dyn TrainingLauncher>> {
        self.launchers.get(name)
    }
}

/// The folders of this machine in which models and data are that a config may name: what stands before the first wild part.
fn named(swift: &config::Swift) -> Arc<[PathBuf]> {
    let patterns = swift.permissions.models.patterns().chain(swift.permissions.data.patterns());
    let patterns = patterns.filter(|pattern| pattern.starts_with('/'));
    let folder = |pattern: &str| match pattern.find(['*', '?', '[', '{']) {
        Some(wild) => PathBuf::from(pattern[..wild].rsplit_once('/').map_or("", |(folder, _)| folder)),
        None => PathBuf::from(pattern),
    };
    patterns.map(folder).collect()
}

/// What a run of a recipe is to have of a cluster.
fn shape(recipe: &config::Recipe) -> RunShape {
    RunShape {
        nodes: recipe.run.nodes,
        processes: recipe.run.nproc,
        gpus: recipe.gpus.as_ref().map_or(0, |request| request.count),
        image: recipe.run.image.clone(),
    }
}

/// Waits until a value outside the configuration is there again.
struct NotYet(String);

impl Admission for NotYet {
    fn admit(&self, _job: &Job, now: Timestamp, _fleet: &Fleet) -> Admit {
        Admit::NotBefore(now.after(LOOK_AGAIN), Wait::Time, self.0.clone())
    }
}

const LOOK_AGAIN: Duration = Duration::from_secs(30);
