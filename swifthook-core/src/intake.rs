//! Intake: where a decided push becomes durable.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::id::{DeliveryId, JobId};
use crate::job::{JobSpec, Stage};
use crate::policy::Verdict;
use crate::problem::opaque_problem;
use crate::push::Push;
use crate::time::Timestamp;

/// All that an adapter needs: one method. Whoever embeds the receiver and has a database of his own implements
/// this and is done.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Takes a decided push.
    ///
    /// If it answers, the receipt, its verdicts and its jobs are durable, in one transaction, also of a push for
    /// which nothing is to run. Known changes make no new job. Dropping the future does not undo anything: it may have been stored or not, and accepting it
    /// again is safe.
    ///
    /// # Errors
    ///
    /// When nothing was promised: the reply is 503 and GitHub shows the delivery as failed.
    async fn accept(&self, decided: &Decided) -> Result<Receipt, IntakeError>;
}

/// A verified push with a verdict for every recipe of its repository. Serialized, it is also the message to a
/// broker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Decided {
    /// The version of this format: [`Decided::VERSION`].
    pub version: u16,
    /// The push.
    pub push: Push,
    /// A verdict for every recipe of the repository, skips too, in the order of the configuration; none where that does
    /// not have the repository.
    pub verdicts: Vec<RecipeVerdict>,
    /// The configuration that decided.
    pub config: ConfigDigest,
    /// When it was received.
    pub received_at: Timestamp,
    /// Whether the push is young enough for a redelivery of it to train again what failed.
    pub is_redeliverable: bool,
}

impl Decided {
    /// The version that this code writes.
    pub const VERSION: u16 = 1;

    /// Tells whether the configuration has the repository by the name that the push has. One that it does not have has no
    /// verdicts, and one that it has by an earlier name is [held](crate::HoldReason::Renamed): the hook need not be one
    /// that may speak for the name that it has now.
    #[must_use]
    pub fn is_of_configured(&self) -> bool {
        !self.verdicts.is_empty() && self.push.origin.renamed_from.is_none()
    }

    /// Whether anything is to be queued or held.
    #[must_use]
    pub fn makes_jobs(&self) -> bool {
        self.verdicts.iter().any(|verdict| !verdict.jobs.is_empty())
    }
}

/// What one recipe says of a push.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecipeVerdict {
    /// The recipe's name.
    pub recipe: Arc<str>,
    /// What it says.
    pub verdict: Verdict,
    /// The jobs that it makes: none for a skip, else one, or one for each file of a recipe with `each`. Where it
    /// is not known which files those are, or they are too many, it is one for all of them, which is held.
    pub jobs: Vec<JobSpec>,
}

/// The SHA-256 of the configuration that decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ConfigDigest(pub [u8; 32]);

/// What an intake promises.
#[derive(Clone, Debug, PartialEq)]
pub enum Receipt {
    /// It is stored.
    Stored {
        /// The receipt's id.
        delivery: DeliveryId,
        /// A job for each [`JobSpec`], in the order of the verdicts.
        jobs: Vec<StoredJob>,
    },
    /// A broker has it, which cannot know about duplicates.
    Accepted {
        /// The receipt's id.
        delivery: DeliveryId,
    },
}

/// A job that a push led to.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredJob {
    /// The recipe's name.
    pub recipe: Arc<str>,
    /// The changed file that it is for.
    pub config: Option<Arc<str>>,
    /// The job.
    pub id: JobId,
    /// Its stage.
    pub stage: Stage,
    /// Whether it is new.
    pub admitted: Admitted,
}

/// Whether a job is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// The change was not known.
    New,
    /// The change was known, and this is its job: one that trains or has trained answers every push of its commit, any
    /// other the pushes that moved the ref from the same commit.
    Duplicate,
    /// The change was known and failed, and a person's redelivery makes it run again.
    Rerun {
        /// The job that failed.
        of: JobId,
    },
}

opaque_problem! {
    /// Nothing was stored and nothing was promised.
    IntakeError
}
