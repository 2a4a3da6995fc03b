//! What the rules need of a store, within one transaction.

use std::sync::Arc;
use std::time::Duration;

use swifthook_core::{
    Change, CommitSha, Delivery, DeliveryId, GpuGrant, GpuLease, Identity, Job, JobId, Progress, QueueError,
    RepoName, RunKey, Source, Stage, TimelineEntry, Timestamp,
};

use crate::chain::{Chains, Place};
use crate::tips::{Move, Tips};

/// One transaction of a store. The rules refuse before they write, so an error other than
/// [`QueueError::Store`] has changed nothing.
pub(crate) trait Store {
    /// The last training of a change, whatever `change.run` says.
    fn latest(&mut self, change: &Change) -> Result<Option<Latest>, QueueError>;
    fn set_latest(&mut self, change: &Change, latest: &Latest) -> Result<(), QueueError>;
    /// What became of a change when a push brought it that moved the ref from `before`, where another push has taken the
    /// place of the [latest](Self::latest) since.
    fn decision(&mut self, change: &Change, before: Option<&CommitSha>)
    -> Result<Option<Latest>, QueueError>;
    fn set_decision(
        &mut self,
        change: &Change,
        before: Option<&CommitSha>,
        decided: &Latest,
    ) -> Result<(), QueueError>;
    /// All of these of a change, by where its ref was before.
    fn decisions(&mut self, change: &Change) -> Result<Decisions, QueueError>;

    fn entry(&mut self, id: JobId) -> Result<Option<Entry>, QueueError>;
    fn insert(&mut self, job: &Job) -> Result<(), QueueError>;
    /// Writes what changes in a job's life: its state, what took its place, its progress.
    fn update(&mut self, job: &Job) -> Result<(), QueueError>;
    fn set_progress(&mut self, id: JobId, progress: Progress) -> Result<(), QueueError>;
    fn set_owner(&mut self, id: JobId, owner: Option<&Owner>) -> Result<(), QueueError>;
    fn note(&mut self, id: JobId, entry: TimelineEntry) -> Result<(), QueueError>;
    /// The id under which a receipt that has brought one is to be kept; `None` if it is kept already.
    fn free_id(&mut self, id: DeliveryId) -> Result<Option<DeliveryId>, QueueError>;
    /// Keeps a receipt, with the jobs that it led to, and those of them that were known before.
    fn record(&mut self, delivery: &Delivery, jobs: &[JobId], known: &[JobId]) -> Result<(), QueueError>;

    /// Keeps the number of a repository, if it is not kept.
    fn identify(&mut self, identity: &Identity) -> Result<(), QueueError>;

    /// How refs moved, by the receipts.
    fn chains(&mut self) -> &mut Chains;
    /// Jobs of a group that have not ended, or have run: at least those that a change pushed at `pushed_at` could
    /// be newer or older than. Where the time cannot tell only the chain can, so these may be left out unless
    /// `is_chained`.
    fn rivals(
        &mut self,
        group: &str,
        pushed_at: Option<Timestamp>,
        is_chained: bool,
    ) -> Result<Vec<Rival>, QueueError>;

    /// Where the refs of a repository stood when somebody last looked.
    fn tips(&mut self, repository: &RepoName) -> Result<Option<Tips>, QueueError>;
    fn set_tips(&mut self, repository: &RepoName, tips: &Tips) -> Result<(), QueueError>;
    /// The last moves of a ref that receipts tell of, the newest first.
    fn moves(&mut self, place: &Place) -> Result<Vec<Move>, QueueError>;

