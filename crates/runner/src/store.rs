use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use swifthook_core::{
    Actor, Claimed, CommitSha, Event, Fingerprint, GpuBook, Heartbeat, Job, JobId, JobQueue, Lease,
    MemoryEstimate, PastFailure, Progress, QueueError, Renewal, Swept, Worker, Workload,
};

use crate::guard::guarded;

/// The queue, and whether it answers: an outage is logged when it begins and when it is over, and not by each of those
/// who wait for its end.
pub(crate) struct Store {
    queue: Arc<dyn JobQueue>,
    is_down: AtomicBool,
}

impl Store {
    pub(crate) fn new(queue: Arc<dyn JobQueue>) -> Self {
        Self { queue, is_down: AtomicBool::new(false) }
    }

    pub(crate) fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Relaxed)
    }

    pub(crate) async fn claim(&self, worker: &Worker) -> Result<Option<Claimed>, QueueError> {
        self.watched(async { self.queue.claim(worker).await }).await
    }

    pub(crate) async fn apply(&self, lease: &Lease, event: Event) -> Result<Job, QueueError> {
        self.watched(async { self.queue.apply(lease, event).await }).await
    }

    pub(crate) async fn known_failures(&self, of: Fingerprint) -> Result<Vec<PastFailure>, QueueError> {
        self.watched(async { self.queue.known_failures(of).await }).await
    }

    pub(crate) async fn known_heads(&self, of: &Job) -> Result<Vec<CommitSha>, QueueError> {
        self.watched(async { self.queue.known_heads(of).await }).await
    }

    pub(crate) async fn memory_estimate(&self, of: &Workload) -> Result<Option<MemoryEstimate>, QueueError> {
        self.watched(async { self.queue.memory_estimate(of).await }).await
    }

    pub(crate) async fn renew(
        &self,
        leases: &[(Lease, Option<Progress>)],
    ) -> Result<Vec<Renewal>, QueueError> {
        self.watched(async { self.queue.renew(leases).await }).await
    }

    pub(crate) async fn sweep(&self) -> Result<Swept, QueueError> {
        self.watched(async { self.queue.sweep().await }).await
    }

    pub(crate) async fn gpus(&self, machine: &str, worker: &Worker) -> Result<GpuBook, QueueError> {
        self.watched(async { self.queue.gpus(machine, worker).await }).await
    }

    pub(crate) async fn lease_port(
        &self,
        lease: &Lease,
        machine: &str,
        avoid: &[u16],
    ) -> Result<Option<u16>, QueueError> {
        self.watched(async { self.queue.lease_port(lease, machine, avoid).await }).await
    }

    pub(crate) async fn stranded(&self, host: &str) -> Result<Vec<Job>, QueueError> {
        self.watched(async { self.queue.stranded(host).await }).await
    }

    pub(crate) async fn give_back(&self, job: JobId, who: &Actor) -> Result<(), QueueError> {
        self.watched(async { self.queue.give_back(job, who).await }).await
    }

    pub(crate) async fn heartbeat(&self, beat: &Heartbeat) -> Result<(), QueueError> {
        // Says nothing of the store: a queue may keep none of it.
        guarded(async { self.queue.heartbeat(beat).await }).await
    }

    async fn watched<T>(&self, call: impl Future<Output = Result<T, QueueError>>) -> Result<T, QueueError> {
        let answer = guarded(call).await;
        match &answer {
            Err(error @ QueueError::Store { source, is_permanent: false }) => {
                if !self.is_down.swap(true, Ordering::Relaxed) {
                    tracing::warn!(cause = %source, "{error}; runs go on, and it is asked again until it does");
                }
            }
            _ => {
                if self.is_down.swap(false, Ordering::Relaxed) {
                    tracing::info!("the store answers again");
                }
            }
        }
        answer
    }
}
