use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;
use swifthook_core::{
    Actor, Claimed, Command, CommitSha, Decided, Delivery, DeliveryId, Event, Fingerprint, GpuBook, GpuLease,
    Heartbeat, History, Identity, Intake, IntakeError, Job, JobFilter, JobId, JobQueue, KnownWorker, Lease,
    MemoryEstimate, PastFailure, Progress, PruneFrom, Pruned, QueueError, Receipt, RefName, Renewal,
    RepoName, Rerun, Retention, RunKey, RunLog, Stage, Stats, StoredJob, Swept, TimelineEntry, Upkeep,
    Worker, Workload,
};
use tokio::sync::oneshot::Receiver;
use tokio::sync::{Semaphore, watch};

use super::backup::{self, BackupError};
use super::config::{OpenError, Options};
use super::lock::{self, Lock};
use super::reader::{self, Readers};
use super::rows::RowError;
use super::transaction::Transaction;
use super::work::Question;
use super::writer::{Message, Writer};
use super::{gpus, lists, logs, schema, tips};
use crate::clock::Clock;
use crate::ids::Ids;
use crate::keeper::{Keeper, STEPS_A_SWEEP};
use crate::message::{self, MessageStore, Stored};
use crate::repeats::Repeats;
use crate::rules::{Rules, Submission};
use crate::store::Store;
use crate::tips::{Compared, Look, Move, TipStore, Tips};
use crate::workers::Workers;

/// A durable queue in one file of this machine, for one process.
///
/// Reads run on tokio's blocking threads: its methods are to be called within a tokio runtime.
pub struct SqliteQueue {
    messages: Sender<Message>,
    /// How much may be under way, so that a slow disk does not fill the memory: whoever is too much waits.
    room: Semaphore,
    readers: Arc<Readers>,
    ids: Arc<Ids>,
    clock: Clock,
    keeper: Keeper,
    news: watch::Sender<u64>,
    workers: Workers,
    repeats: Repeats,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl SqliteQueue {
    /// Opens a store, makes it if there is none, and brings its schema up to date.
    ///
    /// # Errors
    ///
    /// When another process has it, a newer version has written it, it is something else, or the file system
    /// refuses.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let lock = Lock::take(path)?;
        let (messages, received) = channel();
        let writer = Writer::open(path, options.clone())?;
        let (ids, news) = (writer.ids.clone(), writer.news.clone());
        let thread = std::thread::Builder::new().name("swifthook-store".into()).spawn(move || {
            writer.serve(&received);
            // Only when nothing more can be written is the store another's.
            drop(lock);
        });
        let thread = thread.map_err(|source| OpenError::Io { path: path.into(), source })?;
        Ok(Self {
            messages,
            room: Semaphore::new(UNDER_WAY),
            readers: Arc::new(Readers::new(path.into())),
            ids,
            clock: options.clock,
            keeper: Keeper::new(),
            news,
            workers: Workers::default(),
            repeats: Repeats::default(),
            writer: Mutex::new(Some(thread)),
        })
    }

    /// Copies the store at `store` into a new `file`, as it is at one moment, while whoever has it goes on. The copy is
    /// checked, synced and for its user alone; it has no log beside it, and no room that is empty. Answers how many
    /// bytes it has.
    ///
    /// # Errors
    ///
    /// When there is such a file, the store cannot be read, or the copy cannot be written; nothing of it is left then.
    pub fn backup(store: impl AsRef<Path>, file: impl AsRef<Path>) -> Result<u64, BackupError> {
        backup::backup(store.as_ref(), file.as_ref())
    }

    /// Paths of the store at `store` and of all files that stand beside it while it is in use, whether they are there or not:
    /// whoever may open one of them can read the store, or keep it from others.
    #[must_use]
    pub fn files(store: impl AsRef<Path>) -> Vec<PathBuf> {
        lock::files(store.as_ref())
    }

    /// The version of the schema of a store, and the one that this software brings it to. The store is only read.
    ///
    /// # Errors
    ///
    /// When there is none, it is something else, or a newer version has written it.
    pub fn schema(store: impl AsRef<Path>) -> Result<(u32, u32), OpenError> {
        Ok((schema::check(store.as_ref())?, schema::newest()))
    }

