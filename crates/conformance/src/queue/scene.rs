use std::sync::Arc;
use std::time::Duration;

use swifthook_core::{
    Actor, Change, ChangeSet, Claimed, Command, CommitSha, ConfigDigest, Debounce, Decided, DeliveryId,
    Event, Exit, HoldReason, Job, JobId, JobSpec, Lease, Paths, Push, QueueError, Reason, Receipt,
    RecipeVerdict, RefName, RepoName, Retry, RunHandle, Source, Stage, StoredJob, Superseding, Timestamp,
    Verdict, Worker,
};

use super::bench::{Queue, QueueBench};

/// A bench, with words for what people, GitHub and workers do to its queue.
pub(super) struct Scene<'a> {
    pub(super) bench: &'a dyn QueueBench,
    pub(super) queue: Arc<dyn Queue>,
}

impl<'a> Scene<'a> {
    pub(super) fn new(bench: &'a dyn QueueBench) -> Self {
        Self { bench, queue: bench.queue() }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.bench.now()
    }

    pub(super) fn advance(&self, seconds: u64) {
        self.bench.advance(Duration::from_secs(seconds));
    }

    /// Delivers a push.
    pub(super) async fn receive(&self, delivered: &Delivered) -> (DeliveryId, Vec<StoredJob>) {
        let receipt = self.queue.accept(&delivered.decided(self.now())).await;
        match receipt.expect("the queue accepts") {
            Receipt::Stored { delivery, jobs } => (delivery, jobs),
            Receipt::Accepted { .. } => panic!("a queue stores what it accepts"),
        }
    }

    /// Delivers a push that makes one job.
    pub(super) async fn accept(&self, delivered: &Delivered) -> StoredJob {
        let (_, mut jobs) = self.receive(delivered).await;
        assert_eq!(jobs.len(), 1, "one job: {jobs:?}");
        jobs.remove(0)
    }

    pub(super) async fn job(&self, id: JobId) -> Job {
        self.queue.job(id).await.expect("the queue answers").expect("the job is there")
    }

    pub(super) async fn stage(&self, id: JobId) -> Stage {
        self.job(id).await.state.stage
    }

    pub(super) async fn all_jobs(&self) -> Vec<Job> {
        let filter = swifthook_core::JobFilter { limit: 10_000, ..Default::default() };
        self.queue.jobs(&filter).await.expect("the queue answers")
    }

    /// What the timeline says, word by word.
    pub(super) async fn words(&self, id: JobId) -> Vec<String> {
        let lines = self.queue.timeline(id).await.expect("the queue answers");
        lines.iter().map(|line| line.what.to_string()).collect()
    }

    pub(super) async fn claim(&self, worker: &Worker) -> Option<Claimed> {
        self.queue.claim(worker).await.expect("the queue answers")
    }

    /// A worker claims, and gets this job.
    pub(super) async fn claim_of(&self, worker: &Worker, id: JobId) -> Claimed {
        let claimed = self.claim(worker).await.expect("there is something to claim");
        assert_eq!(claimed.job.id, id);
        claimed
    }

    pub(super) async fn apply(&self, lease: &Lease, event: Event) -> Job {
        self.queue.apply(lease, event).await.expect("the event fits")
    }

    pub(super) async fn command(&self, id: JobId, what: Command) -> Result<Job, QueueError> {
        self.queue.command(id, what, &Actor("ada".into())).await
    }

    /// A worker claims this job and its attempt begins.
    pub(super) async fn start(&self, worker: &Worker, id: JobId) -> Claimed {
        let claimed = self.claim_of(worker, id).await;
        let job = self.apply(&claimed.lease, Event::Start { at: self.now(), host: None, gpus: None }).await;
        Claimed { job, ..claimed }
    }

    /// A worker claims this job, and its launcher has it.
    pub(super) async fn submit(&self, worker: &Worker, id: JobId) -> Claimed {
        let claimed = self.start(worker, id).await;
        let handle = handle(claimed.job.state.attempt, Some(&worker.host));
        let job = self.apply(&claimed.lease, Event::Submitted(handle)).await;
        Claimed { job, ..claimed }
    }

