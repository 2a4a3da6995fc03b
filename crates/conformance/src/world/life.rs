use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use swifthook_core::{
    Actor, Command, Decided, Delivery, DeliveryId, History, Job, JobFilter, JobQueue, Problem, Receipt,
    Recipe, Source, Stage, TrainingLauncher, Workspace, WorkspaceError,
};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::clock::{Clock, clock};
use super::gate::{Gate, Gated};
use super::launcher::{RunRecord, ScriptedLauncher, SubmitFault};
use super::pushes::decided;
use super::random::Random;
use super::scene;
use super::seat::{Employee, Seat};
use super::workspace::ScriptedWorkspace;

/// What a simulated world needs of a queue.
pub trait Store: JobQueue + History {}

impl<Q: JobQueue + History> Store for Q {}

/// What came about in a world, by kind, and how often: a test looks whether its worlds were worth living in.
pub type Summary = BTreeMap<&'static str, usize>;

/// What came about in a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// By kind.
    pub summary: Summary,
    /// Line by line, with the end of each job at last.
    pub story: String,
}

/// Lives through the world of `seed`: twelve minutes in which pushes come, people cancel and retry, workers crash, sleep
/// and shut down, and launcher, store and git fail; then quiet, until every job has ended.
///
/// `queue` makes the queue, and `employ` puts a runner on a seat.
///
/// # Errors
///
/// What was seen that must never be, with the seed and the story so far: two live runs of one job, or of one group; a
/// live run of a job that does not run; an accepted delivery that is not kept; a job that never ends, or whose end is
/// not that of its run; a worker that thinks it has a run when all have ended.
///
/// # Panics
///
/// When the queue does not answer, which no gate stands before here.
pub async fn live<Q: Store + 'static>(
    seed: u64,
    queue: impl FnOnce(Clock) -> Q,
    employ: impl Fn(Seat) -> Employee,
) -> Result<Life, String> {
    let clock = clock();
    let mut world = World::new(seed, clock.clone(), Arc::new(queue(clock)), employ);
    world.begin();
    let end = Instant::now() + CHAOS;
    while Instant::now() < end && world.wrongs.is_empty() {
        world.step().await;
    }
    world.calm_down();
    let end = Instant::now() + QUIET;
    while Instant::now() < end && world.wrongs.is_empty() && !world.is_over().await {
        world.quiet_step().await;
    }
    world.judge().await
}

struct World<Q, E> {
    seed: u64,
    random: Random,
    clock: Clock,
    queue: Arc<Q>,
    employ: E,
    launcher: Arc<ScriptedLauncher>,
    workspace: Arc<ScriptedWorkspace>,
    recipes: Arc<[Arc<Recipe>]>,
    workers: Vec<Worker>,
    store_fails: watch::Sender<bool>,
    store_mends: Option<Instant>,
    deliveries: Vec<(DeliveryId, Decided)>,
    pushes: u64,
    summary: Summary,
    story: String,
    wrongs: Vec<String>,
}

/// A place that is taken by one worker after the other.
struct Worker {
    name: Arc<str>,
    slots: usize,
    gate: Arc<Gate>,
    task: Option<JoinHandle<()>>,
    runs: Box<dyn Fn() -> usize + Send>,
    shutdown: Option<oneshot::Sender<()>>,
    /// When it wakes up, if it sleeps; when somebody takes its place, if it is gone.
    back_at: Option<Instant>,
}

