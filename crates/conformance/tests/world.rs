//! Thousands of worlds in which everything goes wrong, and what must hold in each.
//!
//! `SEEDS=10000 cargo test -p swifthook-conformance --test world` lives through more of them, `SEED=42` through one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use swifthook_conformance::world::{Employee, Life, Seat, Summary, live};
use swifthook_core::{Admission, Job, Recipe, TrainingLauncher};
use swifthook_queue::MemoryQueue;
use swifthook_runner::{Catalog, Clock, Options, Runner, Terms};

#[test]
fn whatever_goes_wrong_every_change_trains_once_and_every_job_ends() {
    let (mut whole, mut failures) = (Summary::new(), Vec::new());
    for life in lives() {
        match life {
            Ok(life) => {
                life.summary.into_iter().for_each(|(kind, times)| *whole.entry(kind).or_default() += times);
            }
            Err(story) => failures.push(story),
        }
    }
    println!("{whole:#?}");
    assert!(
        failures.is_empty(),
        "{} worlds went wrong; the first (again with SEED=…):\n{}",
        failures.len(),
        failures[0]
    );
    if seeds().count() >= 300 {
        everything_was_seen(&whole);
    }
}

#[test]
fn one_seed_tells_one_story() {
    for seed in 1_000..1_005 {
        assert_eq!(live_through(seed), live_through(seed), "seed {seed}");
    }
}

/// Worlds in which nothing happens prove nothing.
fn everything_was_seen(whole: &BTreeMap<&'static str, usize>) {
    let all = [
        "push",
        "redelivery",
        "cancel",
        "retry",
        "approval",
        "crash",
        "shutdown",
        "sleep",
        "unreachable",
        "reboot",
        "checkout fails",
        "store fails",
        "submission not done",
        "submission not answered",
        "submission refused",
        "submission panics",
        "run",
        "succeeded",
        "failed",
        "cancelled",
        "superseded",
        "quarantined",
    ];
    for kind in all {
        assert!(whole.contains_key(kind), "no world had a `{kind}`: {whole:?}");
    }
}

/// Each world has a thread of its own, and they are many.
fn lives() -> Vec<Result<Life, String>> {
    let next = Mutex::new(seeds());
    let live_on = || {
        let take = || next.lock().expect("nothing panics under this lock").next();
        std::iter::from_fn(take).map(live_through).collect::<Vec<_>>()
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(live_on)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a world does not panic")).collect()
    })
}

fn live_through(seed: u64) -> Result<Life, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(live(seed, MemoryQueue::with_clock, employ))
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(300),
    }
}

/// Puts a runner on a seat of the simulated world.
fn employ(seat: Seat) -> Employee {
    let Seat { name, slots, queue, workspace, launcher, recipes, admission, clock, shutdown } = seat;
    let options = Options {
        slots,
        idle: Duration::from_secs(5),
        poll_first: Duration::from_secs(1),
        poll_most: Duration::from_secs(10),
        clock: Clock::new(move || clock()),
        ..Options::new(&name, &name, "/nowhere")
    };
    let runner = Runner::new(queue, workspace, Arc::new(Shelf { recipes, launcher, admission }), options);
    let handle = runner.handle();
    Employee { work: Box::pin(runner.run(shutdown)), runs: Box::new(move || handle.status().runs) }
}

/// A catalog that never changes.
struct Shelf {
    recipes: Arc<[Arc<Recipe>]>,
    launcher: Arc<dyn TrainingLauncher>,
    admission: Arc<dyn Admission>,
}

impl Catalog for Shelf {
    fn terms(&self, job: &Job) -> Option<Terms> {
        Some(Terms {
            recipe: self.recipes.iter().find(|recipe| recipe.name == job.spec.recipe)?.clone(),
            admission: self.admission.clone(),
            env: BTreeMap::new(),
            timeout: Some(Duration::from_secs(300)),
            grace: Duration::from_secs(10),
            max_age: None,
            checkout: true,
            compose: None,
        })
    }

    fn launcher(&self, _name: &str) -> Option<Arc<dyn TrainingLauncher>> {
        Some(self.launcher.clone())
    }
}
