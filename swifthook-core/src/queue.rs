//! The queue: where jobs wait, and where every change of their state is made.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::fingerprint::{Fingerprint, PastFailure};
use crate::git::{CommitSha, RefName};
use crate::gpu::{GpuBook, GpuLease, MemoryEstimate, Workload};
use crate::heartbeat::{Heartbeat, KnownWorker};
use crate::id::{DeliveryId, JobId, RepoName};
use crate::intake::{ConfigDigest, Decided, Intake, RecipeVerdict, StoredJob};
use crate::job::{Command, Event, Illegal, Job, Rerun, Stage, StopKind};
use crate::launcher::{Progress, RunHandle, RunKey};
use crate::problem::Problem;
use crate::push::{Gap, Paths, Source};
use crate::receiver::Identity;
use crate::run_log::RunLog;
use crate::time::Timestamp;

/// A durable queue of jobs that several workers share.
///
/// Each method is one transaction. All of them call [`State::apply`](crate::State::apply) for every change, so no
/// backend has rules of its own. Dropping a future undoes nothing: the transaction may have happened or not.
#[async_trait]
pub trait JobQueue: Intake {
    /// The next job for `worker`, under a lease of its own: an orphaned run first, then work whose time has come,
    /// in the order of [`Job::turn`] (priority, and the age that makes up for it), of a group in which nothing is
    /// active or claimed. What goes on from a checkpoint that one host has waits for a worker there.
    ///
    /// Answers [`Claimed`] for jobs with a run to adopt (their lease ran out, or their worker released them), for
    /// queued ones (the runner asks its [`Admission`](crate::Admission) and applies `Start`, `NotBefore`, `Hold`
    /// or `NoLonger`), and for held ones that need a diff (these take no slot: `worker.slots_free` may be 0).
    /// A job that lost its workers too often is quarantined here and not handed out.
    ///
    /// # Errors
    ///
    /// When the store cannot answer.
    async fn claim(&self, worker: &Worker) -> Result<Option<Claimed>, QueueError>;

    /// Makes a worker's `event` happen: the only way in which a worker changes a job.
    ///
    /// The GPUs of a [`Start`](Event::Start) are leased to the attempt in the same transaction, each to one attempt at
    /// a time. They are given back in the transaction in which the attempt is known to have ended or never to have run,
    /// and by nothing else: no time, no lost worker. Those of a run that was given up stay
    /// ([`stranded`](Self::stranded)).
    ///
    /// # Errors
    ///
    /// [`QueueError::StaleLease`] when another worker has the job by now: this one must let go of it and touch
    /// nothing more. [`QueueError::Illegal`] when the event does not fit. [`QueueError::GpuTaken`] when another attempt
    /// has one of the GPUs: nothing has happened.
    async fn apply(&self, lease: &Lease, event: Event) -> Result<Job, QueueError>;

    /// Makes a person's command happen: the only way in which a person changes a job. `Retry` of a job at its end
    /// answers the new job, `run + 1`, which is to do the same as the one before it; [`rerun`](Self::rerun) has it do what
    /// the recipe says by now.
    ///
    /// # Errors
    ///
    /// [`QueueError::NotFound`], or [`QueueError::Illegal`] when the command does not fit.
    async fn command(&self, job: JobId, what: Command, who: &Actor) -> Result<Job, QueueError>;

    /// Trains a finished job's change again, as a person's [`Retry`](Command::Retry) does, with what the recipe of the moment
    /// makes of it in the place of what it was rendered to when the job was made. What differs from the last training is told
    /// in the first line of the new job's timeline. By itself it cannot, and says so.
    ///
    /// # Errors
    ///
    /// As of [`command`](Self::command), and [`QueueError::NotThisChange`] when the spec is for another recipe or file.
    async fn rerun(&self, _job: JobId, _rerun: Rerun, _who: &Actor) -> Result<Job, QueueError> {
        Err(QueueError::Store { source: "this queue repeats jobs as they were".into(), is_permanent: true })
    }

    /// Returns what [`accept`](Intake::accept) would answer at this moment of the jobs of a push, in their order: the job by which a
    /// change is known, and `None` where there would be a new one. Nothing is changed. By itself it cannot tell, and says so.
    ///
    /// # Errors
    ///
    /// If the store cannot answer.
    async fn known_jobs(&self, _decided: &Decided) -> Result<Vec<Option<StoredJob>>, QueueError> {
        Err(QueueError::Store {
            source: "this queue does not tell which changes it knows".into(),
            is_permanent: true,
        })
    }

