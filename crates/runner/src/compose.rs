use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use swifthook_core::{Enclosure, Fingerprint, Job, Reason, Wait, Workload};

/// Completes the command of a run, and sees to what it stands on: the environment, the room on the disk, the models and
/// data that it names.
///
/// It is asked before an attempt begins, so what cannot run costs no attempt and no GPU. It may be asked again for the
/// same attempt: while it works the lease is kept, but a worker may be lost, and a job may have to wait afterwards.
#[async_trait]
pub trait Compose: Send + Sync {
    /// The largest file of the commit that it reads, in bytes: for jobs whose [`JobSpec`](swifthook_core::JobSpec) names
    /// one. `None` where the command is whole as it stands in the job.
    fn most_bytes(&self) -> Option<usize>;

    /// The command and the whole environment of the run.
    ///
    /// The file that it is given was pushed by somebody: nothing in it has been believed yet.
    ///
    /// # Errors
    ///
    /// Why there is none.
    async fn compose(&self, job: &Job, draft: Draft) -> Result<Composed, Uncomposed>;
}

/// Why a run has no command. No attempt begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uncomposed {
    /// It cannot be run as it stands: the job fails with this reason.
    Unfit(Reason),
    /// Something around it does not answer: the job waits, longer each time in a row, and it is tried again.
    NotNow(String),
    /// Something has to come first: the job waits for it, and is looked at again every half a minute.
    Waits(Wait, String),
}

/// What a run is made of so far.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The file of the commit that the job names; empty where it names none.
    pub file: Vec<u8>,
    /// The job's command, with what the run decides filled in.
    pub argv: Vec<String>,
    /// Its environment, of the [`Terms`](crate::Terms).
    pub env: BTreeMap<String, String>,
    /// The directory of the attempt.
    pub run_dir: String,
    /// Where it writes its result, in that directory.
    pub output_dir: String,
    /// The checkpoint that it is to go on from.
    pub resume: Option<String>,
    /// How many GPUs it has to itself.
    pub gpus: usize,
    /// Of which kinds they may be, by their names.
    pub gpu_kinds: Vec<Arc<str>>,
}

/// What a run is made of in the end.
#[derive(Clone, Debug, Default)]
pub struct Composed {
    /// The command.
    pub argv: Vec<String>,
    /// The environment, without the variables that every run has.
    pub env: BTreeMap<String, String>,
    /// What would run, without what differs from attempt to attempt: what has failed by itself twice is held. `None` for
    /// what is never held for that.
    pub fingerprint: Option<Fingerprint>,
    /// What it is started within.
    pub enclosure: Enclosure,
    /// What it runs in, for people: `uv:…`, with the digest of what it was made of.
    pub environment: Option<Arc<str>>,
    /// What decides how much memory it needs on its GPUs: then its job is warned where earlier ones needed more than it may
    /// get. `None` for what has no GPUs, or is like nothing else.
    pub workload: Option<Workload>,
    /// What may go wrong with it though it may run. The job is told so, and begins.
    pub warnings: Vec<Reason>,
}
