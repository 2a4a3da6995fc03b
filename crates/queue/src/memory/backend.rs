use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use swifthook_core::{
    Actor, Change, Claimed, Command, CommitSha, Decided, Delivery, DeliveryId, Event, Fingerprint, GpuBook,
    GpuLease, Heartbeat, History, Identity, Intake, IntakeError, Job, JobFilter, JobId, JobQueue,
    KnownWorker, Lease, MemoryEstimate, PastFailure, Progress, PruneFrom, Pruned, QueueError, Receipt,
    RefName, Renewal, RepoName, Rerun, Retention, RunKey, RunLog, Stage, Stats, StoredJob, Swept,
    TimelineEntry, Upkeep, Worker, Workload,
};
use tokio::sync::watch;

use super::world::World;
use crate::clock::{Clock, system_clock};
use crate::ids::Ids;
use crate::keeper::{Keeper, STEPS_A_SWEEP};
use crate::known;
use crate::message::{Message, MessageStore, Stored};
use crate::repeats::Repeats;
use crate::rules::{Rules, Submission, with_beginning, with_specs};
use crate::store::{Entry, Store};
use crate::tips::{Compared, Look, Move, TipStore, Tips};
use crate::workers::Workers;

/// A queue in memory. It keeps the promises of every queue except that to survive its process: a store for tests, demonstrations and embedders whose jobs are few.
pub struct MemoryQueue {
    world: Mutex<World>,
    ids: Ids,
    clock: Clock,
    keeper: Keeper,
    news: watch::Sender<u64>,
    workers: Workers,
    repeats: Repeats,
}

impl MemoryQueue {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(system_clock())
    }

    /// An empty queue with a clock of the caller's.
    #[must_use]
    pub fn with_clock(clock: Clock) -> Self {
        Self {
            world: Mutex::default(),
            ids: Ids::after(0),
            clock,
            keeper: Keeper::new(),
            news: watch::Sender::default(),
            workers: Workers::default(),
            repeats: Repeats::default(),
        }
    }

    /// Changes whenever there is something for a worker to look at: a hint, with polling behind it.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("nothing panics under this lock")
    }

    /// One transaction.
    fn transact<T>(&self, what: impl FnOnce(&mut Rules<'_, World>) -> T) -> T {
        let mut world = self.world();
        let mut rules = Rules::new(&mut *world, &self.ids, (self.clock)());
        let answer = what(&mut rules);
        let has_news = rules.has_news;
        drop(world);
        if has_news {
            self.news.send_modify(|count| *count += 1);
        }
        answer
    }
}

impl Default for MemoryQueue {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Intake for MemoryQueue {
    async fn accept(&self, decided: &Decided) -> Result<Receipt, IntakeError> {
        let now = (self.clock)();
        let mut submission = Submission::new(decided, self.ids.delivery(now))?;
        let body = self.repeats.recognize(&mut submission, now);
        let receipt = self
            .transact(|rules| rules.accept(&submission))
            .map_err(|error| IntakeError::passing("the push could not be stored").because(error))?;
        self.repeats.stored(body, &receipt, now);
        Ok(receipt)
    }
}

#[async_trait]
impl MessageStore for MemoryQueue {
    async fn store(&self, message: &Message) -> Result<Stored, QueueError> {
        let submission = message.submission()?;
        self.transact(|rules| rules.accept_once(&submission))
    }
}

#[async_trait]
impl TipStore for MemoryQueue {
    async fn tips(&self, repository: &RepoName) -> Result<Option<Tips>, QueueError> {
        Ok(self.world().tips.get(repository).cloned())
    }

    async fn moves(&self, repository: &RepoName, refs: &[RefName]) -> Result<Vec<Vec<Move>>, QueueError> {
        let mut world = self.world();
        refs.iter().map(|name| world.moves(&(repository.clone(), name.clone()))).collect()
    }

    async fn compared(&self, compared: &Compared) -> Result<Option<Vec<Option<Receipt>>>, QueueError> {
        let look = Look::new(compared).map_err(QueueError::store)?;
        self.transact(|rules| rules.compared(&look))
    }
}

#[async_trait]
impl JobQueue for MemoryQueue {
    async fn claim(&self, worker: &Worker) -> Result<Option<Claimed>, QueueError> {
        self.transact(|rules| rules.claim(worker))
    }

