//! What stands between a worker and everybody else.

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use swifthook_core::*;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep};

use super::random::Random;

/// Delays what passes, in both directions; shut, it holds it back. A worker behind a shut gate is one that sleeps: what
/// it asked before may have been done, and it does not know.
pub(super) struct Gate {
    random: Mutex<Random>,
    /// Those who wait before the gate, in the order in which they came; `None` while it is open. A watch would let them
    /// through in an order of its own, and a seed would not tell the whole story.
    waiting: Mutex<Option<Vec<oneshot::Sender<()>>>>,
    store_fails: watch::Receiver<bool>,
    /// The leases that whoever is behind it was given.
    leases: Mutex<HashMap<Lease, Held>>,
    /// What must never be.
    wrongs: Mutex<Vec<String>>,
}

/// A lease, by what its worker was told of it.
#[derive(Clone, Copy)]
struct Held {
    lasts: Duration,
    /// Counted from when it was asked for.
    until: Instant,
    /// When it was told that another worker has the job.
    lost_at: Option<Instant>,
}

impl Gate {
    pub(super) fn new(random: Random, store_fails: watch::Receiver<bool>) -> Self {
        Self {
            random: Mutex::new(random),
            waiting: Mutex::new(None),
            store_fails,
            leases: Mutex::default(),
            wrongs: Mutex::default(),
        }
    }

    pub(super) fn shut(&self) {
        self.waiting().get_or_insert_default();
    }

    pub(super) fn open(&self) {
        for waiting in self.waiting().take().into_iter().flatten() {
            // Whoever is gone by now needs no answer.
            let _ = waiting.send(());
        }
    }

    /// What was seen here that must never be.
    pub(super) fn wrongs(&self) -> Vec<String> {
        self.wrongs.lock().expect("nothing panics under this lock").clone()
    }

    /// Whoever has lost a job to another worker can write nothing more of it.
    fn look(&self, lease: &Lease, answer: &Result<Job, QueueError>) {
        if let Ok(job) = answer
            && job.state.epoch != lease.epoch
        {
            self.wrong(format!(
                "a worker of epoch {} wrote {} of epoch {}",
                lease.epoch, job.id, job.state.epoch
            ));
        }
    }

    fn wrong(&self, what: String) {
        self.wrongs.lock().expect("nothing panics under this lock").push(what);
    }

