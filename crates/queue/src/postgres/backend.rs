use std::collections::HashMap;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use swifthook_core::{
    Actor, Claimed, Command, CommitSha, Decided, Delivery, DeliveryId, Diffed, Event, Fingerprint, GpuBook,
    GpuLease, Heartbeat, History, Identity, Intake, IntakeError, Job, JobFilter, JobId, JobQueue,
    KnownWorker, Lease, MemoryEstimate, PastFailure, Progress, PruneFrom, Pruned, QueueError, Receipt,
    RefName, Renewal, RepoName, Rerun, Retention, RunKey, RunLog, Stage, Stats, StoredJob, Swept,
    TimelineEntry, Upkeep, Worker, Workload,
};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinHandle};
use uuid::Uuid;

use super::config::{OpenError, Options};
use super::crowd::{self, Crowd, NOT_YET};
use super::pool::{Pool, Session};
use super::rows::RowError;
use super::target::Target;
use super::transact::{Core, Needs, PATIENCE};
use super::transaction::Transaction;
use super::{gpus, listener, lists, logs, reader, schema, tips, workers};
use crate::ids::{Ids, split};
use crate::keeper::{Keeper, STEPS_A_SWEEP};
use crate::message::{Message, MessageStore, Stored};
use crate::repeats::Repeats;
use crate::rules::{Rules, Submission};
use crate::store::Store;
use crate::tips::{Compared, Look, Move, TipStore, Tips};

/// A durable queue in a database on PostgreSQL, shared by as many processes as have its URL.
///
/// Its connections live on the tokio runtime that it was opened on, and its transactions run on that runtime's blocking
/// threads.
pub struct PostgresQueue {
    core: Arc<Core>,
    crowd: Arc<Crowd>,
    /// What goes on beside its callers.
    tasks: Vec<AbortHandle>,
    keeper: Keeper,
    repeats: Repeats,
}

impl PostgresQueue {
    /// Opens a store, and brings its schema up to date. Its tables stand in the schema that is current on the
    /// connection: `public`, unless the URL says otherwise (`?options=-csearch_path%3Dtraining`).
    ///
    /// # Errors
    ///
    /// When the URL is none of PostgreSQL, the server does not answer or refuses, or the database is a newer version's
    /// or something else's.
    pub async fn open(url: &str, options: Options) -> Result<Self, OpenError> {
        let target = Target::parse(url)?;
        let mut client = target.connect().await?;
        schema::migrate(&mut client).await?;
        let schema: String = client.query_one("SELECT current_schema()::text", &[]).await?.try_get(0)?;
        let ids = "SELECT greatest((SELECT id FROM jobs ORDER BY id DESC LIMIT 1), \
                   (SELECT id FROM deliveries ORDER BY id DESC LIMIT 1))";
        let last: Option<Uuid> = client.query_one(ids, &[]).await?.try_get(0)?;
        let news = watch::Sender::default();
        let listener = tokio::spawn(listener::listen(target.clone(), schema, news.clone()));
        let core = Arc::new(Core {
            pool: Pool::new(target, options.connections),
            runtime: Handle::current(),
            clock: options.clock,
            ids: Ids::after(last.map_or(0, |id| split(id.into_bytes()).0)),
            names: Mutex::new(HashMap::new()),
            news,
            has_news: Notify::new(),
            ahead: AtomicI64::new(0),
        });
        let crowd = Arc::new(Crowd::new(core.clone()));
        let mut tasks = vec![listener, tokio::spawn(core.clone().tell_others())];
        tasks.extend((0..crowd::AT_ONCE).map(|_| tokio::spawn(crowd.clone().serve())));
        Ok(Self {
            core,
            tasks: tasks.iter().map(JoinHandle::abort_handle).collect(),
            crowd,
            keeper: Keeper::new(),
            repeats: Repeats::default(),
        })
    }

