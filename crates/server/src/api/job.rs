use std::sync::Arc;

use serde::{Deserialize, Serialize};
use swifthook_core::{Job, JobId, Progress, RunHandle, TimelineEntry, Timestamp};

/// A job as scripts see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobView {
    /// Its id, a UUIDv7.
    pub id: JobId,
    /// Its stage.
    pub state: String,
    /// Why it is in that stage: a word of a closed set.
    pub reason: Option<String>,
    /// The same for people.
    pub detail: Option<String>,
    /// What it waits for, while it is queued.
    pub waits_for: Option<String>,
    /// The recipe's name.
    pub recipe: Arc<str>,
    /// The repository's configured name.
    pub repository: String,
    /// The full ref.
    #[serde(rename = "ref")]
    pub ref_name: String,
    /// The commit.
    pub commit: String,
    /// The changed file that it is for.
    pub config: Option<Arc<str>>,
    /// Which training of this change it is, from 0.
    pub run: u32,
    /// Runs begun.
    pub attempt: u32,
    /// The launcher's name.
    pub launcher: Arc<str>,
    /// Its run, once a launcher has it.
    pub handle: Option<RunHandle>,
    /// How far it is.
    pub progress: Option<Progress>,
    /// When it was enqueued.
    pub created_at: String,
    /// The earliest moment at which it is looked at.
    pub not_before: Option<String>,
    /// When its last attempt began.
    pub started_at: Option<String>,
    /// When it reached its end.
    pub finished_at: Option<String>,
    /// How its last run ended.
    pub exit: Option<ExitView>,
    /// Jobs of one group run one at a time.
    pub group: Arc<str>,
    /// The job that took its place.
    pub superseded_by: Option<JobId>,
    /// The job that it repeats.
    pub rerun_of: Option<JobId>,
}

/// How a run ended, as scripts see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitView {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// For people.
    pub message: Option<Arc<str>>,
}

/// An entry of a job's timeline, as scripts see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineView {
    /// When.
    pub at: String,
    /// Who.
    pub who: Arc<str>,
    /// What happened.
    pub what: Arc<str>,
    /// The stage afterwards.
    pub state: String,
    /// Why.
    pub why: Option<String>,
}

impl From<&Job> for JobView {
    fn from(job: &Job) -> Self {
        let state = &job.state;
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
        Self {
            id: job.id,
            state: state.stage.word().to_owned(),
            reason: state.reason.as_ref().map(|reason| reason.word.to_string()),
            detail: state.reason.as_ref().map(|reason| reason.detail.clone()),
            waits_for: state.waits_for.map(|wait| wait.word().to_owned()),
            recipe: job.change.recipe.clone(),
            repository: job.change.repository.to_string(),
            ref_name: job.change.ref_name.to_string(),
            commit: job.change.head.to_string(),
            config: job.spec.config.clone(),
            run: job.change.run,
            attempt: state.attempt,
            launcher: job.spec.launcher.clone(),
            handle: state.handle.clone(),
            progress: job.progress,
            created_at: job.created_at.to_string(),
            not_before: time(state.not_before),
            started_at: time(state.started_at),
            finished_at: time(state.finished_at),
            exit: state.exit.as_ref().map(|exit| ExitView {
                code: exit.code,
                signal: exit.signal,
                message: exit.message.clone(),
            }),
            group: job.spec.group.clone(),
            superseded_by: job.superseded_by,
            rerun_of: job.rerun_of,
        }
    }
}

impl From<&TimelineEntry> for TimelineView {
    fn from(entry: &TimelineEntry) -> Self {
        Self {
            at: entry.at.to_string(),
            who: entry.who.clone(),
            what: entry.what.clone(),
            state: entry.stage.word().to_owned(),
            why: entry.why.clone(),
        }
    }
}
