mod active;
mod end;
mod waiting;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Event, Evidence, Exit, Illegal, Retry, Stage, StopKind};
use crate::admission::Wait;
use crate::fingerprint::Fingerprint;
use crate::gpu::{GpuGrant, GpuRequest, Workload};
use crate::launcher::{Checkpoint, RunHandle};
use crate::policy::{HoldReason, Reason};
use crate::time::Timestamp;

/// Where a job is on its way, and everything that decides where it goes next.
///
/// [`State::apply`] is total and pure. Every queue calls it for every change, so that all of them keep the same
/// promises, and recovery can replay it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The stage.
    pub stage: Stage,
    /// What a held job waits for.
    pub hold: Option<HoldReason>,
    /// Why it is in this stage, where there is something to say.
    pub reason: Option<Reason>,
    /// What a queued job waits for.
    pub waits_for: Option<Wait>,
    /// The GPUs that a queued job waits for, as it asked for them when it was last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_request: Option<GpuRequest>,
    /// The earliest moment at which a worker may look at it.
    pub not_before: Option<Timestamp>,
    /// What would run, or ran last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// What it would run in, or ran in last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Arc<str>>,
    /// What decides how much memory it needs on its GPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// What may go wrong with it though it may run. Nothing waits for these, and nothing fails for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Reason>,
    /// What it was held for until a person approved it: it is not held for that again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approved: Vec<Arc<str>>,
    /// How many jobs a person has approved that it makes in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_jobs: Option<usize>,
    /// True if git is to be asked what changed once what it is held for is settled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_undiffed: bool,
    /// When the series of pushes began that it is debounced for.
    pub debounce_since: Option<Timestamp>,
    /// Runs begun. It numbers run keys and limits nothing.
    pub attempt: u32,
    /// Runs that the machine ended, against [`Retry::attempts`].
    pub retries: u32,
    /// Grows with every change of worker, and fences what workers write.
    pub epoch: u64,
    /// Times in a row that a launcher, or whatever a launch needs, refused it for now.
    #[serde(default)]
    pub refusals: u32,
    /// Workers that were lost with it since it was last seen well.
    pub crashes: u32,
    /// How often git could not tell the diff.
    pub diff_failures: u32,
    /// Why its run is asked to end.
    pub stop: Option<StopKind>,
    /// The host that alone can tell whether an attempt that was begun has a run.
    pub begun_on: Option<Arc<str>>,
    /// The GPUs that its attempt has to itself; of a job at its end, those that the last one had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<GpuGrant>,
    /// Whether it was queued again because it found a GPU full, which happens once.
    #[serde(default, skip_serializing_if = "is_false")]
    pub found_gpu_full: bool,
    /// How often in a row it was queued again because another process had its port.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ports_taken: u32,
    /// Its run, once a launcher has it.
    pub handle: Option<RunHandle>,
    /// How its run ended, once that is known.
    pub evidence: Option<Evidence>,
    /// Since when its run cannot be reached.
    pub unreachable_since: Option<Timestamp>,
    /// Whether a person gave it up while its run could not be reached, and nobody has seen since that nothing of the run
    /// is left.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_given_up: bool,
    /// Whether its last worker let go of it in good order.
    pub is_released: bool,
    /// Whether it is to be quarantined once nothing of its run is left.
    pub is_poison: bool,
    /// How its last finished run ended.
    pub exit: Option<Exit>,
    /// The last whole checkpoint of its finished runs: its next attempt goes on from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
    /// The checkpoint that its current or last attempt goes on from; `None` if that began anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_from: Option<Checkpoint>,
    /// The most memory of an accelerator that its finished runs told to have had, in bytes for each of their processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<u64>,
    /// When its current or last attempt began.
    pub started_at: Option<Timestamp>,
    /// When it reached its end.
    pub finished_at: Option<Timestamp>,
}

impl State {
    /// A new job that may run, not before the given time.
    #[must_use]
    pub fn queued(not_before: Option<Timestamp>, waits_for: Option<Wait>) -> Self {
        Self {
            stage: Stage::Queued,
            hold: None,
            reason: None,
            waits_for,
            gpu_request: None,
            not_before,
            fingerprint: None,
            environment: None,
            workload: None,
            warnings: Vec::new(),
            approved: Vec::new(),
            approved_jobs: None,
            is_undiffed: false,
            debounce_since: None,
            attempt: 0,
            retries: 0,
            refusals: 0,
            epoch: 0,
            crashes: 0,
            diff_failures: 0,
            stop: None,
            begun_on: None,
            gpus: None,
            found_gpu_full: false,
            ports_taken: 0,
            handle: None,
            evidence: None,
            unreachable_since: None,
            is_given_up: false,
            is_released: false,
            is_poison: false,
            exit: None,
            checkpoint: None,
            resumed_from: None,
            peak_memory: None,
            started_at: None,
            finished_at: None,
        }
    }

