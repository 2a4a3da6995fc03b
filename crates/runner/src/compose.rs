use std::collections::BTreeMap;

use async_trait::async_trait;
use swifthook_core::{Job, Reason};

/// Makes the command of a run from a file of its commit, for jobs whose [`JobSpec`](swifthook_core::JobSpec) names one.
///
/// What it is given was pushed by somebody: nothing in it has been believed yet.
#[async_trait]
pub trait Compose: Send + Sync {
    /// The largest file that it reads, in bytes.
    fn most_bytes(&self) -> usize;

    /// The command and the whole environment of the run.
    ///
    /// # Errors
    ///
    /// Why there is none.
    async fn compose(&self, job: &Job, draft: Draft) -> Result<Composed, Uncomposed>;
}

/// Why a run has no command. Nothing is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uncomposed {
    /// It cannot be run as it stands: the job fails with this reason.
    Unfit(Reason),
    /// Something around it does not answer: the job waits, and it is tried again.
    NotNow(String),
}

/// What a run is made of so far.
pub struct Draft {
    /// The file of the commit that the job names.
    pub file: Vec<u8>,
    /// The job's command, with what the run decides filled in.
    pub argv: Vec<String>,
    /// Its environment, of the [`Terms`](crate::Terms).
    pub env: BTreeMap<String, String>,
    /// Where it writes its result.
    pub output_dir: String,
}

/// What a run is made of in the end.
pub struct Composed {
    /// The command.
    pub argv: Vec<String>,
    /// The environment, without the variables that every run has.
    pub env: BTreeMap<String, String>,
}