    fn leases(&self) -> MutexGuard<'_, HashMap<Lease, Held>> {
        self.leases.lock().expect("nothing panics under this lock")
    }

    /// Somebody else is to be behind it. Whoever was leaves, and of that is to see that nothing new begins, and not more.
    pub(super) fn forget(&self) {
        self.leases().clear();
    }

    /// What a worker may know once it has this answer to what it asked then.
    fn given(&self, lease: Lease, lasts: Duration, asked_at: Instant) {
        self.leases().insert(lease, Held { lasts, until: asked_at + lasts, lost_at: None });
    }

    fn renewed(&self, lease: &Lease, renewal: &Renewal, asked_at: Instant) {
        let mut leases = self.leases();
        let Some(held) = leases.get_mut(lease) else { return };
        match renewal {
            Renewal::Lost => held.lost_at = held.lost_at.or(Some(Instant::now())),
            Renewal::Over => {}
            _ => held.until = asked_at + held.lasts,
        }
    }

    /// Whoever submits has a lease of the job that is certainly not over, though the launcher would turn away what came
    /// too late.
    fn look_at_submission(&self, key: &RunKey) {
        let until =
            self.leases().iter().filter(|(lease, _)| lease.job == key.job).map(|(_, held)| held.until).max();
        if until.is_some_and(|until| until <= Instant::now()) {
            self.wrong(format!(
                "{key} is submitted by a worker that cannot know whether it still has the job"
            ));
        }
    }

    /// Whoever was told that it has lost a job does nothing more for it, though it could write nothing. At that very moment
    /// it may be about to. Letting go of it is in order.
    fn look_at_event(&self, lease: &Lease, event: &Event) {
        let lost_at = self.leases().get(lease).and_then(|held| held.lost_at);
        if lost_at.is_some_and(|at| at < Instant::now()) && !matches!(event, Event::Release) {
            self.wrong(format!("a worker goes on with {}, which it knows it has lost", lease.job));
        }
    }

    fn random(&self) -> MutexGuard<'_, Random> {
        self.random.lock().expect("nothing panics under this lock")
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Vec<oneshot::Sender<()>>>> {
        self.waiting.lock().expect("nothing panics under this lock")
    }

    /// Half of what passes is not delayed at all: a timer for each would be most of what a world costs.
    fn delay(&self) -> Duration {
        let mut random = self.random();
        let longest = match random.below(40) {
            0 => 3_000,
            1..=19 => 20,
            _ => 0,
        };
        random.within(Duration::ZERO..Duration::from_millis(longest))
    }

    fn detour(&self) -> Duration {
        let mut random = self.random();
        let longest = if random.once_in(6) { 90 } else { 0 };
        random.within(Duration::ZERO..Duration::from_secs(longest))
    }

    async fn pass(&self) {
        pause(self.delay()).await;
        let opens = self.waiting().as_mut().map(|waiting| {
            let (send, receive) = oneshot::channel();
            waiting.push(send);
            receive
        });
        if let Some(opens) = opens {
            opens.await.expect("the gate outlives whoever stands before it");
        }
    }

    async fn through<T>(&self, call: impl Future<Output = T>) -> T {
        self.pass().await;
        let answer = call.await;
        self.pass().await;
        answer
    }

    /// A store that is out of order answers nothing, or does what was asked and cannot say so.
    async fn through_to_store<T>(
        &self,
        call: impl Future<Output = Result<T, QueueError>>,
    ) -> Result<T, QueueError> {
        self.pass().await;
        let fails = *self.store_fails.borrow();
        if fails && !self.random().once_in(3) {
            return Err(QueueError::store("the store is out of order"));
        }
        let answer = call.await;
        self.pass().await;
        if fails { Err(QueueError::store("the connection was lost")) } else { answer }
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

/// Somebody on the other side of a gate.
pub(super) struct Gated<T: ?Sized> {
    pub(super) gate: Arc<Gate>,
    pub(super) other: Arc<T>,
}

#[async_trait]
impl Intake for Gated<dyn JobQueue> {
    async fn accept(&self, decided: &Decided) -> Result<Receipt, IntakeError> {
        self.gate.through(self.other.accept(decided)).await
    }
}

#[async_trait]
impl JobQueue for Gated<dyn JobQueue> {
    async fn claim(&self, worker: &Worker) -> Result<Option<Claimed>, QueueError> {
        let asked_at = Instant::now();
        let claimed = self.gate.through_to_store(self.other.claim(worker)).await;
        if let Ok(Some(claimed)) = &claimed {
            self.gate.given(claimed.lease, worker.lease, asked_at);
        }
        claimed
    }

    async fn apply(&self, lease: &Lease, event: Event) -> Result<Job, QueueError> {
        self.gate.look_at_event(lease, &event);
        let apply = async {
            let answer = self.other.apply(lease, event).await;
            self.gate.look(lease, &answer);
            answer
        };
        self.gate.through_to_store(apply).await
    }

    async fn command(&self, job: JobId, what: Command, who: &Actor) -> Result<Job, QueueError> {
        self.gate.through_to_store(self.other.command(job, what, who)).await
    }

    async fn rerun(&self, job: JobId, rerun: Rerun, who: &Actor) -> Result<Job, QueueError> {
        self.gate.through_to_store(self.other.rerun(job, rerun, who)).await
    }

    async fn known_jobs(&self, decided: &Decided) -> Result<Vec<Option<StoredJob>>, QueueError> {
        self.gate.through_to_store(self.other.known_jobs(decided)).await
    }

    async fn renew(&self, leases: &[(Lease, Option<Progress>)]) -> Result<Vec<Renewal>, QueueError> {
        let asked_at = Instant::now();
        let renewals = self.gate.through_to_store(self.other.renew(leases)).await;
        for ((lease, _), renewal) in leases.iter().zip(renewals.iter().flatten()) {
            self.gate.renewed(lease, renewal, asked_at);
        }
        renewals
    }

    async fn known_failures(&self, of: Fingerprint) -> Result<Vec<PastFailure>, QueueError> {
        self.gate.through_to_store(self.other.known_failures(of)).await
    }

    async fn known_heads(&self, of: &Job) -> Result<Vec<CommitSha>, QueueError> {
        self.gate.through_to_store(self.other.known_heads(of)).await
    }

    async fn memory_estimate(&self, of: &Workload) -> Result<Option<MemoryEstimate>, QueueError> {
        self.gate.through_to_store(self.other.memory_estimate(of)).await
    }

    async fn sweep(&self) -> Result<Swept, QueueError> {
        self.gate.through_to_store(self.other.sweep()).await
    }

    async fn gpus(&self, machine: &str, worker: &Worker) -> Result<GpuBook, QueueError> {
        self.gate.through_to_store(self.other.gpus(machine, worker)).await
    }

    async fn stranded(&self, host: &str) -> Result<Vec<Job>, QueueError> {
        self.gate.through_to_store(self.other.stranded(host)).await
    }

    async fn give_back(&self, job: JobId, who: &Actor) -> Result<(), QueueError> {
        self.gate.through_to_store(self.other.give_back(job, who)).await
    }
}

#[async_trait]
impl TrainingLauncher for Gated<dyn TrainingLauncher> {
    fn capabilities(&self) -> Capabilities {
        self.other.capabilities()
    }

    /// On its way it is out of the worker's hands: it arrives though the worker is dead by then, and at times it takes
    /// its time.
    async fn submit(&self, key: &RunKey, run: &RunSpec) -> Result<RunHandle, LaunchError> {
        self.gate.look_at_submission(key);
        let (gate, other, key, run) = (self.gate.clone(), self.other.clone(), *key, run.clone());
        let way = self.gate.detour();
        let on_its_way = tokio::spawn(async move {
            gate.pass().await;
            pause(way).await;
            other.submit(&key, &run).await
        });
        let answer = on_its_way.await;
        self.gate.pass().await;
        answer.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    async fn find(&self, key: &RunKey) -> Result<Option<RunHandle>, LaunchError> {
        self.gate.through(self.other.find(key)).await
    }

    async fn forbid(&self, key: &RunKey) -> Result<Option<RunHandle>, LaunchError> {
        self.gate.through(self.other.forbid(key)).await
    }

    async fn poll(&self, run: &RunHandle) -> Result<RunStatus, LaunchError> {
        self.gate.through(self.other.poll(run)).await
    }

    async fn stop(&self, run: &RunHandle, how: Stop) -> Result<(), LaunchError> {
        self.gate.through(self.other.stop(run, how)).await
    }

    async fn progress(&self, run: &RunHandle) -> Result<Progress, LaunchError> {
        self.gate.through(self.other.progress(run)).await
    }

    async fn pulse(&self, run: &RunHandle) -> Result<Pulse, LaunchError> {
        self.gate.through(self.other.pulse(run)).await
    }

    async fn checkpoint(&self, run: &RunHandle) -> Result<Option<Checkpoint>, LaunchError> {
        self.gate.through(self.other.checkpoint(run)).await
    }

    async fn holds(&self, checkpoint: &Checkpoint) -> Result<bool, LaunchError> {
        self.gate.through(self.other.holds(checkpoint)).await
    }
}

#[async_trait]
impl Workspace for Gated<dyn Workspace> {
    async fn checkout(
        &self,
        repository: &RepoName,
        ref_name: &RefName,
        commit: &CommitSha,
        with: &Checkout,
        directory: &Path,
    ) -> Result<PathBuf, WorkspaceError> {
        pause(self.gate.detour()).await;
        self.gate.through(self.other.checkout(repository, ref_name, commit, with, directory)).await
    }

    async fn diff(
        &self,
        repository: &RepoName,
        ref_name: &RefName,
        before: Option<&CommitSha>,
        head: &CommitSha,
    ) -> Result<ChangeSet, WorkspaceError> {
        self.gate.through(self.other.diff(repository, ref_name, before, head)).await
    }

    async fn compare(&self, asked: &Comparison<'_>) -> Result<ChangeSet, WorkspaceError> {
        self.gate.through(self.other.compare(asked)).await
    }

    async fn read_file(
        &self,
        repository: &RepoName,
        ref_name: &RefName,
        commit: &CommitSha,
        path: &str,
        most_bytes: usize,
    ) -> Result<Vec<u8>, WorkspaceError> {
        self.gate.through(self.other.read_file(repository, ref_name, commit, path, most_bytes)).await
    }

    async fn discard(&self, repository: &RepoName, directory: &Path) -> Result<(), WorkspaceError> {
        self.gate.through(self.other.discard(repository, directory)).await
    }
}