    /// The run of this lease ends so.
    pub(super) async fn end(&self, lease: &Lease, exit: Exit) -> Job {
        self.apply(lease, Event::Ended(exit)).await;
        self.collect(lease).await
    }

    pub(super) async fn collect(&self, lease: &Lease) -> Job {
        let retry_at = self.now().after(Duration::from_secs(60));
        self.apply(
            lease,
            Event::Collected {
                steps_done: None,
                step: None,
                checkpoint: None,
                peak_memory: None,
                fails: None,
                retry_at,
                at: self.now(),
            },
        )
        .await
    }

    /// Brings a queued job to an end.
    pub(super) async fn bring_to(&self, id: JobId, end: Stage) {
        let worker = worker("finisher");
        match end {
            Stage::Succeeded => drop(self.end(&self.submit(&worker, id).await.lease, code(0)).await),
            Stage::Failed => drop(self.end(&self.submit(&worker, id).await.lease, code(1)).await),
            Stage::Cancelled => drop(self.command(id, Command::Cancel).await.expect("it can be cancelled")),
            Stage::Superseded => {
                let lease = self.claim_of(&worker, id).await.lease;
                self.apply(&lease, Event::Supersede { at: self.now() }).await;
            }
            Stage::Quarantined => self.lose_workers_until_quarantined(id).await,
            open => assert_eq!(self.stage(id).await, open, "where it is already"),
        }
        assert_eq!(self.stage(id).await, end);
    }

    async fn lose_workers_until_quarantined(&self, id: JobId) {
        let worker = worker("unlucky");
        self.start(&worker, id).await;
        for _ in 0..3 {
            self.advance(120);
            let claimed = self.claim_of(&worker, id).await;
            if claimed.job.state.is_poison {
                self.apply(&claimed.lease, Event::Vanished).await;
                self.collect(&claimed.lease).await;
            }
        }
    }
}

/// A push as it is delivered, with what was decided of it.
#[derive(Clone, Debug)]
pub(crate) struct Delivered {
    pub(crate) repository: &'static str,
    pub(crate) ref_name: RefName,
    pub(crate) before: Option<u32>,
    pub(crate) head: Option<u32>,
    pub(crate) pushed_at: Option<Timestamp>,
    pub(crate) source: Source,
    pub(crate) is_redeliverable: bool,
    pub(crate) verdicts: Vec<RecipeVerdict>,
    pub(crate) paths: Paths,
}

impl Delivered {
    /// A push of commit number `head` to main, that one recipe launches.
    pub(crate) fn new(head: u32) -> Self {
        Self {
            repository: "acme/models",
            ref_name: RefName::Branch("main".into()),
            before: None,
            head: Some(head),
            pushed_at: None,
            source: hook("github", &format!("guid-{head}")),
            is_redeliverable: true,
            verdicts: vec![launch(spec("sft"))],
            paths: Paths::empty(),
        }
    }

    pub(crate) fn after(self, before: u32) -> Self {
        Self { before: Some(before), ..self }
    }

    pub(crate) fn pushed_at(self, seconds: i64) -> Self {
        Self { pushed_at: Some(Timestamp(1_790_000_000_000 + seconds * 1_000)), ..self }
    }

    pub(crate) fn from(self, source: Source) -> Self {
        Self { source, ..self }
    }

