//! Thousands of worlds in which everything goes wrong, and what must hold in each.
//!
//! `SEEDS=10000 cargo test -p swifthook-conformance --test world` lives through more of them, `SEEDS=10000..20000`
//! through others, `SEED=42` through one.
//! `cargo test … out_of_reach` lives through those alone in which nobody reaches the launcher for a day.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use swifthook_conformance::world::{Employee, Life, Seat, Summary, live, live_out_of_reach};
use swifthook_core::{Admission, Checkout, GpuRequest, Job, Recipe, TrainingLauncher};
use swifthook_queue::MemoryQueue;
use swifthook_runner::{Catalog, Clock, Options, Runner, Terms};

#[test]
fn whatever_goes_wrong_every_change_trains_once_and_every_job_ends() {
    let whole = all_go_well(seeds(300), live_through);
    if seeds(300).count() >= 300 {
        were_seen(&EVERYTHING, &whole);
    }
}

#[test]
fn a_launcher_that_is_out_of_reach_for_a_day_costs_no_run_and_begins_none_twice() {
    let whole = all_go_well(seeds(8), live_through_a_day);
    if seeds(8).count() >= 8 {
        were_seen(
            &[
                "push",
                "repetition",
                "crash",
                "shutdown",
                "sleep",
                "store fails",
                "submission not answered",
                "run",
                "succeeded",
                "superseded",
            ],
            &whole,
        );
    }
}

/// What came about in all of them.
#[expect(clippy::print_stdout, reason = "how much came about is worth knowing")]
fn all_go_well(seeds: Range<u64>, live: impl Fn(u64) -> Result<Life, String> + Sync) -> Summary {
    let (mut whole, mut failures) = (Summary::new(), Vec::new());
    for life in lives(seeds, live) {
        match life {
            Ok(summary) => {
                summary.into_iter().for_each(|(kind, times)| *whole.entry(kind).or_default() += times);
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
    whole
}

#[test]
fn one_seed_tells_one_story() {
    for seed in 1_000..1_005 {
        assert_eq!(live_through(seed), live_through(seed), "seed {seed}");
    }
    for seed in 1_000..1_002 {
        assert_eq!(live_through_a_day(seed), live_through_a_day(seed), "seed {seed}, out of reach");
    }
}

/// Worlds in which nothing happens prove nothing.
fn were_seen(all: &[&str], whole: &BTreeMap<&'static str, usize>) {
    for kind in all {
        assert!(whole.contains_key(kind), "no world had a `{kind}`: {whole:?}");
    }
}

/// Each world has a thread of its own, and they are many.
fn lives(
    seeds: Range<u64>,
    live: impl Fn(u64) -> Result<Life, String> + Sync,
) -> Vec<Result<Summary, String>> {
    let next = Mutex::new(seeds);
    let live_on = || {
        let take = || next.lock().expect("nothing panics under this lock").next();
        // Their stories would fill the memory.
        std::iter::from_fn(take).map(|seed| Ok(live(seed)?.summary)).collect::<Vec<_>>()
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(live_on)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a world does not panic")).collect()
    })
}

fn live_through(seed: u64) -> Result<Life, String> {
    runtime().block_on(live(seed, queue, employ))
}

fn live_through_a_day(seed: u64) -> Result<Life, String> {
    runtime().block_on(live_out_of_reach(seed, queue, employ))
}

fn queue(clock: swifthook_conformance::world::Clock) -> MemoryQueue {
    MemoryQueue::with_clock(clock)
}

fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime")
}

fn seeds(few: u64) -> Range<u64> {
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let variable = |name: &str| std::env::var(name).ok();
    match (variable("SEED").as_deref(), variable("SEEDS").as_deref()) {
        (Some(seed), _) => number(seed)..number(seed) + 1,
        (None, Some(seeds)) => match seeds.split_once("..") {
            Some((first, end)) => number(first)..number(end),
            None => 0..number(seeds),
        },
        (None, None) => 0..few,
    }
}

/// Puts a runner on a seat of the simulated world.
fn employ(seat: Seat) -> Employee {
    let Seat {
        name,
        slots,
        queue,
        workspace,
        launcher,
        recipes,
        timeout,
        lease,
        gpu_requests,
        gpus,
        admission,
        clock,
        shutdown,
    } = seat;
    let options = Options {
        slots,
        lease,
        idle: lease / 6,
        sweep: lease * 2,
        poll_first: lease / 30,
        poll_most: lease / 3,
        gpus,
        clock: Clock::new(move || clock()),
        ..Options::new(&name, &name, "/nowhere")
    };
    let runner = Runner::new(
        queue,
        workspace,
        Arc::new(Shelf { recipes, gpu_requests, launcher, admission, timeout }),
        options,
    );
    let handle = runner.handle();
    Employee { work: Box::pin(runner.run(shutdown)), runs: Box::new(move || handle.status().runs) }
}

/// A catalog that never changes.
struct Shelf {
    recipes: Arc<[Arc<Recipe>]>,
    gpu_requests: fn(&str) -> Option<GpuRequest>,
    launcher: Arc<dyn TrainingLauncher>,
    admission: Arc<dyn Admission>,
    timeout: Option<Duration>,
}

impl Catalog for Shelf {
    fn terms(&self, job: &Job) -> Option<Terms> {
        Some(Terms {
            recipe: self.recipes.iter().find(|recipe| recipe.name == job.spec.recipe)?.clone(),
            admission: self.admission.clone(),
            gpus: (self.gpu_requests)(&job.spec.recipe),
            env: BTreeMap::new(),
            timeout: self.timeout,
            grace: Duration::from_secs(10),
            watch: None,
            shape: swifthook_core::RunShape::default(),
            limits: swifthook_core::RunLimits::default(),
            max_age: None,
            checkout: Some(Checkout::default()),
            compose: None,
        })
    }

    fn launcher(&self, _name: &str) -> Option<Arc<dyn TrainingLauncher>> {
        Some(self.launcher.clone())
    }
}

const EVERYTHING: [&str; 24] = [
    "push",
    "repetition",
    "redelivery",
    "cancel",
    "retry",
    "approval",
    "crash",
    "shutdown",
    "sleep",
    "unreachable",
    "reboot",
    "by hand",
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