impl<Q: Store + 'static, E: Fn(Seat) -> Employee> World<Q, E> {
    fn new(seed: u64, clock: Clock, queue: Arc<Q>, employ: E) -> Self {
        let mut random = Random::new(seed);
        let launcher = Arc::new(ScriptedLauncher::new(clock.clone()));
        let mut courses = random.fork();
        launcher.plan(move |_| scene::course(&mut courses));
        let workspace = Arc::new(ScriptedWorkspace::default());
        workspace.take(random.within(Duration::ZERO..Duration::from_secs(4)));
        Self {
            seed,
            random,
            clock,
            queue,
            employ,
            launcher,
            workspace,
            recipes: scene::recipes(),
            workers: Vec::new(),
            store_fails: watch::Sender::new(false),
            store_mends: None,
            deliveries: Vec::new(),
            pushes: 0,
            summary: Summary::new(),
            story: String::new(),
            wrongs: Vec::new(),
        }
    }

    fn begin(&mut self) {
        for number in 0..2 + self.random.below(2) {
            let gate = Arc::new(Gate::new(self.random.fork(), self.store_fails.subscribe()));
            self.workers.push(Worker {
                name: format!("worker-{number}").into(),
                slots: 1 + self.random.below(2),
                gate,
                task: None,
                runs: Box::new(|| 0),
                shutdown: None,
                back_at: None,
            });
            self.employ(number);
        }
    }

    async fn step(&mut self) {
        let pause = self.random.within(Duration::from_millis(1)..Duration::from_secs(8));
        sleep(pause).await;
        self.come_back();
        match self.random.below(21) {
            0..=4 => self.push().await,
            5 => self.redeliver().await,
            6 | 7 => self.cancel().await,
            8 => self.retry().await,
            9 | 10 => self.crash(),
            11 => self.shut_down(),
            12 | 13 => self.fall_asleep(),
            14 => self.lose_sight(),
            15 | 16 => self.break_submission(),
            17 => self.break_checkout(),
            18 => self.break_store(),
            19 => self.reboot(),
            _ => self.approve().await,
        }
        self.look().await;
    }

    async fn quiet_step(&mut self) {
        sleep(Duration::from_secs(20)).await;
        self.approve().await;
        self.look().await;
    }

    fn calm_down(&mut self) {
        self.note("calm", "everybody comes back");
        self.store_fails.send_replace(false);
        for number in 0..self.workers.len() {
            self.workers[number].back_at = self.workers[number].back_at.map(|_| Instant::now());
        }
        self.come_back();
    }

    // What happens.

    async fn push(&mut self) {
        self.pushes += 1;
        let push = scene::push(&mut self.random, self.pushes);
        for _ in 0..2 {
            self.workspace.answer_diff(scene::diff(&mut self.random));
        }
        let chosen: Vec<_> = self.recipes.iter().filter(|_| self.random.once_in(2)).cloned().collect();
        let decided = decided(&push, &chosen, (self.clock)());
        self.accept("push", decided).await;
    }

    async fn redeliver(&mut self) {
        let Some((_, decided)) = self.random.pick(&self.deliveries).cloned() else { return };
        let source = match self.random.below(3) {
            0 => Source::Reconcile,
            1 => Source::Hook { hook: "github".into(), guid: "another".into() },
            _ => decided.push.source.clone(),
        };
        let received_at = (self.clock)();
        let push = swifthook_core::Push { source, ..decided.push };
        self.accept("redelivery", Decided { push, received_at, ..decided }).await;
    }

    async fn accept(&mut self, kind: &'static str, decided: Decided) {
        let receipt = self.queue.accept(&decided).await.expect("no gate is before it");
        let (Receipt::Stored { delivery, .. } | Receipt::Accepted { delivery }) = receipt;
        self.note(kind, &format!("{} {:?}", decided.push.ref_name, decided.push.head));
        self.deliveries.push((delivery, decided));
    }

    async fn cancel(&mut self) {
        self.command("cancel", Command::Cancel, |stage| !stage.is_final()).await;
    }

    async fn retry(&mut self) {
        self.command("retry", Command::Retry, Stage::is_final).await;
    }

    async fn command(&mut self, kind: &'static str, what: Command, fits: impl Fn(Stage) -> bool) {
        let jobs: Vec<Job> = self.jobs().await.into_iter().filter(|job| fits(job.state.stage)).collect();
        let Some(job) = self.random.pick(&jobs) else { return };
        if self.queue.command(job.id, what, &Actor("mona".into())).await.is_ok() {
            let name = named(job);
            self.note(kind, &name);
        }
    }

    /// Held jobs that wait for a person get their answer.
    async fn approve(&mut self) {
        for job in self.jobs().await {
            if job.state.stage == Stage::Held && !job.state.needs_diff() {
                let answer = self.queue.command(job.id, Command::Approve, &Actor("mona".into())).await;
                if answer.is_ok() {
                    self.note("approval", &named(&job));
                }
            }
        }
    }

    fn crash(&mut self) {
        let number = self.random.below(self.workers.len());
        if let Some(task) = self.workers[number].task.take() {
            task.abort();
            self.workers[number].shutdown = None;
            self.leave(number, "crash");
        }
    }

    fn shut_down(&mut self) {
        let number = self.random.below(self.workers.len());
        if let Some(shutdown) = self.workers[number].shutdown.take() {
            // A worker that is gone already hears nothing.
            let _ = shutdown.send(());
            self.workers[number].task = None;
            self.leave(number, "shutdown");
        }
    }

    fn leave(&mut self, number: usize, how: &'static str) {
        let absence = self.random.within(Duration::from_millis(10)..Duration::from_secs(90));
        let worker = &mut self.workers[number];
        // What it had sent is on its way still.
        worker.gate.open();
        worker.runs = Box::new(|| 0);
        worker.back_at = Some(Instant::now() + absence);
        let name = worker.name.clone();
        self.note(how, &name);
    }

    fn fall_asleep(&mut self) {
        let number = self.random.below(self.workers.len());
        let time = self.random.within(Duration::from_secs(1)..Duration::from_secs(180));
        let worker = &mut self.workers[number];
        if worker.task.is_some() && worker.back_at.is_none() {
            worker.gate.shut();
            worker.back_at = Some(Instant::now() + time);
            let name = worker.name.clone();
            self.note("sleep", &name);
        }
    }

    fn come_back(&mut self) {
        let now = Instant::now();
        if self.store_mends.is_some_and(|at| at <= now) {
            self.store_mends = None;
            self.store_fails.send_replace(false);
        }
        for number in 0..self.workers.len() {
            let worker = &mut self.workers[number];
            if worker.back_at.is_none_or(|at| at > now) {
                continue;
            }
            worker.back_at = None;
            if worker.task.is_some() {
                worker.gate.open();
            } else {
                self.employ(number);
            }
        }
    }

    fn lose_sight(&mut self) {
        let time = self.random.within(Duration::from_secs(1)..Duration::from_secs(300));
        self.launcher.lose_sight_for(time);
        self.note("unreachable", &format!("for {time:?}"));
    }

    fn reboot(&mut self) {
        let time = self.random.within(Duration::from_secs(1)..Duration::from_secs(120));
        self.launcher.reboot(time);
        self.note("reboot", &format!("back in {time:?}"));
    }

    fn break_submission(&mut self) {
        let faults = [
            (SubmitFault::Before, "submission not done"),
            (SubmitFault::After, "submission not answered"),
            (SubmitFault::Refused, "submission refused"),
            (SubmitFault::Panics, "submission panics"),
        ];
        let (fault, kind) = *self.random.pick(&faults).expect("there are four");
        self.launcher.fail_submission(fault);
        self.note(kind, "at the next one");
    }

    fn break_checkout(&mut self) {
        let error = match self.random.below(4) {
            0 => WorkspaceError::permanent("the commit is gone"),
            _ => WorkspaceError::passing("the server does not answer"),
        };
        self.note("checkout fails", if error.is_permanent() { "for good" } else { "for now" });
        self.workspace.fail_checkout(error);
    }

    fn break_store(&mut self) {
        let time = self.random.within(Duration::from_secs(1)..Duration::from_secs(90));
        self.store_fails.send_replace(true);
        self.store_mends = Some(Instant::now() + time);
        self.note("store fails", &format!("for {time:?}"));
    }

    /// Puts somebody on a free seat.
    fn employ(&mut self, number: usize) {
        let (send, receive) = oneshot::channel();
        let worker = &mut self.workers[number];
        let gate = worker.gate.clone();
        let seat = Seat {
            name: worker.name.clone(),
            slots: worker.slots,
            queue: Arc::new(Gated::<dyn JobQueue> { gate: gate.clone(), other: self.queue.clone() }),
            workspace: Arc::new(Gated::<dyn Workspace> { gate: gate.clone(), other: self.workspace.clone() }),
            launcher: Arc::new(Gated::<dyn TrainingLauncher> { gate, other: self.launcher.clone() }),
            recipes: self.recipes.clone(),
            admission: Arc::new(scene::Moody),
            clock: self.clock.clone(),
            shutdown: Box::pin(async {
                // Without a sender nobody shuts it down any more.
                if receive.await.is_err() {
                    std::future::pending::<()>().await;
                }
            }),
        };
        let employee = (self.employ)(seat);
        let worker = &mut self.workers[number];
        worker.task = Some(tokio::spawn(employee.work));
        (worker.runs, worker.shutdown) = (employee.runs, Some(send));
    }

    // What is seen.

    async fn jobs(&self) -> Vec<Job> {
        let everything = JobFilter { limit: usize::MAX, ..JobFilter::default() };
        self.queue.jobs(&everything).await.expect("no gate is before it")
    }

    /// What must be so at every moment.
    async fn look(&mut self) {
        self.wrongs.extend(self.launcher.wrongs());
        self.wrongs.extend(self.workers.iter().flat_map(|worker| worker.gate.wrongs()));
        let jobs: BTreeMap<_, _> = self.jobs().await.into_iter().map(|job| (job.id, job)).collect();
        let now = (self.clock)();
        for run in self.launcher.runs().iter().filter(|run| now < run.ends) {
            match jobs.get(&run.key.job) {
                Some(job) if job.state.stage.is_active() && job.state.attempt == run.key.attempt => {}
                Some(job) => self.wrongs.push(format!(
                    "{} lives while its job is {} with attempt {}",
                    run.key, job.state.stage, job.state.attempt
                )),
                None => self.wrongs.push(format!("{} lives and has no job", run.key)),
            }
        }
    }

    async fn is_over(&self) -> bool {
        self.jobs().await.iter().all(|job| job.state.stage.is_final())
    }

    /// Looks at the end of it all, if it came to that.
    async fn judge(mut self) -> Result<Life, String> {
        // Whoever has just finished a job is given the time to know it.
        sleep(Duration::from_secs(60)).await;
        self.note("end", "of the world");
        let (jobs, runs) = (self.jobs().await, self.launcher.runs());
        for job in &jobs {
            let state = &job.state;
            *self.summary.entry(state.stage.word()).or_default() += 1;
            let (name, at) = (named(job), state.finished_at);
            writeln!(self.story, "{name}: {}, attempt {}, at {at:?}", state.stage, state.attempt)
                .expect("a string takes everything");
        }
        *self.summary.entry("run").or_default() += runs.len();
        if self.wrongs.is_empty() {
            self.judge_end(&jobs, &runs).await;
        }
        if self.wrongs.is_empty() {
            return Ok(Life { summary: self.summary, story: self.story });
        }
        self.wrongs.dedup();
        Err(format!("seed {}:\n{}\n\nwhat came before:\n{}", self.seed, self.wrongs.join("\n"), self.story))
    }

    async fn judge_end(&mut self, jobs: &[Job], runs: &[RunRecord]) {
        for (delivery, decided) in &self.deliveries {
            let kept = self.queue.delivery(*delivery).await.expect("no gate is before it");
            let makes: usize = decided.verdicts.iter().map(|verdict| verdict.jobs.len()).sum();
            let is_right =
                |kept: &Delivery| kept.verdicts.len() == decided.verdicts.len() && kept.jobs.len() == makes;
            if !kept.as_ref().is_some_and(is_right) {
                self.wrongs.push(format!(
                    "delivery {delivery} was accepted and is not kept with its verdicts and jobs"
                ));
            }
        }
        let mut trainings = BTreeSet::new();
        for job in jobs {
            let change = &job.change;
            if !trainings.insert((
                &change.recipe,
                change.ref_name.to_string(),
                change.head.as_str(),
                change.run,
            )) {
                self.wrongs.push(format!("{} is there twice", named(job)));
            }
            let lines = self.queue.timeline(job.id).await.expect("no gate is before it");
            let (first, last) = (lines.first().map(|line| &*line.what), lines.last().map(|line| line.stage));
            if (first, last) != (Some("enqueued"), Some(job.state.stage)) {
                self.wrongs
                    .push(format!("the timeline of {} does not lead to its end: {lines:?}", named(job)));
            }
        }
        self.wrongs.extend(jobs.iter().filter_map(|job| scene::wrong_end(job, runs)));
        for worker in &self.workers {
            let runs = (worker.runs)();
            if runs > 0 {
                self.wrongs
                    .push(format!("{} thinks that it has {runs} runs when all have ended", worker.name));
            }
        }
    }

    fn note(&mut self, kind: &'static str, what: &str) {
        *self.summary.entry(kind).or_default() += 1;
        writeln!(self.story, "{} {kind}: {what}", (self.clock)()).expect("a string takes everything");
    }
}

/// A job by what tells it apart in every life of this world: its id does not.
fn named(job: &Job) -> String {
    let change = &job.change;
    format!("{} of {} run {} for {}", change.recipe, change.head.short(), change.run, change.ref_name)
}

/// How long things go wrong.
const CHAOS: Duration = Duration::from_secs(12 * 60);
/// How long everything may take to end after that.
const QUIET: Duration = Duration::from_secs(24 * 3_600);
