use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use swifthook_core::*;
use swifthook_queue::MemoryQueue;

/// What stands between a runner and the queue: it fails, or never answers, as a test wants.
pub(crate) struct Between {
    queue: Arc<MemoryQueue>,
    rule: Mutex<Rule>,
    events: Mutex<Vec<&'static str>>,
}

#[derive(Clone, Copy)]
enum Rule {
    Open,
    Fails,
    Silent,
    Swallows(fn(&Event) -> bool),
    /// Heartbeats of this kind take a while, whether or not somebody still waits for them.
    Delays(Duty),
}

impl Between {
    pub(crate) fn new(queue: Arc<MemoryQueue>) -> Arc<Self> {
        Arc::new(Self { queue, rule: Mutex::new(Rule::Open), events: Mutex::default() })
    }

    pub(crate) fn open(&self) {
        self.set(Rule::Open);
    }

    /// From now on every question fails.
    pub(crate) fn fail(&self) {
        self.set(Rule::Fails);
    }

    /// From now on no question is answered.
    pub(crate) fn fall_silent(&self) {
        self.set(Rule::Silent);
    }

    /// Events of this kind get lost on their way, and whoever sent one waits for ever.
    pub(crate) fn swallow(&self, kind: fn(&Event) -> bool) {
        self.set(Rule::Swallows(kind));
    }

    /// From now on heartbeats of this kind arrive three seconds later, though nobody waits for them any more.
    pub(crate) fn delay(&self, duty: Duty) {
        self.set(Rule::Delays(duty));
    }

    /// How often an event was to be written, by its words.
    pub(crate) fn events(&self, words: &str) -> usize {
        let events = self.events.lock().expect("nothing panics under this lock");
        events.iter().filter(|event| **event == words).count()
    }

    fn set(&self, rule: Rule) {
        *self.rule.lock().expect("nothing panics under this lock") = rule;
    }

    async fn pass(&self, event: Option<&Event>) -> Result<(), QueueError> {
        let rule = *self.rule.lock().expect("nothing panics under this lock");
        match (rule, event) {
            (Rule::Fails, _) => Err(QueueError::store("the store is out of order")),
            (Rule::Silent, _) => std::future::pending().await,
            (Rule::Swallows(kind), Some(event)) if kind(event) => std::future::pending().await,
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Intake for Between {
    async fn accept(&self, decided: &Decided) -> Result<Receipt, IntakeError> {
        self.queue.accept(decided).await
    }
}

#[async_trait]
impl JobQueue for Between {
    async fn claim(&self, worker: &Worker) -> Result<Option<Claimed>, QueueError> {
        self.pass(None).await?;
        self.queue.claim(worker).await
    }

    async fn apply(&self, lease: &Lease, event: Event) -> Result<Job, QueueError> {
        self.events.lock().expect("nothing panics under this lock").push(event.words());
        self.pass(Some(&event)).await?;
        self.queue.apply(lease, event).await
    }

    async fn command(&self, job: JobId, what: Command, who: &Actor) -> Result<Job, QueueError> {
        self.queue.command(job, what, who).await
    }

    async fn rerun(&self, job: JobId, rerun: Rerun, who: &Actor) -> Result<Job, QueueError> {
        self.queue.rerun(job, rerun, who).await
    }

    async fn known_jobs(&self, decided: &Decided) -> Result<Vec<Option<StoredJob>>, QueueError> {
        self.queue.known_jobs(decided).await
    }

    async fn renew(&self, leases: &[(Lease, Option<Progress>)]) -> Result<Vec<Renewal>, QueueError> {
        self.pass(None).await?;
        self.queue.renew(leases).await
    }

    async fn known_failures(&self, of: Fingerprint) -> Result<Vec<PastFailure>, QueueError> {
        self.queue.known_failures(of).await
    }

    async fn memory_estimate(&self, of: &Workload) -> Result<Option<MemoryEstimate>, QueueError> {
        self.queue.memory_estimate(of).await
    }

    async fn sweep(&self) -> Result<Swept, QueueError> {
        self.pass(None).await?;
        self.queue.sweep().await
    }

    async fn gpus(&self, machine: &str, worker: &Worker) -> Result<GpuBook, QueueError> {
        self.pass(None).await?;
        self.queue.gpus(machine, worker).await
    }

    async fn stranded(&self, host: &str) -> Result<Vec<Job>, QueueError> {
        self.pass(None).await?;
        self.queue.stranded(host).await
    }

    async fn give_back(&self, job: JobId, who: &Actor) -> Result<(), QueueError> {
        self.pass(None).await?;
        self.queue.give_back(job, who).await
    }

    async fn heartbeat(&self, beat: &Heartbeat) -> Result<(), QueueError> {
        self.pass(None).await?;
        let rule = *self.rule.lock().expect("nothing panics under this lock");
        let is_slow = matches!(rule, Rule::Delays(duty) if duty == beat.duty);
        let (queue, beat) = (self.queue.clone(), beat.clone());
        let arrives = tokio::spawn(async move {
            if is_slow {
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
            queue.heartbeat(&beat).await
        });
        arrives.await.map_err(QueueError::store)?
    }
}