    /// The version of the schema of a database, 0 if there is none yet, and the one that this software brings it to.
    /// The database is only read.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn schema(url: &str) -> Result<(u32, u32), OpenError> {
        let client = Target::parse(url)?.connect().await?;
        let versions = (schema::version(&client).await?, schema::newest());
        Ok((versions.0.unsigned_abs(), versions.1.unsigned_abs()))
    }

    /// Changes whenever there is something for a worker to look at, whichever process it came by: a hint, with polling
    /// behind it.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.core.news.subscribe()
    }

    /// Takes the number of a transaction that writes, which is durable as a push is.
    ///
    /// # Errors
    ///
    /// If the database does not answer, or takes no writes.
    pub async fn check_writable(&self) -> Result<(), QueueError> {
        let write = |rules: &mut Rules<'_, Transaction<'_>>| {
            rules.store.query("SELECT txid_current()", &[])?;
            Ok(())
        };
        self.transact(Needs::default(), write).await
    }

    /// Waits a moment for what is under way.
    pub async fn close(&self) {
        self.core.pool.close().await;
    }

    async fn transact<T, F>(&self, needs: Needs, what: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnMut(&mut Rules<'_, Transaction<'_>>) -> Result<T, QueueError> + Send + 'static,
    {
        self.core.clone().transact_within(PATIENCE, needs, what).await
    }

    async fn read<T, F>(&self, what: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: Fn(&Handle, &mut Session) -> Result<T, RowError> + Send + 'static,
    {
        let core = self.core.clone();
        let room = core.pool.room().await;
        let work = self.core.runtime.spawn_blocking(move || {
            let _room = room;
            core.read(&what)
        });
        work.await.map_err(QueueError::store)?
    }
}

impl Drop for PostgresQueue {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

#[async_trait]
impl Intake for PostgresQueue {
    async fn accept(&self, decided: &Decided) -> Result<Receipt, IntakeError> {
        let now = self.core.about_now();
        let mut submission = Submission::new(decided, NOT_YET)?;
        let body = self.repeats.recognize(&mut submission, now);
        if let (Some(delivery), true) = (submission.stands_for, submission.offers.is_empty()) {
            return Ok(Receipt::Stored { delivery, jobs: Vec::new() });
        }
        let stored = self.crowd.accept(submission);
        let receipt = stored.await.map_err(|error| {
            IntakeError::passing("the push could not be stored").because(error).after(TRY_AGAIN)
        })?;
        self.repeats.stored(body, &receipt, now);
        Ok(receipt)
    }
}

#[async_trait]
impl MessageStore for PostgresQueue {
    async fn store(&self, message: &Message) -> Result<Stored, QueueError> {
        let submission = message.submission()?;
        self.transact(Needs::of_submissions(std::slice::from_ref(&submission)), move |rules| {
            rules.accept_once(&submission)
        })
        .await
    }
}

#[async_trait]
impl TipStore for PostgresQueue {
    async fn tips(&self, repository: &RepoName) -> Result<Option<Tips>, QueueError> {
        let repository = repository.clone();
        self.read(move |runtime, session| runtime.block_on(tips::read(session, &repository))).await
    }

    async fn moves(&self, repository: &RepoName, refs: &[RefName]) -> Result<Vec<Vec<Move>>, QueueError> {
        let (repository, refs) = (repository.clone(), refs.to_vec());
        self.read(move |runtime, session| runtime.block_on(tips::moves_of(session, &repository, &refs))).await
    }

    async fn compared(&self, compared: &Compared) -> Result<Option<Vec<Option<Receipt>>>, QueueError> {
        let look = Look::new(compared).map_err(QueueError::store)?;
        self.transact(Needs::of_look(&look), move |rules| rules.compared(&look)).await
    }
}

#[async_trait]
impl JobQueue for PostgresQueue {
    async fn claim(&self, worker: &Worker) -> Result<Option<Claimed>, QueueError> {
        let mut pause = Duration::from_millis(4);
        loop {
            let worker = worker.clone();
            let claim = self.transact(Needs::of_claim(), move |rules| {
                let claimed = rules.claim(&worker)?;
                Ok((claimed, rules.store.has_passed_by))
            });
            match claim.await? {
                // What somebody else was busy with may be there after all, and nobody would tell.
                (None, true) if pause <= LONGEST_PAUSE => tokio::time::sleep(pause).await,
                (claimed, _) => return Ok(claimed),
            }
            pause *= 2;
        }
    }

    async fn apply(&self, lease: &Lease, event: Event) -> Result<Job, QueueError> {
        let lease = *lease;
        let expanded = match &event {
            Event::Diffed { answer: Diffed::Expand { jobs, .. }, .. } => &jobs[..],
            _ => &[],
        };
        let needs = Needs::of_job(lease.job, expanded.iter().map(|spec| &*spec.group));
        self.transact(needs, move |rules| rules.apply(&lease, event.clone())).await
    }

    async fn known_failures(&self, of: Fingerprint) -> Result<Vec<PastFailure>, QueueError> {
        self.read(move |runtime, session| runtime.block_on(reader::known_failures(session, of))).await
    }

    async fn known_heads(&self, of: &Job) -> Result<Vec<CommitSha>, QueueError> {
        let of = of.clone();
        self.read(move |runtime, session| runtime.block_on(reader::known_heads(session, &of))).await
    }

    async fn memory_estimate(&self, of: &Workload) -> Result<Option<MemoryEstimate>, QueueError> {
        let of = of.clone();
        self.read(move |runtime, session| runtime.block_on(reader::memory_estimate(session, &of))).await
    }

    async fn command(&self, job: JobId, what: Command, who: &Actor) -> Result<Job, QueueError> {
        let who = who.clone();
        self.transact(Needs::of_job(job, []), move |rules| rules.command(job, what, &who)).await
    }

    async fn rerun(&self, job: JobId, rerun: Rerun, who: &Actor) -> Result<Job, QueueError> {
        let who = who.clone();
        let needs = Needs::of_job(job, [&*rerun.spec.group]);
        self.transact(needs, move |rules| rules.rerun(job, rerun.clone(), &who)).await
    }

    async fn known_jobs(&self, decided: &Decided) -> Result<Vec<Option<StoredJob>>, QueueError> {
        let submission = Submission::to_look_up(decided)?;
        self.transact(Needs::default(), move |rules| rules.known_jobs(&submission)).await
    }

    /// Each lease in a transaction of its own, so that none waits for what holds up another.
    async fn renew(&self, leases: &[(Lease, Option<Progress>)]) -> Result<Vec<Renewal>, QueueError> {
        let mut renewals = Vec::with_capacity(leases.len());
        for (lease, progress) in leases.iter().copied() {
            let renewal = self.transact(Needs::default(), move |rules| rules.renew(&lease, progress));
            renewals.push(renewal.await?);
        }
        Ok(renewals)
    }

    async fn sweep(&self) -> Result<Swept, QueueError> {
        let mut swept = self.transact(Needs::default(), |rules| rules.sweep()).await?;
        for _ in 0..STEPS_A_SWEEP {
            let now = self.core.clock.as_ref().map_or_else(|| SystemTime::now().into(), |clock| clock());
            let Some((retention, from)) = self.keeper.next(now) else { break };
            let pruned = self.prune(retention, from, false).await?;
            self.keeper.done(now, pruned.next);
            swept.removed += pruned.jobs + pruned.deliveries;
        }
        Ok(swept)
    }

    async fn gpus(&self, machine: &str, worker: &Worker) -> Result<GpuBook, QueueError> {
        let (machine, worker) = (machine.to_owned(), worker.clone());
        self.transact(Needs::default(), move |rules| rules.gpu_book(&machine, &worker)).await
    }

    async fn stranded(&self, host: &str) -> Result<Vec<Job>, QueueError> {
        let host = host.to_owned();
        self.transact(Needs::default(), move |rules| rules.store.stranded(&host)).await
    }

    async fn give_back(&self, job: JobId, who: &Actor) -> Result<(), QueueError> {
        let who = who.0.clone();
        self.transact(Needs::of_job(job, []), move |rules| rules.give_back(job, &who)).await
    }

    async fn lease_port(
        &self,
        lease: &Lease,
        machine: &str,
        avoid: &[u16],
    ) -> Result<Option<u16>, QueueError> {
        let (lease, of, avoid) = (*lease, machine.to_owned(), avoid.to_vec());
        self.transact(Needs::of_port(machine), move |rules| rules.lease_port(&lease, &of, &avoid)).await
    }

    async fn heartbeat(&self, beat: &Heartbeat) -> Result<(), QueueError> {
        let beat = beat.clone();
        let kept =
            self.transact(Needs::default(), move |rules| Ok(workers::heard(rules.store, &beat, rules.now)?));
        kept.await
    }

    async fn keep_log(&self, log: &RunLog) -> Result<(), QueueError> {
        let log = log.clone();
        self.transact(Needs::default(), move |rules| Ok(logs::keep(rules.store, &log)?)).await
    }
}

#[async_trait]
impl Upkeep for PostgresQueue {
    fn retain(&self, retention: Retention) {
        self.keeper.set(retention);
    }

    async fn prune(&self, retention: Retention, from: PruneFrom, is_dry: bool) -> Result<Pruned, QueueError> {
        self.transact(Needs::default(), move |rules| rules.prune(retention, from, is_dry)).await
    }

    async fn stats(&self) -> Result<Stats, QueueError> {
        self.read(|runtime, session| runtime.block_on(reader::stats(session))).await
    }
}

#[async_trait]
impl History for PostgresQueue {
    async fn identities(&self) -> Result<Vec<Identity>, QueueError> {
        self.read(move |runtime, session| runtime.block_on(reader::identities(session))).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, QueueError> {
        self.read(move |runtime, session| runtime.block_on(reader::job(session, id))).await
    }

    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>, QueueError> {
        let filter = filter.clone();
        self.read(move |runtime, session| runtime.block_on(lists::jobs(session, &filter))).await
    }

    async fn open_jobs(&self) -> Result<Vec<(Stage, u64)>, QueueError> {
        self.read(|runtime, session| runtime.block_on(reader::open_jobs(session))).await
    }

    async fn timeline(&self, id: JobId) -> Result<Vec<TimelineEntry>, QueueError> {
        self.read(move |runtime, session| runtime.block_on(reader::timeline(session, id))).await
    }

    async fn deliveries(
        &self,
        before: Option<DeliveryId>,
        limit: usize,
    ) -> Result<Vec<Delivery>, QueueError> {
        self.read(move |runtime, session| runtime.block_on(reader::deliveries(session, before, limit))).await
    }

    async fn workers(&self) -> Result<Vec<KnownWorker>, QueueError> {
        let now = self.core.clock.as_ref().map(|clock| clock());
        self.read(move |runtime, session| runtime.block_on(workers::all(session, now))).await
    }

    async fn gpu_leases(&self) -> Result<Vec<GpuLease>, QueueError> {
        self.read(|runtime, session| runtime.block_on(gpus::leases(session))).await
    }

    async fn run_log(&self, run: RunKey) -> Result<Option<RunLog>, QueueError> {
        self.read(move |runtime, session| runtime.block_on(logs::read(session, run))).await
    }

    async fn deliveries_of_guid(&self, guid: &str, limit: usize) -> Result<Vec<Delivery>, QueueError> {
        let guid = guid.to_owned();
        self.read(move |runtime, session| runtime.block_on(reader::deliveries_of_guid(session, &guid, limit)))
            .await
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, QueueError> {
        self.read(move |runtime, session| runtime.block_on(reader::delivery(session, id))).await
    }
}

/// When whoever could not be served is to try again.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// Between two claims that passed by a job, at most.
const LONGEST_PAUSE: Duration = Duration::from_millis(64);