    /// Changes whenever there is something for a worker to look at: a hint, with polling behind it.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Writes more than most pushes, as durable as one and refused where one is, and takes it back.
    ///
    /// # Errors
    ///
    /// If the store could not take a new push: most often its disk is full.
    pub async fn check_writable(&self) -> Result<(), QueueError> {
        let run = |sql: &'static str| {
            move |rules: &mut Rules<'_, Transaction<'_>>| {
                let written = rules.store.connection.execute(sql, ());
                written.map(drop).map_err(|error| QueueError::from(RowError::from(error)))
            }
        };
        // In two transactions: SQLite does not write pages that are free again when the first one ends.
        let put = "INSERT OR REPLACE INTO names (name) VALUES (hex(zeroblob(24576)))";
        self.send(Question::of_intake(run(put))).await?;
        let take_back = "DELETE FROM names WHERE name = hex(zeroblob(24576))";
        self.send(Question::new(run(take_back))).await
    }

    /// Writes what is left and lets others have the file. Blocks until that is done; what is to be written
    /// afterwards is refused. Dropping does the same.
    pub fn close(&self) {
        let thread = self.writer.lock().expect("nothing panics under this lock").take();
        if let Some(thread) = thread {
            // If it has ended by itself there is nobody to tell.
            let _ = self.messages.send(Message::End);
            if thread.join().is_err() {
                tracing::error!("the thread that writes the store had panicked");
            }
        }
    }

    async fn ask<T, F>(&self, what: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnMut(&mut Rules<'_, Transaction<'_>>) -> Result<T, QueueError> + Send + 'static,
    {
        self.send(Question::new(what)).await
    }

    async fn send<T, F>(
        &self,
        (question, answer): (Question<T, F>, Receiver<Result<T, QueueError>>),
    ) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnMut(&mut Rules<'_, Transaction<'_>>) -> Result<T, QueueError> + Send + 'static,
    {
        let closed = || QueueError::store("the store is closed");
        let _room = self.room.acquire().await.map_err(|_| closed())?;
        self.messages.send(Message::Do(Box::new(question))).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    async fn read<T, F>(&self, what: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, RowError> + Send + 'static,
    {
        let readers = self.readers.clone();
        let read = tokio::task::spawn_blocking(move || readers.read(what));
        read.await.map_err(QueueError::store)?
    }
}

impl Drop for SqliteQueue {
    fn drop(&mut self) {
        self.close();
    }
}

#[async_trait]
impl Intake for SqliteQueue {
    async fn accept(&self, decided: &Decided) -> Result<Receipt, IntakeError> {
        let now = (self.clock)();
        let mut submission = Submission::new(decided, self.ids.delivery(now))?;
        let body = self.repeats.recognize(&mut submission, now);
        if let (Some(delivery), true) = (submission.stands_for, submission.offers.is_empty()) {
            return Ok(Receipt::Stored { delivery, jobs: Vec::new() });
        }
        let stored = self.send(Question::of_intake(move |rules| rules.accept(&submission))).await;
        let receipt = stored.map_err(|error| {
            IntakeError::passing("the push could not be stored").because(error).after(TRY_AGAIN)
        })?;
        self.repeats.stored(body, &receipt, now);
        Ok(receipt)
    }
}

#[async_trait]
impl MessageStore for SqliteQueue {
    async fn store(&self, message: &message::Message) -> Result<Stored, QueueError> {
        let submission = message.submission()?;
        self.ask(move |rules| rules.accept_once(&submission)).await
    }
}

#[async_trait]
impl TipStore for SqliteQueue {
    async fn tips(&self, repository: &RepoName) -> Result<Option<Tips>, QueueError> {
        let repository = repository.clone();
        self.read(move |connection| tips::read(connection, &repository)).await
    }

    async fn moves(&self, repository: &RepoName, refs: &[RefName]) -> Result<Vec<Vec<Move>>, QueueError> {
        let (repository, refs) = (repository.clone(), refs.to_vec());
        let read = move |connection: &Connection| {
            refs.iter().map(|name| tips::moves(connection, &repository, name)).collect()
        };
        self.read(read).await
    }

    async fn compared(&self, compared: &Compared) -> Result<Option<Vec<Option<Receipt>>>, QueueError> {
        let look = Look::new(compared).map_err(QueueError::store)?;
        self.send(Question::of_intake(move |rules| rules.compared(&look))).await
    }
}

#[async_trait]
impl JobQueue for SqliteQueue {
    async fn claim(&self, worker: &Worker) -> Result<Option<Claimed>, QueueError> {
        let worker = worker.clone();
        self.ask(move |rules| rules.claim(&worker)).await
    }

    async fn apply(&self, lease: &Lease, event: Event) -> Result<Job, QueueError> {
        let lease = *lease;
        self.ask(move |rules| rules.apply(&lease, event.clone())).await
    }

    async fn command(&self, job: JobId, what: Command, who: &Actor) -> Result<Job, QueueError> {
        let who = who.clone();
        self.ask(move |rules| rules.command(job, what, &who)).await
    }

    async fn rerun(&self, job: JobId, rerun: Rerun, who: &Actor) -> Result<Job, QueueError> {
        let who = who.clone();
        self.ask(move |rules| rules.rerun(job, rerun.clone(), &who)).await
    }

    async fn known_jobs(&self, decided: &Decided) -> Result<Vec<Option<StoredJob>>, QueueError> {
        let submission = Submission::to_look_up(decided)?;
        self.ask(move |rules| rules.known_jobs(&submission)).await
    }

    async fn renew(&self, leases: &[(Lease, Option<Progress>)]) -> Result<Vec<Renewal>, QueueError> {
        let leases = leases.to_vec();
        self.ask(move |rules| leases.iter().map(|(lease, progress)| rules.renew(lease, *progress)).collect())
            .await
    }

    async fn known_failures(&self, of: Fingerprint) -> Result<Vec<PastFailure>, QueueError> {
        self.read(move |connection| reader::known_failures(connection, of)).await
    }

    async fn known_heads(&self, of: &Job) -> Result<Vec<CommitSha>, QueueError> {
        let of = of.clone();
        self.read(move |connection| reader::known_heads(connection, &of)).await
    }

    async fn memory_estimate(&self, of: &Workload) -> Result<Option<MemoryEstimate>, QueueError> {
        let of = of.clone();
        self.read(move |connection| reader::memory_estimate(connection, &of)).await
    }

    async fn sweep(&self) -> Result<Swept, QueueError> {
        let mut swept = self.ask(|rules| rules.sweep()).await?;
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
        let (machine, worker) = (machine.to_owned(), worker.clone());
        self.ask(move |rules| rules.gpu_book(&machine, &worker)).await
    }

    async fn stranded(&self, host: &str) -> Result<Vec<Job>, QueueError> {
        let host = host.to_owned();
        self.ask(move |rules| rules.store.stranded(&host)).await
    }

    async fn give_back(&self, job: JobId, who: &Actor) -> Result<(), QueueError> {
        let who = who.0.clone();
        self.ask(move |rules| rules.give_back(job, &who)).await
    }

    async fn lease_port(
        &self,
        lease: &Lease,
        machine: &str,
        avoid: &[u16],
    ) -> Result<Option<u16>, QueueError> {
        let (lease, machine, avoid) = (*lease, machine.to_owned(), avoid.to_vec());
        self.ask(move |rules| rules.lease_port(&lease, &machine, &avoid)).await
    }

    async fn heartbeat(&self, beat: &Heartbeat) -> Result<(), QueueError> {
        self.workers.heard(beat, (self.clock)());
        Ok(())
    }

    async fn keep_log(&self, log: &RunLog) -> Result<(), QueueError> {
        let log = log.clone();
        self.ask(move |rules| Ok(logs::keep(rules.store.connection, &log)?)).await
    }
}

#[async_trait]
impl Upkeep for SqliteQueue {
    fn retain(&self, retention: Retention) {
        self.keeper.set(retention);
    }

    async fn prune(&self, retention: Retention, from: PruneFrom, is_dry: bool) -> Result<Pruned, QueueError> {
        self.ask(move |rules| rules.prune(retention, from, is_dry)).await
    }

    async fn stats(&self) -> Result<Stats, QueueError> {
        self.read(reader::stats).await
    }
}

#[async_trait]
impl History for SqliteQueue {
    async fn identities(&self) -> Result<Vec<Identity>, QueueError> {
        self.read(reader::identities).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, QueueError> {
        self.read(move |connection| reader::job(connection, id)).await
    }

    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>, QueueError> {
        let filter = filter.clone();
        self.read(move |connection| lists::jobs(connection, &filter)).await
    }

    async fn open_jobs(&self) -> Result<Vec<(Stage, u64)>, QueueError> {
        self.read(reader::open_jobs).await
    }

    async fn timeline(&self, id: JobId) -> Result<Vec<TimelineEntry>, QueueError> {
        self.read(move |connection| reader::timeline(connection, id)).await
    }

    async fn deliveries(
        &self,
        before: Option<DeliveryId>,
        limit: usize,
    ) -> Result<Vec<Delivery>, QueueError> {
        self.read(move |connection| reader::deliveries(connection, before, limit)).await
    }

    async fn workers(&self) -> Result<Vec<KnownWorker>, QueueError> {
        Ok(self.workers.all((self.clock)()))
    }

    async fn gpu_leases(&self) -> Result<Vec<GpuLease>, QueueError> {
        self.read(|connection| gpus::leases(connection, None)).await
    }

    async fn run_log(&self, run: RunKey) -> Result<Option<RunLog>, QueueError> {
        self.read(move |connection| logs::read(connection, run)).await
    }

    async fn deliveries_of_guid(&self, guid: &str, limit: usize) -> Result<Vec<Delivery>, QueueError> {
        let guid = guid.to_owned();
        self.read(move |connection| reader::deliveries_of_guid(connection, &guid, limit)).await
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, QueueError> {
        self.read(move |connection| reader::delivery(connection, id)).await
    }
}

/// How many requests may be under way.
const UNDER_WAY: usize = 1_024;
/// When whoever could not be served is to try again.
const TRY_AGAIN: Duration = Duration::from_secs(5);
