mod events;
mod judgement;
mod staff;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use swifthook_core::{Decided, DeliveryId, History, Job, JobFilter, JobQueue, Recipe, Stage, Standing};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use self::staff::Worker;
use super::clock::{Clock, clock};
use super::gate::Gate;
use super::gpus::ScriptedGpus;
use super::launcher::{Course, ScriptedLauncher};
use super::random::Random;
use super::scene::{self, Moody};
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
/// live run of a job that does not run; two trainings of a commit though nobody repeated one; a push that is answered with
/// a job that says nothing of it; two live runs on one GPU, or a run on one that is not leased to it; a lease when
/// all have ended; an accepted delivery that is not kept; a job that never ends, or whose end is
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
    let mut world = World::new(seed, clock.clone(), Arc::new(queue(clock)), employ, HECTIC);
    world.begin();
    let end = Instant::now() + CHAOS;
    while Instant::now() < end && world.wrongs.is_empty() {
        world.step().await;
    }
    world.calm_down();
    world.end(Duration::from_secs(20)).await;
    world.judge().await
}

/// Lives through another world of `seed`: runs take up to two days, and for one day, which begins somewhere in the first
/// hour, nobody reaches the launcher, but for a submission now and then that gets there and is not answered. Pushes go
/// on to come, and workers to crash, sleep past their leases and shut down; nobody cancels anything, and no machine
/// fails.
///
/// # Errors
///
/// As [`live`] has them; besides, a run that was stopped though no newer push had taken its place.
///
/// # Panics
///
/// As [`live`].
pub async fn live_out_of_reach<Q: Store + 'static>(
    seed: u64,
    queue: impl FnOnce(Clock) -> Q,
    employ: impl Fn(Seat) -> Employee,
) -> Result<Life, String> {
    let clock = clock();
    let mut world = World::new(seed, clock.clone(), Arc::new(queue(clock)), employ, PATIENT);
    world.begin();
    let blind_from = Instant::now() + world.random.within(Duration::ZERO..HOUR);
    while Instant::now() < blind_from && world.wrongs.is_empty() {
        world.ordinary_step(Duration::from_secs(300)).await;
    }
    world.launcher.lose_sight_for(DAY);
    world.note("unreachable", "for a day");
    let end = Instant::now() + DAY;
    while Instant::now() < end && world.wrongs.is_empty() {
        world.ordinary_step(HOUR * 4).await;
    }
    world.calm_down();
    // Hours are over while the runs are found again, too. After that nothing new would come of it.
    sleep(HOUR * 2).await;
    world.look().await;
    world.moods.calm_down();
    world.end(HOUR).await;
    world.judge_stops().await;
    world.judge().await
}

struct World<Q, E> {
    seed: u64,
    tempo: Tempo,
    random: Random,
    clock: Clock,
    queue: Arc<Q>,
    employ: E,
    launcher: Arc<ScriptedLauncher>,
    gpus: Arc<ScriptedGpus>,
    workspace: Arc<ScriptedWorkspace>,
    recipes: Arc<[Arc<Recipe>]>,
    moods: Arc<Moody>,
    workers: Vec<Worker>,
    store_fails: watch::Sender<bool>,
    store_mends: Option<Instant>,
    deliveries: Vec<(DeliveryId, Decided)>,
    pushes: u64,
    summary: Summary,
    story: String,
    wrongs: Vec<String>,
}

/// How long things take in a world.
#[derive(Clone, Copy)]
struct Tempo {
    timeout: Option<Duration>,
    lease: Duration,
    /// How long a worker sleeps at most.
    naps: Duration,
    /// How much longer runs take than in the shortest of worlds.
    runs: u32,
    /// How long everything may take to end at last.
    quiet: Duration,
}

impl<Q: Store + 'static, E: Fn(Seat) -> Employee> World<Q, E> {
    fn new(seed: u64, clock: Clock, queue: Arc<Q>, employ: E, tempo: Tempo) -> Self {
        let mut random = Random::new(seed);
        let launcher = Arc::new(ScriptedLauncher::new(clock.clone()));
        let mut courses = random.fork();
        launcher.plan(move |_| {
            let course = scene::course(&mut courses);
            Course { lasts: course.lasts * tempo.runs, ..course }
        });
        let workspace = Arc::new(ScriptedWorkspace::default());
        workspace.take(random.within(Duration::ZERO..Duration::from_secs(4)));
        Self {
            seed,
            tempo,
            random,
            clock,
            queue,
            employ,
            launcher,
            gpus: Arc::new(ScriptedGpus::new("box", GPUS)),
            workspace,
            recipes: scene::recipes(),
            moods: Arc::default(),
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
        match self.random.below(22) {
            0..=3 => self.push().await,
            4 => self.repeat().await,
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
            20 => self.use_by_hand(),
            _ => self.approve().await,
        }
        self.look().await;
    }

    /// What happens where nobody stops anything.
    async fn ordinary_step(&mut self, longest: Duration) {
        let until = Instant::now() + self.random.within(Duration::from_millis(1)..longest);
        while let Some(at) = self.next_return().filter(|at| *at < until) {
            sleep_until(at).await;
            self.come_back();
        }
        sleep_until(until).await;
        self.come_back();
        match self.random.below(11) {
            0..=1 => self.push().await,
            2 => self.repeat().await,
            3 => self.redeliver().await,
            4 | 5 => self.crash(),
            6 => self.shut_down(),
            7 => self.fall_asleep(),
            8 => self.break_store(),
            9 => self.lose_answer(),
            _ => self.approve().await,
        }
        self.look().await;
    }

    /// Waits until every job has ended, and looks after so long each.
    async fn end(&mut self, pause: Duration) {
        let end = Instant::now() + self.tempo.quiet;
        while Instant::now() < end && self.wrongs.is_empty() && !self.is_over().await {
            sleep(pause).await;
            self.approve().await;
            self.look().await;
        }
    }

    fn calm_down(&mut self) {
        self.note("calm", "everybody comes back");
        self.store_fails.send_replace(false);
        (0..GPUS as usize).for_each(|index| self.gpus.set(index, Standing::Idle));
        for number in 0..self.workers.len() {
            self.workers[number].back_at = self.workers[number].back_at.map(|_| Instant::now());
        }
        self.come_back();
    }

    async fn jobs(&self) -> Vec<Job> {
        self.jobs_in(Vec::new()).await
    }

    /// Those in one of these stages, or all without any.
    async fn jobs_in(&self, stages: Vec<Stage>) -> Vec<Job> {
        let wanted = JobFilter { stages, limit: usize::MAX, ..JobFilter::default() };
        self.queue.jobs(&wanted).await.expect("no gate is before it")
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

/// How many GPUs the machine of all workers has.
const GPUS: u32 = 4;
/// How long things go wrong.
const CHAOS: Duration = Duration::from_secs(12 * 60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const HECTIC: Tempo = Tempo {
    timeout: Some(Duration::from_secs(300)),
    lease: Duration::from_secs(30),
    naps: Duration::from_secs(180),
    runs: 1,
    quiet: DAY,
};
/// For runs of days, as an installation has it whose cluster is to be asked seldom: a run is polled every two to twenty
/// minutes. Most of what a world costs are polls that say what the one before said, and claims that bring nothing.
const PATIENT: Tempo = Tempo {
    timeout: None,
    lease: HOUR,
    naps: Duration::from_secs(2 * 3_600),
    runs: 300,
    quiet: Duration::from_secs(120 * 24 * 3_600),
};