    /// What its one recipe is to do.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut JobSpec)) -> Self {
        change(&mut self.verdicts[0].jobs[0]);
        self
    }

    pub(crate) fn decided_as(self, verdicts: Vec<RecipeVerdict>) -> Self {
        Self { verdicts, ..self }
    }

    pub(crate) fn held(self, reason: HoldReason) -> Self {
        let verdicts = vec![RecipeVerdict { verdict: Verdict::Hold(reason), ..self.verdicts[0].clone() }];
        Self { verdicts, ..self }
    }

    pub(crate) fn skipped(self) -> Self {
        Self { verdicts: vec![skip("sft")], ..self }
    }

    pub(crate) fn decided(&self, now: Timestamp) -> Decided {
        Decided {
            version: Decided::VERSION,
            push: Push {
                repository: RepoName::new(self.repository).expect("a name"),
                ref_name: self.ref_name.clone(),
                before: self.before.map(sha),
                head: self.head.map(sha),
                skip_marker: false,
                sender: Some("ada".into()),
                pushed_at: self.pushed_at,
                changes: ChangeSet::Complete(self.paths.clone()),
                source: self.source.clone(),
                origin: Default::default(),
            },
            verdicts: self.verdicts.clone(),
            config: ConfigDigest([7; 32]),
            received_at: now,
            is_redeliverable: self.is_redeliverable,
        }
    }
}

/// A job of a recipe, in a group of its own ref.
pub(crate) fn spec(recipe: &str) -> JobSpec {
    JobSpec {
        recipe: recipe.into(),
        config: None,
        group: format!("acme/models refs/heads/main {recipe}").into(),
        priority: 0,
        launcher: "local".into(),
        labels: Vec::new(),
        command: Default::default(),
        file: None,
        superseded: Superseding::CancelQueued,
        debounce: None,
        retry: Retry::default(),
        origin: Default::default(),
    }
}

/// A job of a recipe for one file.
pub(crate) fn spec_for(recipe: &str, config: &str) -> JobSpec {
    let group = format!("acme/models refs/heads/main {recipe} {config}").into();
    JobSpec { config: Some(config.into()), group, ..spec(recipe) }
}

pub(crate) fn launch(spec: JobSpec) -> RecipeVerdict {
    RecipeVerdict { recipe: spec.recipe.clone(), verdict: Verdict::launch(), jobs: vec![spec] }
}

pub(crate) fn skip(recipe: &str) -> RecipeVerdict {
    let verdict = Verdict::Skip(Reason::new("paths", "no changed file matches"));
    RecipeVerdict { recipe: recipe.into(), verdict, jobs: Vec::new() }
}

pub(crate) fn hook(hook: &str, guid: &str) -> Source {
    Source::Hook { hook: hook.into(), guid: guid.into() }
}

/// A worker on a host of its name, with four slots, no labels and leases of a minute.
pub(crate) fn worker(name: &str) -> Worker {
    Worker {
        name: name.into(),
        host: format!("host of {name}").into(),
        labels: Vec::new(),
        slots_free: 4,
        has_gpus: true,
        lease: Duration::from_secs(60),
    }
}

pub(crate) fn handle(attempt: u32, host: Option<&str>) -> RunHandle {
    RunHandle {
        launcher: "local".into(),
        host: host.map(Into::into),
        version: 1,
        data: serde_json::json!({ "run": attempt }),
    }
}

pub(crate) fn code(code: i32) -> Exit {
    Exit { code: Some(code), ..Exit::default() }
}

pub(crate) fn sha(number: u32) -> CommitSha {
    let digits = format!("{number:08x}").repeat(5);
    CommitSha::parse(&digits).expect("40 digits").expect("not all zeros")
}

pub(crate) fn quiet(seconds: u64, at_most: u64) -> Option<Debounce> {
    Some(Debounce { quiet: Duration::from_secs(seconds), at_most: Duration::from_secs(at_most) })
}

/// The change of a push that [`Delivered::new`] makes.
pub(crate) fn change(head: u32, run: u32) -> Change {
    Change {
        repository: RepoName::new("acme/models").expect("a name"),
        ref_name: RefName::Branch("main".into()),
        head: sha(head),
        recipe: "sft".into(),
        config: "".into(),
        run,
    }
}

pub(crate) fn is_stale<T>(answer: &Result<T, QueueError>) -> bool {
    matches!(answer, Err(QueueError::StaleLease { .. }))
}

pub(crate) fn is_illegal<T>(answer: &Result<T, QueueError>) -> bool {
    matches!(answer, Err(QueueError::Illegal(_)))
}
