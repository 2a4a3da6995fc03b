//! A push, read from a verified body: only what decides and what explains.
//!
//! [`Push`] owns what it has, so it fits an extractor, a spawned task and a queue. The paths that it lists are
//! spans into the body's [`Bytes`](bytes::Bytes): nothing is copied for a path that needs no decoding.

mod changes;
mod form;
mod origin;
mod parse;
mod paths;
mod skip;

pub use changes::{ChangeSet, Gap};
pub use form::FormProblem;
pub(crate) use form::payload as form_payload;
pub use origin::{Dialect, Origin, UnknownDialect};
pub(crate) use parse::{Reported, Unread, is_of_one_name};
pub use paths::{Change, Paths};
pub use skip::asks_to_skip;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::git::{CommitSha, RefName};
use crate::id::RepoName;
use crate::time::Timestamp;

/// A push of a repository that the configuration knows, by a hook that may speak for it, unless it
/// [is not of one](crate::Decided::is_of_configured).
///
/// See <https://docs.github.com/en/webhooks/webhook-events-and-payloads#push> for the payload. Nothing in it is
/// believed for where to fetch from or whom to answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Push {
    /// The repository, by its configured name.
    pub repository: RepoName,
    /// What was moved.
    pub ref_name: RefName,
    /// Where the ref was before; `None` if it is new.
    pub before: Option<CommitSha>,
    /// The commit that the ref is at now: `head_commit.id` where there is one, since for an annotated tag `after`
    /// is the tag object. `None` if the ref was deleted.
    pub head: Option<CommitSha>,
    /// Whether the head commit asks to be skipped (`[skip ci]` and its kin, or the trailer `skip-checks: true`).
    pub skip_marker: bool,
    /// The login of the account that pushed.
    pub sender: Option<Arc<str>>,
    /// `repository.pushed_at`, to the second: the one time in a payload that is signed.
    pub pushed_at: Option<Timestamp>,
    /// Which files changed, as far as the payload tells.
    pub changes: ChangeSet,
    /// How we came to know of it.
    pub source: Source,
    /// What the payload tells of the server that sent it.
    #[serde(default, skip_serializing_if = "Origin::is_default")]
    pub origin: Origin,
}

impl Push {
    /// Tells whether it is older than `max_age`, as of `now`. One that does not say how old it is counts as too old, unless it
    /// is of a dialect that never says so.
    #[must_use]
    pub fn is_stale(&self, max_age: Duration, now: Timestamp) -> bool {
        match self.pushed_at {
            Some(pushed_at) => now.since(pushed_at) > max_age,
            None => self.origin.dialect.has_times(),
        }
    }
}

/// How a push came to be known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// GitHub delivered it.
    Hook {
        /// The hook's configured name.
        hook: Arc<str>,
        /// `X-GitHub-Delivery`: unsigned, repeated by a redelivery, shared by hooks of one event.
        guid: Arc<str>,
    },
    /// Comparing branch tips found it.
    Reconcile,
    /// A poll of the repository found it.
    Pull,
    /// A person asked for it.
    Person,
}
