use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::State;
use crate::git::{CommitSha, RefName};
use crate::id::{JobId, RepoName};
use crate::launcher::Progress;
use crate::push::{ChangeSet, Gap, Origin, Paths, Push, Source};
use crate::recipe::Argv;
use crate::time::Timestamp;

/// What one job of a recipe is to do, as rendered at intake: *what* runs. Whether and how restricted it runs
/// (trust, launcher settings, environment, timeout) is taken from the configuration at claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The recipe's name.
    pub recipe: Arc<str>,
    /// The changed file that this job is for, of a recipe with `each`.
    pub config: Option<Arc<str>>,
    /// Jobs of one group run one at a time, and newer ones supersede older ones.
    pub group: Arc<str>,
    /// Higher goes first, and an hour of waiting is worth one ([`Job::turn`]); 0 unless the recipe says so.
    pub priority: i32,
    /// The name of the launcher that runs it.
    pub launcher: Arc<str>,
    /// Labels that a worker must have to claim it.
    pub labels: Vec<Arc<str>>,
    /// The command; empty for launchers that know by the recipe what to do.
    pub command: Argv,
    /// A file of the commit from which the command is completed when the run begins; `None` for a command that is whole.
    pub file: Option<Arc<str>>,
    /// What becomes of older jobs of the group.
    pub superseded: Superseding,
    /// How long to wait for further pushes.
    pub debounce: Option<Debounce>,
    /// What is done about failures of the machine.
    pub retry: Retry,
    /// What is known of the server that the push came from.
    #[serde(default, skip_serializing_if = "Origin::is_default")]
    pub origin: Origin,
}

/// What a newer change does to older jobs of its group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Superseding {
    /// Nothing: every change trains.
    Keep,
    /// Those that have not begun are superseded.
    #[default]
    CancelQueued,
    /// Those that run are stopped too.
    CancelRunning,
}

/// Waits until pushes have been quiet for `quiet`, but at most `at_most` from the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Debounce {
    /// The pause that ends the wait.
    pub quiet: Duration,
    /// The longest wait, counted from the first of the pushes.
    pub at_most: Duration,
}

impl Debounce {
    /// When a job enqueued `now` may start, whose first push of the series came at `since`.
    #[must_use]
    pub fn not_before(&self, since: Timestamp, now: Timestamp) -> Timestamp {
        now.after(self.quiet).min(since.after(self.at_most))
    }
}

/// What is done about failures of the machine; failures of the training are never retried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// How many runs may come about in all; at least 1.
    pub attempts: u32,
    /// The wait before the second; each further one doubles it, up to an hour.
    pub backoff: Duration,
    /// Exit codes that are the machine's fault too.
    pub exit_codes: Vec<i32>,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 3, backoff: Duration::from_secs(60), exit_codes: Vec::new() }
    }
}

impl Retry {
    /// The wait after `retries` runs were ended by the machine: doubled for each, at most an hour (or `backoff`
    /// itself where that is longer), and spread by up to a quarter by `jitter` (0 to 1) so that jobs that failed
    /// together do not come back together.
    #[must_use]
    pub fn wait(&self, retries: u32, jitter: f64) -> Duration {
        let doubled =
            self.backoff.saturating_mul(1u32.checked_shl(retries.saturating_sub(1)).unwrap_or(u32::MAX));
        let capped = doubled.min(self.backoff.max(Duration::from_secs(3_600)));
        capped.mul_f64(1.0 + 0.25 * jitter.clamp(0.0, 1.0))
    }
}

/// The key by which a commit trains once. What was decided of a push holds for its commit *before* too, which is not in
/// it: so a change that did not train may be decided again when the ref comes to it from elsewhere. All parts are always there: `config` is empty, not absent,
/// for a recipe without `each`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Change {
    /// The repository, by its configured name.
    pub repository: RepoName,
    /// The ref, with its kind.
    pub ref_name: RefName,
    /// The commit.
    pub head: CommitSha,
    /// The recipe's name.
    pub recipe: Arc<str>,
    /// The changed file, or empty.
    pub config: Arc<str>,
    /// Which job of this change it is, from 0: whoever decides or trains it again has the next number.
    pub run: u32,
}

/// A job as a queue keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The change that it trains.
    pub change: Change,
    /// Where the ref was before the push.
    pub before: Option<CommitSha>,
    /// Who pushed.
    pub sender: Option<Arc<str>>,
    /// When GitHub says it was pushed.
    pub pushed_at: Option<Timestamp>,
    /// How the push came to be known.
    pub source: Source,
    /// What it is to do.
    pub spec: JobSpec,
    /// Where it is on its way.
    pub state: State,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// The job that it repeats.
    pub rerun_of: Option<JobId>,
    /// The job that took its place.
    pub superseded_by: Option<JobId>,
    /// How far its run is, as last reported.
    pub progress: Option<Progress>,
}

impl Job {
    /// When it is this job's turn: of jobs that wait, the one with the smallest is first, and of equals the one with
    /// the smallest id.
    ///
    /// In milliseconds: when the job was enqueued, an hour earlier for each step of its priority. So a job that has
    /// waited for an hour longer goes ahead of one whose priority is higher by one, none is starved by those that come
    /// later, and since all grow older alike the order of two jobs never changes: an index can keep it.
    #[must_use]
    pub fn turn(&self) -> i64 {
        self.created_at.0.saturating_sub(i64::from(self.spec.priority) * STEP_MS)
    }

    /// The push again, with the files that a diff found: what the policy is asked a second time. Skip markers are
    /// not looked at again, since a marked push makes no job.
    #[must_use]
    pub fn push_with(&self, changes: ChangeSet) -> Push {
        Push {
            repository: self.change.repository.clone(),
            ref_name: self.change.ref_name.clone(),
            before: self.before.clone(),
            head: Some(self.change.head.clone()),
            skip_marker: false,
            sender: self.sender.clone(),
            pushed_at: self.pushed_at,
            changes,
            source: self.source.clone(),
            origin: self.spec.origin.clone(),
        }
    }

    /// The push as far as it is kept with the job: without its files.
    #[must_use]
    pub fn push(&self) -> Push {
        self.push_with(ChangeSet::Incomplete(Paths::empty(), Gap::Truncated))
    }
}

/// What one step of priority is worth in waiting.
const STEP_MS: i64 = 3_600_000;