    /// Prolongs leases and tells what became of them, in their order. Also stores the progress of their runs.
    ///
    /// # Errors
    ///
    /// When the store cannot answer; the leases run on until their time is up.
    async fn renew(&self, leases: &[(Lease, Option<Progress>)]) -> Result<Vec<Renewal>, QueueError>;

    /// What is known of jobs that would run the same: the last of them that failed by themselves since one of them
    /// succeeded, the newest first, at most [`PastFailure::ENOUGH`]. By itself it knows of none, and nothing is held for
    /// it.
    ///
    /// # Errors
    ///
    /// When the store cannot answer.
    async fn known_failures(&self, _of: Fingerprint) -> Result<Vec<PastFailure>, QueueError> {
        Ok(Vec::new())
    }

    /// Commits at which refs of the job's repository were when its recipe was asked what changed there: by jobs that were
    /// made before it, unless they came to nothing, and by pushes before it of which the recipe said that no path matched.
    /// Another job of the same ref and commit does not count. In no order, and of many the last some thousand. By itself it
    /// knows of none: then a new default branch is new altogether.
    ///
    /// # Errors
    ///
    /// If the store cannot answer.
    async fn known_heads(&self, _of: &Job) -> Result<Vec<CommitSha>, QueueError> {
        Ok(Vec::new())
    }

    /// How much memory the last runs like one needed on their GPUs ([`MemoryEstimate::among`]). By itself it knows of
    /// none, and nobody is warned.
    ///
    /// # Errors
    ///
    /// When the store cannot answer.
    async fn memory_estimate(&self, _of: &Workload) -> Result<Option<MemoryEstimate>, QueueError> {
        Ok(None)
    }

    /// Does what time alone brings about. Safe to call from anywhere, at any time.
    ///
    /// # Errors
    ///
    /// When the store cannot answer.
    async fn sweep(&self) -> Result<Swept, QueueError>;

    /// What is known of the GPUs of a machine: who has which, and which jobs wait for some that `worker` may have, by its
    /// labels and its host, and whose group is free.
    ///
    /// By itself it keeps no leases, and says so: then nothing that asks for GPUs starts.
    ///
    /// # Errors
    ///
    /// When the store cannot answer.
    async fn gpus(&self, _machine: &str, _worker: &Worker) -> Result<GpuBook, QueueError> {
        Err(QueueError::Store { source: "this queue keeps no leases of GPUs".into(), is_permanent: true })
    }

    /// Jobs that a person has given up while their runs could not be reached, and of which `host` can tell how the runs
    /// are: they may go on, and have GPUs. Whoever is there looks for the runs, ends them, and says so by
    /// [giving the GPUs back](Self::give_back), of which there may be none.
    ///
    /// # Errors
    ///
    /// When the store cannot answer.
    async fn stranded(&self, _host: &str) -> Result<Vec<Job>, QueueError> {
        Ok(Vec::new())
    }

    /// Nothing is left of the run of a job that has come to its end: its GPUs are given back, and it is
    /// [stranded](Self::stranded) no more. Of a job that goes on it changes nothing.
    ///
    /// # Errors
    ///
    /// When the store cannot answer.
    async fn give_back(&self, _job: JobId, _who: &Actor) -> Result<(), QueueError> {
        Ok(())
    }

    /// A port of `machine` for the attempt that runs under a lease, by which its processes find each other: one that no
    /// other attempt has there, none of `avoid`, and another one for each attempt. It is leased until the attempt is known
    /// to have ended, as GPUs are; asking again leases another one in its place. `None` if there is none. By itself a queue
    /// leases no ports, and an attempt has what its environment says.
    ///
    /// # Errors
    ///
    /// [`QueueError::StaleLease`] when another worker has the job by now, or its attempt has not begun.
    async fn lease_port(
        &self,
        _lease: &Lease,
        _machine: &str,
        _avoid: &[u16],
    ) -> Result<Option<u16>, QueueError> {
        Ok(None)
    }

    /// Keeps what a worker tells of itself, for [`History::workers`]. By itself it keeps nothing: no promise of a queue
    /// hangs on it.
    ///
    /// # Errors
    ///
    /// When the store cannot answer.
    async fn heartbeat(&self, _beat: &Heartbeat) -> Result<(), QueueError> {
        Ok(())
    }

    /// Keeps the end of a run's log in the place of what was kept of it, for [`History::run_log`], as long as its job
    /// is there. By itself it keeps nothing: no promise of a queue hangs on it.
    ///
    /// # Errors
    ///
    /// When the store cannot answer.
    async fn keep_log(&self, _log: &RunLog) -> Result<(), QueueError> {
        Ok(())
    }
}