    /// The oldest active job without a living lease that a worker on `host` can answer for.
    fn orphan(&mut self, now: Timestamp, host: &str) -> Result<Option<Entry>, QueueError>;
    /// The first queued job, by its turn, whose time has come, that needs no other label than those of `seeker` and no
    /// other host than its own, and in whose group nothing is active or claimed. What waits for GPUs is due [`HEAD_START`] later for those
    /// without.
    fn due(&mut self, now: Timestamp, seeker: Seeker<'_>) -> Result<Option<Entry>, QueueError>;
    /// The oldest job that waits for a diff, nobody's and due.
    fn undiffed(&mut self, now: Timestamp) -> Result<Option<Entry>, QueueError>;
    /// Jobs whose lease has run out and that nobody has said so of yet.
    fn overdue(&mut self, now: Timestamp) -> Result<Vec<Entry>, QueueError>;

    /// Leases GPUs to an attempt. Whoever calls has seen that they are free; that two do so at once a store has to
    /// refuse, as a conflict that is tried again.
    fn lease_gpus(&mut self, run: RunKey, grant: &GpuGrant) -> Result<(), QueueError>;
    /// Ends all leases of a job.
    fn free_gpus(&mut self, job: JobId) -> Result<(), QueueError>;
    /// Who has which GPUs, of one machine or of all, by machine and GPU.
    fn gpu_leases(&mut self, machine: Option<&str>) -> Result<Vec<GpuLease>, QueueError>;
    /// Whether a job has GPUs.
    fn has_gpus(&mut self, job: JobId) -> Result<bool, QueueError>;
    /// Queued jobs that wait for GPUs, whether due or not, in whose group nothing is active, by their turns.
    fn gpu_waiters(&mut self) -> Result<Vec<Job>, QueueError>;
    /// Jobs at their end that were given up or have GPUs, and of whose run `host` alone can tell, or any.
    fn stranded(&mut self, host: &str) -> Result<Vec<Job>, QueueError>;

    /// The ports of a machine that attempts have.
    fn ports(&mut self, machine: &str) -> Result<Vec<u16>, QueueError>;
    /// Leases a port to an attempt. Whoever calls has seen that it is free; that two do so at once a store has to refuse,
    /// as a conflict that is tried again.
    fn lease_port(&mut self, machine: &str, port: u16, run: RunKey) -> Result<(), QueueError>;
    /// Ends the leases of a job.
    fn free_ports(&mut self, job: JobId) -> Result<(), QueueError>;

    /// The ids of jobs that came to this end and were made before `made_before`, after the job `after`, the oldest
    /// first. What somebody else works on may be left out.
    fn ended(
        &mut self,
        stage: Stage,
        after: Option<JobId>,
        made_before: Timestamp,
        limit: usize,
    ) -> Result<Vec<JobId>, QueueError>;
    /// Removes a job, with its timeline and whatever lease is left of it.
    fn remove(&mut self, id: JobId) -> Result<(), QueueError>;
    /// Deliveries that were recorded before `before`, after the delivery `after`, the oldest first, with their
    /// jobs where these can be read.
    fn old_deliveries(
        &mut self,
        after: Option<DeliveryId>,
        before: Timestamp,
        limit: usize,
    ) -> Result<OldDeliveries, QueueError>;
    fn remove_delivery(&mut self, id: DeliveryId) -> Result<(), QueueError>;
    /// Whether a job is there, readable or not.
    fn has_job(&mut self, id: JobId) -> Result<bool, QueueError>;
}

/// Who looks for work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seeker<'a> {
    pub(crate) labels: &'a [Arc<str>],
    pub(crate) host: &'a str,
    pub(crate) has_gpus: bool,
}

/// How much sooner those with GPUs may have what waits for GPUs.
pub(crate) const HEAD_START: Duration = Duration::from_secs(30);

/// What became of a change for each push that brought it, by where its ref was before.
pub(crate) type Decisions = Vec<(Option<CommitSha>, Latest)>;

/// Deliveries, each with its jobs where these can be read.
pub(crate) type OldDeliveries = Vec<(DeliveryId, Option<Vec<JobId>>)>;

/// A job, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) job: Job,
    pub(crate) owner: Option<Owner>,
}

/// The worker that has a job.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) worker: Arc<str>,
    pub(crate) until: Timestamp,
    pub(crate) lasts: Duration,
    /// Whether the timeline says that its time ran out.
    pub(crate) is_overdue: bool,
}

/// The last training of a change.
#[derive(Clone, Debug)]
pub(crate) struct Latest {
    pub(crate) job: JobId,
    /// The highest number that a training of the change has.
    pub(crate) run: u32,
    /// How many trainings of the change came about by a redelivery.
    pub(crate) redeliveries: u32,
    /// True if a training of the change had begun before this one, or this one had when its job was removed.
    pub(crate) has_trained: bool,
    /// How it ended, where its job is no more.
    pub(crate) removed: Option<Removed>,
}

/// What is kept of a job that was removed: what decides whether its change may train again.
#[derive(Clone, Debug)]
pub(crate) struct Removed {
    pub(crate) stage: Stage,
    pub(crate) source: Source,
    /// Where the ref was before the push that it came of.
    pub(crate) before: Option<CommitSha>,
}

/// What decides between two jobs of a group.
#[derive(Clone, Debug)]
pub(crate) struct Rival {
    pub(crate) id: JobId,
    pub(crate) place: Place,
    pub(crate) before: Option<CommitSha>,
    pub(crate) head: CommitSha,
    pub(crate) pushed_at: Option<Timestamp>,
    pub(crate) stage: Stage,
    pub(crate) debounce_since: Option<Timestamp>,
}

impl Latest {
    /// Of a change that has no other job.
    pub(crate) fn first(job: &Job) -> Self {
        Self { job: job.id, run: job.change.run, redeliveries: 0, has_trained: false, removed: None }
    }
}

impl Owner {
    pub(crate) fn is_lost(&self, now: Timestamp) -> bool {
        self.until <= now
    }
}

impl From<&Job> for Rival {
    fn from(job: &Job) -> Self {
        Self {
            id: job.id,
            place: (job.change.repository.clone(), job.change.ref_name.clone()),
            before: job.before.clone(),
            head: job.change.head.clone(),
            pushed_at: job.pushed_at,
            stage: job.state.stage,
            debounce_since: job.state.debounce_since,
        }
    }
}

/// Whether a queued job is known to wait for GPUs.
pub(crate) fn waits_for_gpus(job: &Job) -> bool {
    job.state.stage == Stage::Queued && job.state.gpu_request.is_some()
}

/// Whether a job is one of those that others of its group are compared with: it has not ended, or it has run to an
/// end of its own.
pub(crate) fn is_rival(job: &Job) -> bool {
    match job.state.stage {
        Stage::Cancelled | Stage::Superseded => false,
        stage => !stage.is_final() || job.state.attempt > 0,
    }
}