    async fn apply(&self, lease: &Lease, event: Event) -> Result<Job, QueueError> {
        self.transact(|rules| rules.apply(lease, event))
    }

    async fn command(&self, job: JobId, what: Command, who: &Actor) -> Result<Job, QueueError> {
        self.transact(|rules| rules.command(job, what, who))
    }

    async fn rerun(&self, job: JobId, rerun: Rerun, who: &Actor) -> Result<Job, QueueError> {
        self.transact(|rules| rules.rerun(job, rerun, who))
    }

    async fn known_jobs(&self, decided: &Decided) -> Result<Vec<Option<StoredJob>>, QueueError> {
        let submission = Submission::to_look_up(decided)?;
        self.transact(|rules| rules.known_jobs(&submission))
    }

    async fn renew(&self, leases: &[(Lease, Option<Progress>)]) -> Result<Vec<Renewal>, QueueError> {
        self.transact(|rules| leases.iter().map(|(lease, progress)| rules.renew(lease, *progress)).collect())
    }

    async fn known_failures(&self, of: Fingerprint) -> Result<Vec<PastFailure>, QueueError> {
        let world = self.world();
        let same = world.jobs.values().rev().map(|entry| &entry.job);
        Ok(PastFailure::among(same.filter(|job| job.state.fingerprint == Some(of))))
    }

    async fn known_heads(&self, of: &Job) -> Result<Vec<CommitSha>, QueueError> {
        let world = self.world();
        let is_of =
            |change: &Change| change.repository == of.change.repository && change.recipe == of.change.recipe;
        let came_to_nothing = |id: &JobId| {
            let job = world.jobs.get(id).map(|entry| &entry.job);
            job.is_some_and(|job| known::came_to_nothing(job.state.stage, job.state.attempt > 0))
        };
        let changes = world.changes.iter().filter(|(change, latest)| is_of(change) && latest.job < of.id);
        let changes = changes.filter(|(_, latest)| !came_to_nothing(&latest.job));
        let pushes = world.deliveries.values().filter(|push| push.repository == of.change.repository);
        let pushes = pushes.filter(|push| known::has_looked(&of.change.recipe, &push.verdicts));
        let commits = changes.map(|(change, _)| change.head.clone());
        Ok(known::once(commits.chain(pushes.filter_map(|push| push.head.clone()))))
    }

    async fn memory_estimate(&self, of: &Workload) -> Result<Option<MemoryEstimate>, QueueError> {
        let world = self.world();
        Ok(MemoryEstimate::among(of, world.jobs.values().rev().map(|entry| &entry.job)))
    }

    async fn sweep(&self) -> Result<Swept, QueueError> {
        let mut swept = self.transact(|rules| rules.sweep())?;
        for _ in 0..STEPS_A_SWEEP {
            let now = (self.clock)();
            let Some((retention, from)) = self.keeper.next(now) else { break };
            let pruned = self.prune(retention, from, false).await?;
            self.keeper.done(now, pruned.next);
            swept.removed += pruned.jobs + pruned.deliveries;
        }
        Ok(swept)
    }

    async fn gpus(&self, machine: &str, worker: &Worker) -> Result<GpuBook, QueueError> {
        self.transact(|rules| rules.gpu_book(machine, worker))
    }

    async fn stranded(&self, host: &str) -> Result<Vec<Job>, QueueError> {
        self.transact(|rules| rules.store.stranded(host))
    }

    async fn give_back(&self, job: JobId, who: &Actor) -> Result<(), QueueError> {
        self.transact(|rules| rules.give_back(job, &who.0))
    }

    async fn lease_port(
        &self,
        lease: &Lease,
        machine: &str,
        avoid: &[u16],
    ) -> Result<Option<u16>, QueueError> {
        self.transact(|rules| rules.lease_port(lease, machine, avoid))
    }

    async fn heartbeat(&self, beat: &Heartbeat) -> Result<(), QueueError> {
        self.workers.heard(beat, (self.clock)());
        Ok(())
    }

    async fn keep_log(&self, log: &RunLog) -> Result<(), QueueError> {
        let mut world = self.world();
        if world.jobs.contains_key(&log.run.job) {
            world.logs.insert(log.run, log.clone());
        }
        Ok(())
    }
}

#[async_trait]
impl Upkeep for MemoryQueue {
    fn retain(&self, retention: Retention) {
        self.keeper.set(retention);
    }

