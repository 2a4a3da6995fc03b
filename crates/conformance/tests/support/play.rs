use std::sync::{Arc, Mutex};
use std::time::Duration;

use swifthook_conformance::world::{self, Clock, ScriptedLauncher, ScriptedWorkspace, decided, repository};
use swifthook_core::{
    Actor, Admission, Admit, Always, Checkout, Command, Fleet, GpuRequest, History, Intake, Job, JobId,
    JobQueue, Push, Receipt, Recipe, Stage, Superseding, Template, Timestamp, TrainingLauncher, Verdict,
};
use swifthook_queue::MemoryQueue;
use swifthook_runner::{Catalog, Compose, Handle, Moment, Options, Runner, Terms, Watch};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// A queue, a launcher and a workspace that outlive the runners of a test.
pub(crate) struct Play {
    pub(crate) clock: Clock,
    pub(crate) queue: Arc<MemoryQueue>,
    pub(crate) launcher: Arc<ScriptedLauncher>,
    pub(crate) workspace: Arc<ScriptedWorkspace>,
    pub(crate) book: Arc<Book>,
    pub(crate) moments: Arc<Mutex<Vec<Moment>>>,
}

/// A runner at work.
pub(crate) struct Working {
    pub(crate) handle: Handle,
    task: JoinHandle<()>,
    shutdown: oneshot::Sender<()>,
}

impl Play {
    pub(crate) fn new() -> Self {
        Self::with(recipe())
    }

    pub(crate) fn with(recipe: Recipe) -> Self {
        let clock = world::clock();
        let launcher = Arc::new(ScriptedLauncher::new(clock.clone()));
        Self {
            queue: Arc::new(MemoryQueue::with_clock(clock.clone())),
            workspace: Arc::default(),
            book: Arc::new(Book::new(recipe, launcher.clone())),
            launcher,
            clock,
            moments: Arc::default(),
        }
    }

    /// A job for a push to `branch`, each time of another commit.
    pub(crate) async fn push(&self, branch: &str) -> JobId {
        self.accept(world::push(branch, 1 + self.queue.deliveries(None, 1_000).await.unwrap().len() as u64))
            .await
    }

    pub(crate) async fn accept(&self, push: Push) -> JobId {
        let decided = decided(&push, std::slice::from_ref(&self.book.recipe), (self.clock)());
        match self.queue.accept(&decided).await.unwrap() {
            Receipt::Stored { jobs, .. } => jobs[0].id,
            Receipt::Accepted { .. } => unreachable!("a queue is no broker"),
        }
    }

    pub(crate) fn start(&self, name: &str) -> Working {
        self.start_with(name, self.queue.clone(), |_| {})
    }

    pub(crate) fn start_with(
        &self,
        name: &str,
        queue: Arc<dyn JobQueue>,
        change: impl FnOnce(&mut Options),
    ) -> Working {
        let moments = self.moments.clone();
        let observer = move |_: &Job, moment: &Moment| moments.lock().unwrap().push(moment.clone());
        let mut options = Options {
            clock: clock_of(&self.clock),
            observer: Arc::new(observer),
            ..Options::new(name, name, "/state")
        };
        change(&mut options);
        let runner = Runner::new(queue, self.workspace.clone(), self.book.clone(), options);
        let handle = runner.handle();
        let (shutdown, receive) = oneshot::channel::<()>();
        let task = tokio::spawn(runner.run(async move {
            let _ = receive.await;
        }));
        Working { handle, task, shutdown }
    }

    pub(crate) async fn job(&self, id: JobId) -> Job {
        self.queue.job(id).await.unwrap().expect("it was enqueued")
    }

    /// The job once it is so. Fails after three days, by the clock of the world.
    pub(crate) async fn until(&self, id: JobId, is_so: impl Fn(&Job) -> bool) -> Job {
        let began = Instant::now();
        loop {
            let job = self.job(id).await;
            if is_so(&job) {
                return job;
            }
            let waited = began.elapsed();
            assert!(waited < Duration::from_secs(3 * 86_400), "it never came to that: {:#?}", job.state);
            sleep((waited / 50).clamp(Duration::from_millis(20), Duration::from_secs(10))).await;
        }
    }

    pub(crate) async fn end(&self, id: JobId) -> Job {
        self.until(id, |job| job.state.stage.is_final()).await
    }

    /// The job once the launcher has a run of it that is recorded.
    pub(crate) async fn run(&self, id: JobId) -> Job {
        self.until(id, |job| job.state.handle.is_some()).await
    }

    pub(crate) async fn cancel(&self, id: JobId) {
        self.queue.command(id, Command::Cancel, &Actor("mona".into())).await.unwrap();
    }

    /// How it ended: its stage and the word of its reason.
    pub(crate) async fn ends_as(&self, id: JobId, stage: Stage, reason: &str) {
        let state = self.end(id).await.state;
        let word = state.reason.as_ref().map_or("", |reason| &*reason.word);
        assert_eq!((state.stage, word), (stage, reason), "{state:#?}");
    }

