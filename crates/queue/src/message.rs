//! Decided pushes on their way to a store, in a form that outlives the process that took them.

use std::borrow::Cow;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use swifthook_core::{
    ChangeSet, Decided, Delivery, DeliveryId, Gap, QueueError, RefName, RepoName, StoredJob,
};

use crate::rules::Submission;

/// A decided push with the id of its receipt: what a broker carries from whoever took the push to a store.
///
/// It is complete: storing it needs nothing else. Of the changed paths it has as many as a receipt keeps, and of very
/// long ones fewer; how many there were is told.
#[derive(Clone, Debug)]
pub struct Message {
    id: DeliveryId,
    decided: Decided,
    path_count: u64,
}

/// A store that messages are moved into.
#[async_trait]
pub trait MessageStore: Send + Sync {
    /// Stores a message, in one transaction: the receipt under the id that it has brought, and the jobs that are new.
    /// However often the same message comes, there is one receipt of it. Dropping the future undoes nothing: it may have
    /// been stored or not.
    ///
    /// # Errors
    ///
    /// When it could not be stored; a permanent error says that it never can.
    async fn store(&self, message: &Message) -> Result<Stored, QueueError>;
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Stored {
    /// It is stored, and these are its jobs: known ones too.
    New(Vec<StoredJob>),
    /// It had been stored before.
    Known,
}

/// A message that cannot be read. What is in it is not quoted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// A newer version of this software has written it, or none at all.
    #[error("the message has version {found}, and this software reads version {VERSION}")]
    Version {
        /// Its version.
        found: u64,
    },
    /// It is not a message.
    #[error("not a message of this software (line {line}, column {column})")]
    Malformed {
        /// Where it goes wrong.
        line: usize,
        /// Where in that line.
        column: usize,
    },
}

impl Message {
    /// A message of a push whose receipt has this id.
    #[must_use]
    pub fn new(id: DeliveryId, decided: &Decided) -> Self {
        let paths = decided.push.changes.paths();
        let path_count = paths.len() as u64;
        let mut bytes = 0;
        let fits = |path: &[u8]| {
            bytes += path.len();
            bytes <= MAX_PATH_BYTES
        };
        let fitting = paths.raw().map(|(path, _)| path).take(Delivery::MAX_PATHS).map(fits);
        let kept = fitting.take_while(|fits| *fits).count();
        let mut decided = decided.clone();
        if kept < paths.len() {
            let gap = decided.push.changes.gap().unwrap_or(Gap::Truncated);
            decided.push.changes = ChangeSet::Incomplete(decided.push.changes.paths().detached(kept), gap);
        }
        Self { id, decided, path_count }
    }

    /// Reads a message that was [encoded](Self::encode).
    ///
    /// # Errors
    ///
    /// When it is of another version, or is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let Version { version } = serde_json::from_slice(bytes).map_err(malformed)?;
        if version != VERSION {
            return Err(Unreadable::Version { found: version });
        }
        let wire: Wire<'_> = serde_json::from_slice(bytes).map_err(malformed)?;
        let decided = wire.decided.into_owned();
        if decided.version != Decided::VERSION {
            return Err(Unreadable::Version { found: decided.version.into() });
        }
        Ok(Self { id: wire.id, decided, path_count: wire.path_count })
    }

    /// The message in bytes: JSON, with its version.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Self { id, decided, path_count } = self;
        let wire =
            Wire { version: VERSION, id: *id, path_count: *path_count, decided: Cow::Borrowed(decided) };
        serde_json::to_vec(&wire).expect("these types have only strings for keys")
    }

    /// The id of the receipt.
    #[must_use]
    pub fn id(&self) -> DeliveryId {
        self.id
    }

    /// What was decided.
    #[must_use]
    pub fn decided(&self) -> &Decided {
        &self.decided
    }

    /// What moved: messages of one ref are to be stored in the order in which they came.
    #[must_use]
    pub fn place(&self) -> (RepoName, RefName) {
        (self.decided.push.repository.clone(), self.decided.push.ref_name.clone())
    }

    pub(crate) fn submission(&self) -> Result<Submission, QueueError> {
        let submission = Submission::new(&self.decided, self.id);
        let mut submission =
            submission.map_err(|error| QueueError::Store { source: error.into(), is_permanent: true })?;
        submission.delivery.path_count = self.path_count;
        Ok(submission)
    }
}

#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    version: u64,
    id: DeliveryId,
    path_count: u64,
    decided: Cow<'a, Decided>,
}

/// Read first, since the rest of another version may be anything.
#[derive(Deserialize)]
struct Version {
    version: u64,
}

fn malformed(error: serde_json::Error) -> Unreadable {
    Unreadable::Malformed { line: error.line(), column: error.column() }
}

/// The version of messages that this code writes and reads.
const VERSION: u64 = 1;
/// How many bytes of paths a message has at most: brokers bound the size of messages, to 16 MiB by default.
const MAX_PATH_BYTES: usize = 2 << 20;