    async fn prune(&self, retention: Retention, from: PruneFrom, is_dry: bool) -> Result<Pruned, QueueError> {
        self.transact(|rules| rules.prune(retention, from, is_dry))
    }

    async fn stats(&self) -> Result<Stats, QueueError> {
        let world = self.world();
        let count = |stage| world.jobs.values().filter(|entry| entry.job.state.stage == stage).count() as u64;
        let received = || world.deliveries.values().map(|delivery| delivery.received_at);
        Ok(Stats {
            jobs: Stage::ALL.into_iter().map(|stage| (stage, count(stage))).collect(),
            deliveries: world.deliveries.len() as u64,
            changes: world.changes.len() as u64,
            oldest: received().next(),
            newest: received().next_back(),
            bytes: None,
            schema: None,
        })
    }
}

#[async_trait]
impl History for MemoryQueue {
    async fn identities(&self) -> Result<Vec<Identity>, QueueError> {
        Ok(self.world().identities.iter().cloned().collect())
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, QueueError> {
        Ok(self.world().jobs.get(&id).map(|entry| entry.job.clone()))
    }

    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>, QueueError> {
        let world = self.world();
        let older =
            world.jobs.iter().rev().filter(|(id, _)| filter.before.is_none_or(|before| **id < before));
        let wanted = older.map(|(_, Entry { job, .. })| job).filter(|job| is_wanted(job, filter));
        Ok(wanted.take(limit(filter)).cloned().collect())
    }

    async fn timeline(&self, id: JobId) -> Result<Vec<TimelineEntry>, QueueError> {
        let world = self.world();
        let Some(Entry { job, .. }) = world.jobs.get(&id) else { return Ok(Vec::new()) };
        Ok(with_beginning(job, world.lines.get(&id).cloned().unwrap_or_default()))
    }

    async fn deliveries(
        &self,
        before: Option<DeliveryId>,
        limit: usize,
    ) -> Result<Vec<Delivery>, QueueError> {
        let world = self.world();
        let older = world.deliveries.iter().rev().filter(|(id, _)| before.is_none_or(|before| **id < before));
        Ok(older.take(limit).map(|(_, delivery)| world.dressed(delivery)).collect())
    }

    async fn workers(&self) -> Result<Vec<KnownWorker>, QueueError> {
        Ok(self.workers.all((self.clock)()))
    }

    async fn gpu_leases(&self) -> Result<Vec<GpuLease>, QueueError> {
        self.world().gpu_leases(None)
    }

    async fn run_log(&self, run: RunKey) -> Result<Option<RunLog>, QueueError> {
        Ok(self.world().logs.get(&run).cloned())
    }

    async fn deliveries_of_guid(&self, guid: &str, limit: usize) -> Result<Vec<Delivery>, QueueError> {
        let world = self.world();
        let found = world.deliveries.values().rev().filter(|delivery| delivery.has_guid(guid));
        Ok(found.take(limit).map(|delivery| world.dressed(delivery)).collect())
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, QueueError> {
        let world = self.world();
        Ok(world.deliveries.get(&id).map(|delivery| world.dressed(delivery)))
    }
}

impl World {
    fn dressed(&self, delivery: &Delivery) -> Delivery {
        let jobs = delivery.jobs.iter().filter_map(|id| self.jobs.get(id));
        let jobs: Vec<_> = jobs.map(|entry| entry.job.clone()).collect();
        with_specs(delivery.clone(), &jobs)
    }
}

fn is_wanted(job: &Job, filter: &JobFilter) -> bool {
    let is = |wanted: &Option<String>, text: &str| wanted.as_ref().is_none_or(|wanted| wanted == text);
    (filter.stages.is_empty() || filter.stages.contains(&job.state.stage))
        && is(&filter.recipe, &job.change.recipe)
        && is(&filter.repository, job.change.repository.as_str())
}

fn limit(filter: &JobFilter) -> usize {
    if filter.limit == 0 { DEFAULT_LIMIT } else { filter.limit }
}

/// How many jobs are listed unless it is said.
const DEFAULT_LIMIT: usize = 50;