/// What people look at. Reading never waits for writing.
#[async_trait]
pub trait History: Send + Sync {
    /// One job.
    ///
    /// # Errors
    ///
    /// When the store cannot answer.
    async fn job(&self, id: JobId) -> Result<Option<Job>, QueueError>;

    /// Jobs, newest first.
    ///
    /// # Errors
    ///
    /// When the store cannot answer.
    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>, QueueError>;

    /// How many jobs there are in each stage that is not final.
    ///
    /// By itself it goes through all of them: a store that can count does better.
    ///
    /// # Errors
    ///
    /// When the store cannot answer.
    async fn open_jobs(&self) -> Result<Vec<(Stage, u64)>, QueueError> {
        let mut counts: Vec<_> =
            Stage::ALL.into_iter().filter(|stage| !stage.is_final()).map(|stage| (stage, 0)).collect();
        for (stage, count) in &mut counts {
            let mut filter = JobFilter { stages: vec![*stage], limit: 1_000, ..JobFilter::default() };
            loop {
                let page = self.jobs(&filter).await?;
                *count += page.len() as u64;
                match page.last() {
                    Some(last) => filter.before = Some(last.id),
                    None => break,
                }
            }
        }
        Ok(counts)
    }

    /// What happened to a job, oldest first.
    ///
    /// # Errors
    ///
    /// When the store cannot answer.
    async fn timeline(&self, id: JobId) -> Result<Vec<TimelineEntry>, QueueError>;

    /// Deliveries, newest first, at most `limit`, from the one before `before` on.
    ///
    /// # Errors
    ///
    /// When the store cannot answer.
    async fn deliveries(&self, before: Option<DeliveryId>, limit: usize)
    -> Result<Vec<Delivery>, QueueError>;

    /// One delivery.
    ///
    /// # Errors
    ///
    /// When the store cannot answer.
    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, QueueError>;

    /// The deliveries that came under this GUID (`X-GitHub-Delivery`), in capitals or not, newest first, at most `limit`.
    /// It is what GitHub shows to people. It is unsigned, and redeliveries have it in common, so it finds something and
    /// decides nothing.
    ///
    /// By itself it goes through all of them: a store that can look for one does better.
    ///
    /// # Errors
    ///
    /// If the store cannot answer.
    async fn deliveries_of_guid(&self, guid: &str, limit: usize) -> Result<Vec<Delivery>, QueueError> {
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let page = self.deliveries(before, 500).await?;
            let Some(last) = page.last() else { break };
            before = Some(last.id);
            found.extend(page.into_iter().filter(|delivery| delivery.has_guid(guid)));
            if found.len() >= limit {
                found.truncate(limit);
                break;
            }
        }
        Ok(found)
    }

    /// The workers that have told of themselves, by name: those of the last day that have not said that they ended.
    ///
    /// # Errors
    ///
    /// When the store cannot answer.
    async fn workers(&self) -> Result<Vec<KnownWorker>, QueueError> {
        Ok(Vec::new())
    }

    /// The numbers of repositories, with the names under which pushes of them were accepted: what a receiver is to
    /// [remember](crate::Receiver::remember).
    ///
    /// # Errors
    ///
    /// If the store cannot answer.
    async fn identities(&self) -> Result<Vec<Identity>, QueueError> {
        Ok(Vec::new())
    }

    /// Who has which GPUs, by machine and GPU.
    ///
    /// # Errors
    ///
    /// When the store cannot answer.
    async fn gpu_leases(&self) -> Result<Vec<GpuLease>, QueueError> {
        Ok(Vec::new())
    }

    /// The end of a run's log, if somebody told it.
    ///
    /// # Errors
    ///
    /// When the store cannot answer.
    async fn run_log(&self, _run: RunKey) -> Result<Option<RunLog>, QueueError> {
        Ok(None)
    }
}

/// Who claims.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its name, unique among those that share the queue.
    pub name: Arc<str>,
    /// Its host: orphans whose run only that host can answer for are handed to workers there, and so are jobs that go on
    /// from a checkpoint that only that host has.
    pub host: Arc<str>,
    /// Its labels.
    pub labels: Vec<Arc<str>>,
    /// Runs that it has room for. At 0 only orphans and diffs are handed out.
    pub slots_free: usize,
    /// Whether its machine has GPUs. If not, jobs that wait for some are handed to it only when no other has taken them
    /// for half a minute: so those that have some see them first, and a recipe that asks for none any more goes on.
    pub has_gpus: bool,
    /// How long a lease lasts unless it is renewed.
    pub lease: Duration,
}

