//! What the configuration of the moment says of a job.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use swifthook_core::{Admission, Admit, Always, Fleet, Job, Recipe, Timestamp, TrainingLauncher, Wait};
use swifthook_runner::{Catalog, Terms};

use super::environment;
use crate::config;

/// The recipes of one configuration.
pub(super) type Recipes = HashMap<Arc<str>, (Arc<Recipe>, config::Recipe)>;

/// The catalog of a server. A reload swaps the recipes; the launchers stay.
pub(super) struct ServerCatalog {
    recipes: RwLock<Arc<Recipes>>,
    launchers: HashMap<Arc<str>, Arc<dyn TrainingLauncher>>,
}

impl ServerCatalog {
    pub(super) fn new(recipes: Recipes, launchers: HashMap<Arc<str>, Arc<dyn TrainingLauncher>>) -> Self {
        Self { recipes: RwLock::new(Arc::new(recipes)), launchers }
    }

    pub(super) fn replace(&self, recipes: Recipes) {
        *self.recipes.write().expect("nothing panics under this lock") = Arc::new(recipes);
    }
}

impl Catalog for ServerCatalog {
    fn terms(&self, job: &Job) -> Option<Terms> {
        let recipes = self.recipes.read().expect("nothing panics under this lock").clone();
        let (recipe, from) = recipes.get(&job.change.recipe)?;
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
            checkout: true,
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
