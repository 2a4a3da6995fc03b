use std::sync::Arc;

use serde::{Deserialize, Serialize};
use swifthook_core::{
    Checkpoint, Fingerprint, Job, JobId, Progress, Reason, RunHandle, Stage, TimelineEntry, Timestamp, Wait,
};

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
    /// The host that alone can answer for its run, or has the checkpoint from which it goes on.
    #[serde(default)]
    pub host: Option<Arc<str>>,
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
    /// What would run, or ran last: jobs with the same one do the same.
    #[serde(default)]
    pub fingerprint: Option<Fingerprint>,
    /// What it runs in, where that was made for it: `uv:…`.
    #[serde(default)]
    pub environment: Option<Arc<str>>,
    /// What may go wrong with it though it may run.
    #[serde(default)]
    pub warnings: Vec<WarningView>,
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
    /// The checkpoint that its current or last attempt goes on from; `null` if that began anew.
    pub resumed_from: Option<CheckpointView>,
    /// The last whole checkpoint of its finished attempts: the next goes on from there.
    pub checkpoint: Option<CheckpointView>,
    /// The GPUs that its attempt has to itself, or had.
    #[serde(default)]
    pub gpus: Vec<Arc<str>>,
    /// The most memory of an accelerator that its finished runs told to have had, in GiB for each of their processes.
    #[serde(default)]
    pub peak_memory_gib: Option<f64>,
    /// Jobs of one group run one at a time.
    pub group: Arc<str>,
    /// The job that took its place.
    pub superseded_by: Option<JobId>,
    /// The job that it repeats.
    pub rerun_of: Option<JobId>,
}

/// A warning of a job, as scripts see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarningView {
    /// What it is about: `gpu_memory`.
    pub reason: String,
    /// The same for people.
    pub detail: String,
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

/// A checkpoint, as scripts see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointView {
    /// The attempt that left it.
    pub attempt: u32,
    /// Its step.
    pub step: Option<u64>,
    /// Where it is.
    pub path: Arc<str>,
    /// The host that has it.
    pub host: Option<Arc<str>>,
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
            waits_for: waits_for(job).map(|wait| wait.word().to_owned()),
            host: state.host().filter(|_| !state.stage.is_final()).map(Into::into),
            recipe: job.change.recipe.clone(),
            repository: job.change.repository.to_string(),
            ref_name: job.change.ref_name.to_string(),
            commit: job.change.head.to_string(),
            config: job.spec.config.clone(),
            run: job.change.run,
            attempt: state.attempt,
            launcher: job.spec.launcher.clone(),
            handle: state.handle.clone(),
            fingerprint: state.fingerprint,
            environment: state.environment.clone(),
            warnings: state.warnings.iter().map(WarningView::from).collect(),
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
            resumed_from: state.resumed_from.as_ref().map(CheckpointView::from),
            checkpoint: state.checkpoint.as_ref().map(CheckpointView::from),
            gpus: state.gpus.as_ref().map(|grant| grant.uuids.clone()).unwrap_or_default(),
            peak_memory_gib: state.peak_memory.map(gib),
            group: job.spec.group.clone(),
            superseded_by: job.superseded_by,
            rerun_of: job.rerun_of,
        }
    }
}

/// To a hundredth, as ms-swift tells it.
fn gib(bytes: u64) -> f64 {
    (bytes as f64 / f64::from(1 << 30) * 100.0).round() / 100.0
}

/// What a job waits for. Nobody has to look at one that goes on from a checkpoint of another host to know that it waits for
/// that.
fn waits_for(job: &Job) -> Option<Wait> {
    let state = &job.state;
    let is_elsewhere = state.stage == Stage::Queued && state.host().is_some();
    state.waits_for.or(is_elsewhere.then_some(Wait::Checkpoint))
}

impl From<&Reason> for WarningView {
    fn from(warning: &Reason) -> Self {
        Self { reason: warning.word.to_string(), detail: warning.detail.clone() }
    }
}

impl From<&Checkpoint> for CheckpointView {
    fn from(checkpoint: &Checkpoint) -> Self {
        let Checkpoint { path, step, attempt, host } = checkpoint.clone();
        Self { attempt, step, path, host }
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