/// A worker's right to a job, for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// Moves with each change of worker, and fences what workers write.
    pub epoch: u64,
    /// The attempt at the time of the claim.
    pub attempt: u32,
}

/// A job that was handed out.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The right to it.
    pub lease: Lease,
    /// The job.
    pub job: Job,
    /// Its run, if one was recorded: look at it first, never submit.
    pub run: Option<RunHandle>,
}

/// What became of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It goes on.
    Renewed,
    /// It goes on, and the run is to end.
    StopWanted(StopKind),
    /// It is over, and nobody took it over: the job has come to its end, or waits again. Its worker brought that about
    /// and may finish what it has begun, or a person did, and it will hear so with its next event.
    Over,
    /// Another worker has the job, or there is no such job: touch nothing of it any more.
    Lost,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor(pub Arc<str>);

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Leases that had run out.
    pub expired: u64,
    /// Rows that were removed for their age.
    pub removed: u64,
}

/// Which jobs are asked for.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// In one of these stages; empty for all.
    pub stages: Vec<Stage>,
    /// Of this recipe.
    pub recipe: Option<String>,
    /// Of this repository.
    pub repository: Option<String>,
    /// Older than this one: where the page before ended.
    pub before: Option<JobId>,
    /// At most so many; 0 for 50.
    pub limit: usize,
}

/// A change of a job's state, with who and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// When.
    pub at: Timestamp,
    /// Who: a worker's or a person's name, `intake` or `queue`.
    pub who: Arc<str>,
    /// What: `enqueued`, `claimed`, `started`, `submitted`, ….
    pub what: Arc<str>,
    /// The stage afterwards.
    pub stage: Stage,
    /// Why, where there is something to say.
    pub why: Option<String>,
}

/// A delivery as it is kept: what decided, and what explains.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// When it was received.
    pub received_at: Timestamp,
    /// How it came to be known.
    pub source: Source,
    /// The repository.
    pub repository: RepoName,
    /// The ref.
    pub ref_name: RefName,
    /// Where the ref was before.
    pub before: Option<crate::CommitSha>,
    /// Where it is now.
    pub head: Option<crate::CommitSha>,
    /// Who pushed.
    pub sender: Option<Arc<str>>,
    /// What else the recipes were asked about; `None` for what was recorded before this was kept.
    pub facts: Option<PushFacts>,
    /// What each recipe said.
    pub verdicts: Vec<RecipeVerdict>,
    /// The changed paths, at most [`Delivery::MAX_PATHS`].
    pub paths: Paths,
    /// How many there were.
    pub path_count: u64,
    /// The configuration that decided.
    pub config: ConfigDigest,
    /// The jobs that it led to, known ones too.
    pub jobs: Vec<JobId>,
    /// Those of them that were known before it.
    pub known: Vec<JobId>,
}

/// What a policy may ask of a push beyond its ref, its commits, its paths and who pushed: with it a delivery can be
/// decided again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushFacts {
    /// `repository.pushed_at`.
    pub pushed_at: Option<Timestamp>,
    /// Whether the head commit asks to be skipped.
    pub skip_marker: bool,
    /// Why its list of paths may be short; `None` if it was complete.
    pub gap: Option<Gap>,
}

impl Delivery {
    /// How many paths are kept.
    pub const MAX_PATHS: usize = 4_096;

    /// Tells whether it came under this GUID, in capitals or not.
    #[must_use]
    pub fn has_guid(&self, guid: &str) -> bool {
        matches!(&self.source, Source::Hook { guid: its, .. } if its.eq_ignore_ascii_case(guid))
    }
}

/// A queue could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// Another worker has the job by now.
    #[error("another worker has job {job} by now")]
    StaleLease {
        /// The job.
        job: JobId,
    },
    /// No such job.
    #[error("there is no job {0}")]
    NotFound(JobId),
    /// The spec that a job is to be repeated with is of another change.
    #[error("job {0} is of another change")]
    NotThisChange(JobId),
    /// Another attempt has this GPU by now.
    #[error("another attempt has GPU {uuid} by now")]
    GpuTaken {
        /// The GPU.
        uuid: Arc<str>,
    },
    /// The event does not fit the job's stage.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// The store itself.
    #[error("the store does not answer")]
    Store {
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
        /// Whether it would say so again.
        is_permanent: bool,
    },
}

impl QueueError {
    /// A failure of the store that may pass.
    pub fn store(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Store { source: source.into(), is_permanent: false }
    }
}

impl Problem for QueueError {
    fn is_permanent(&self) -> bool {
        !matches!(self, Self::Store { is_permanent: false, .. })
    }
}
