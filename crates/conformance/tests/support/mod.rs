//! A runner for a seat of the simulated world.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use swifthook_conformance::world::{Employee, Seat};
use swifthook_core::{Admission, Job, Recipe, TrainingLauncher};
use swifthook_runner::{Catalog, Clock, Options, Runner, Terms};

/// Puts a runner on a seat.
pub(crate) fn employ(seat: Seat) -> Employee {
    let Seat { name, slots, queue, workspace, launcher, recipes, admission, clock, shutdown } = seat;
    let options = Options {
        slots,
        idle: Duration::from_secs(5),
        poll_most: Duration::from_secs(10),
        clock: Clock::new(move || clock()),
        ..Options::new(&name, &name, "/nowhere")
    };
    let runner = Runner::new(queue, workspace, Arc::new(Book { recipes, launcher, admission }), options);
    let handle = runner.handle();
    Employee { work: Box::pin(runner.run(shutdown)), runs: Box::new(move || handle.status().runs) }
}

/// A catalog that never changes.
struct Book {
    recipes: Arc<[Arc<Recipe>]>,
    launcher: Arc<dyn TrainingLauncher>,
    admission: Arc<dyn Admission>,
}

impl Catalog for Book {
    fn terms(&self, job: &Job) -> Option<Terms> {
        Some(Terms {
            recipe: self.recipes.iter().find(|recipe| recipe.name == job.spec.recipe)?.clone(),
            admission: self.admission.clone(),
            env: BTreeMap::new(),
            timeout: Some(Duration::from_secs(900)),
            grace: Duration::from_secs(10),
            checkout: true,
        })
    }

    fn launcher(&self, _name: &str) -> Option<Arc<dyn TrainingLauncher>> {
        Some(self.launcher.clone())
    }
}