    /// Attempt and success of every run, in order.
    pub(crate) fn attempts(&self, id: JobId) -> Vec<u32> {
        let runs = self.launcher.runs();
        runs.iter().filter(|run| run.key.job == id).map(|run| run.key.attempt).collect()
    }

    pub(crate) async fn words(&self, id: JobId) -> Vec<String> {
        self.queue.timeline(id).await.unwrap().into_iter().map(|line| line.what.to_string()).collect()
    }
}

impl Working {
    /// As a kill does: nothing is released.
    pub(crate) async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    pub(crate) async fn shut_down(self) {
        self.shutdown.send(()).unwrap();
        self.task.await.unwrap();
    }

    pub(crate) fn is_alive(&self) -> bool {
        !self.task.is_finished()
    }
}

/// A catalog of one recipe, whose terms a test changes.
pub(crate) struct Book {
    pub(crate) recipe: Arc<Recipe>,
    pub(crate) launcher: Arc<dyn TrainingLauncher>,
    pub(crate) entry: Mutex<Entry>,
}

pub(crate) struct Entry {
    pub(crate) is_gone: bool,
    pub(crate) panics: bool,
    pub(crate) admission: Arc<dyn Admission>,
    pub(crate) gpus: Option<GpuRequest>,
    /// Jobs of branches with this in their name ask for one GPU.
    pub(crate) small: Option<&'static str>,
    pub(crate) env: Vec<(&'static str, &'static str)>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) checkout: bool,
    pub(crate) compose: Option<Arc<dyn Compose>>,
    pub(crate) watch: Option<Watch>,
    pub(crate) max_age: Option<Duration>,
}

impl Book {
    fn new(recipe: Recipe, launcher: Arc<dyn TrainingLauncher>) -> Self {
        let entry = Entry {
            is_gone: false,
            panics: false,
            admission: Arc::new(Always),
            gpus: None,
            small: None,
            env: vec![("TOKEN", "hush")],
            timeout: None,
            checkout: true,
            compose: None,
            watch: None,
            max_age: None,
        };
        Self { recipe: Arc::new(recipe), launcher, entry: Mutex::new(entry) }
    }

    pub(crate) fn small_ones_are(&self, part: &'static str) {
        self.change(|entry| entry.small = Some(part));
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Entry)) {
        change(&mut self.entry.lock().unwrap());
    }
}

impl Catalog for Book {
    fn terms(&self, job: &Job) -> Option<Terms> {
        let (is_gone, panics, terms) = {
            let entry = self.entry.lock().unwrap();
            let terms = Terms {
                recipe: self.recipe.clone(),
                admission: entry.admission.clone(),
                gpus: match entry.small {
                    Some(prefix) if job.change.ref_name.to_string().contains(prefix) => {
                        Some(GpuRequest::of(1))
                    }
                    _ => entry.gpus.clone(),
                },
                env: entry
                    .env
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
                timeout: entry.timeout,
                grace: Duration::from_secs(10),
                watch: entry.watch,
                shape: swifthook_core::RunShape::default(),
                limits: swifthook_core::RunLimits::default(),
                max_age: entry.max_age,
                checkout: entry.checkout.then(Checkout::default),
                compose: entry.compose.clone(),
            };
            (entry.is_gone, entry.panics, terms)
        };
        if panics {
            std::panic::resume_unwind(Box::new("the catalog panics as it was told"));
        }
        (!is_gone).then_some(terms)
    }

    fn launcher(&self, name: &str) -> Option<Arc<dyn TrainingLauncher>> {
        matches!(name, "local" | ScriptedLauncher::NAME).then(|| self.launcher.clone())
    }
}

/// An admission from a function.
pub(crate) struct Asks<F>(pub(crate) F);

impl<F: Fn(&Job, Timestamp, &Fleet) -> Admit + Send + Sync> Admission for Asks<F> {
    fn admit(&self, job: &Job, now: Timestamp, fleet: &Fleet) -> Admit {
        self.0(job, now, fleet)
    }
}

/// Trains every push, each in its turn.
pub(crate) fn recipe() -> Recipe {
    let command = ["train", "--commit={commit}", "--out={output_dir}"];
    Recipe {
        command: command.map(|text| Template::parse(text).unwrap()).to_vec(),
        superseded: Superseding::Keep,
        ..Recipe::new("sft", repository(), Everything)
    }
}

struct Everything;

impl swifthook_core::TriggerPolicy for Everything {
    fn decide(&self, _push: &Push, _now: Timestamp) -> Verdict {
        Verdict::launch()
    }
}

fn clock_of(clock: &Clock) -> swifthook_runner::Clock {
    let clock = clock.clone();
    swifthook_runner::Clock::new(move || clock())
}
