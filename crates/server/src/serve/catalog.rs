//! What the configuration of the moment says of a job.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use swifthook_core::{
    Admission, Admit, Always, Fleet, Hook, Job, Recipe, Source, Timestamp, TrainingLauncher, Wait,
};
use swifthook_msswift::Trust;
use swifthook_runner::{Catalog, Compose, Terms};

use super::environment;
use super::swift::{SwiftComposer, Versions};
use crate::config;

/// The recipes of one configuration, and how old a push may be by its hooks.
#[derive(Default)]
pub(super) struct Recipes {
    pub(super) by_name: HashMap<Arc<str>, (Arc<Recipe>, config::Recipe)>,
    pub(super) max_ages: HashMap<Arc<str>, Option<Duration>>,
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

/// The catalog of a server. A reload swaps the recipes; the launchers stay.
pub(super) struct ServerCatalog {
    recipes: RwLock<Arc<Recipes>>,
    launchers: HashMap<Arc<str>, Arc<dyn TrainingLauncher>>,
    versions: Arc<Versions>,
}

impl ServerCatalog {
    pub(super) fn new(recipes: Recipes, launchers: HashMap<Arc<str>, Arc<dyn TrainingLauncher>>) -> Self {
        Self { recipes: RwLock::new(Arc::new(recipes)), launchers, versions: Arc::default() }
    }

    fn compose(&self, run: &config::Run) -> Option<Arc<dyn Compose>> {
        let swift = run.swift.clone()?;
        let set_by_recipe = run.env.keys().cloned().collect();
        Some(Arc::new(SwiftComposer { swift, set_by_recipe, versions: self.versions.clone() }))
    }

    pub(super) fn replace(&self, recipes: Recipes) {
        *self.recipes.write().expect("nothing panics under this lock") = Arc::new(recipes);
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
            env,
            timeout: from.run.timeout,
            grace: GRACE,
            max_age: recipes.max_age(&job.source),
            checkout: from.run.swift.as_ref().is_none_or(|swift| swift.trust == Trust::Code),
            compose: self.compose(&from.run),
        })
    }

    fn launcher(&self, name: &str) -> Option<Arc<dyn TrainingLauncher>> {
        self.launchers.get(name).cloned()
    }
}

/// Waits until a value outside the configuration is there again.
struct NotYet(String);

impl Admission for NotYet {
    fn admit(&self, _job: &Job, now: Timestamp, _fleet: &Fleet) -> Admit {
        Admit::NotBefore(now.after(LOOK_AGAIN), Wait::Time, self.0.clone())
    }
}

/// Saving a checkpoint of a large model takes about a minute.
const GRACE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_secs(30);