    /// A new job that waits for an answer.
    #[must_use]
    pub fn held(reason: HoldReason) -> Self {
        Self::queued(None, None).into_held(reason)
    }

    /// A new job that arrives older than one of its group.
    #[must_use]
    pub fn born_superseded(at: Timestamp) -> Self {
        Self::queued(None, None).into_final(Stage::Superseded, Some(newer_known()), at)
    }

    /// The host that alone can answer for its attempt, or of a queued one that alone has the checkpoint from which it goes
    /// on; `None` where any host can.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        match (&self.handle, self.stage) {
            (Some(run), _) => run.host.as_deref(),
            (None, Stage::Queued) => {
                self.checkpoint.as_ref().and_then(|checkpoint| checkpoint.host.as_deref())
            }
            (None, _) => self.begun_on.as_deref(),
        }
    }

    /// Whether it waits for the host that alone has the checkpoint from which it goes on.
    #[must_use]
    pub fn waits_for_its_checkpoint(&self) -> bool {
        self.stage == Stage::Queued && self.host().is_some()
    }

    /// What the job becomes when `event` happens to it.
    ///
    /// Whoever calls has checked a worker's epoch before: events carry no identity. A job in a final stage stays
    /// as it is, whatever happens.
    ///
    /// # Errors
    ///
    /// [`Illegal`] where the event does not fit the stage; the caller keeps the state that it had.
    pub fn apply(self, event: Event, retry: &Retry) -> Result<Self, Illegal> {
        match self.stage {
            Stage::Held => self.apply_held(event),
            Stage::Queued => self.apply_queued(event),
            Stage::Running => self.apply_running(event, retry),
            Stage::Finishing => self.apply_finishing(event, retry),
            _ => Ok(self),
        }
    }

    /// Whether a person has approved it where it was held for this before, by the word of the reason.
    #[must_use]
    pub fn is_approved(&self, word: &str) -> bool {
        self.approved.iter().any(|approved| &**approved == word)
    }

    /// Whether a run may exist: from the start of an attempt until its end is known.
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        self.stage.is_active() && self.evidence.is_none()
    }

    /// Whether the runner is to find out which files changed.
    #[must_use]
    pub fn needs_diff(&self) -> bool {
        self.stage == Stage::Held && matches!(self.hold, Some(HoldReason::NeedsDiff(_)))
    }

    fn with_new_worker(self) -> Self {
        Self { epoch: self.epoch + 1, is_released: false, ..self }
    }

    /// Queued again: nothing is left of a run that was.
    fn into_queued(self, not_before: Option<Timestamp>, waits_for: Option<Wait>) -> Self {
        Self {
            stage: Stage::Queued,
            hold: None,
            reason: None,
            waits_for,
            gpu_request: None,
            not_before,
            stop: None,
            begun_on: None,
            gpus: None,
            handle: None,
            evidence: None,
            unreachable_since: None,
            ..self
        }
    }

    fn into_held(self, hold: HoldReason) -> Self {
        let reason = Some(hold.reason());
        Self {
            stage: Stage::Held,
            hold: Some(hold),
            reason,
            waits_for: None,
            gpu_request: None,
            not_before: None,
            ..self
        }
    }

    fn into_final(self, stage: Stage, reason: Option<Reason>, at: Timestamp) -> Self {
        Self {
            stage,
            hold: None,
            reason,
            waits_for: None,
            gpu_request: None,
            not_before: None,
            finished_at: Some(at),
            ..self
        }
    }

    fn into_quarantined(self, at: Timestamp) -> Self {
        let why = Reason::new("crashes", format!("{MAX_CRASHES} workers in a row were lost with it"));
        self.into_final(Stage::Quarantined, Some(why), at)
    }

    fn illegal(&self, event: &Event) -> Illegal {
        Illegal { stage: self.stage, event: event.words() }
    }
}

/// For serde, which asks by reference.
fn is_false(flag: &bool) -> bool {
    !flag
}

/// The same.
fn is_zero(count: &u32) -> bool {
    *count == 0
}

fn newer_known() -> Reason {
    Reason::new("superseded", "a newer change of its group is known")
}

fn trained_otherwise() -> Reason {
    Reason::new("superseded", "another push of its commit trains")
}

fn cancelled() -> Reason {
    Reason::new("cancelled", "a person cancelled it")
}

/// How many workers may be lost with a job in a row.
const MAX_CRASHES: u32 = 3;
