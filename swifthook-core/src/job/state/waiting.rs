//! What happens to a job that waits: for an answer, or for time and machines.

use std::sync::Arc;

use super::{MAX_CRASHES, State, cancelled, newer_known, trained_otherwise};
use crate::admission::Wait;
use crate::job::{Command, Diffed, Event, Illegal, Prepared, Stage};
use crate::policy::{HoldReason, Reason};
use crate::push::Gap;
use crate::time::Timestamp;

impl State {
    pub(super) fn apply_held(self, event: Event) -> Result<Self, Illegal> {
        match event {
            Event::Claim { .. } | Event::Takeover { .. } if self.needs_diff() => Ok(self.with_new_worker()),
            Event::Release if self.needs_diff() => Ok(Self { is_released: true, ..self }),
            Event::Diffed { answer, at } if self.needs_diff() => Ok(self.diffed(answer, at)),
            Event::Command { what: Command::Approve, .. } | Event::CauseGone if self.is_to_be_diffed() => {
                let asked = self.into_held(HoldReason::NeedsDiff(Gap::Truncated));
                Ok(Self { is_undiffed: false, diff_failures: 0, ..asked })
            }
            Event::Command { what: Command::Approve, .. } if self.is_approvable() => {
                let mut approved = self.approved.clone();
                approved.extend(self.hold.as_ref().map(|hold| Arc::from(hold.word())));
                Ok(Self { approved, ..self.into_queued(None, None) })
            }
            // Which files they are for nobody has kept: git is asked once more.
            Event::Command { what: Command::Approve, .. } if self.is_too_much() => {
                Ok(self.approved_in_full())
            }
            Event::CauseGone if self.is_approvable() => Ok(self.into_queued(None, None)),
            Event::Command { what: Command::Reject, at } => Ok(self.into_final(
                Stage::Cancelled,
                Some(Reason::new("rejected", "a person rejected it")),
                at,
            )),
            Event::Answered { at } => Ok(self.into_final(Stage::Superseded, Some(trained_otherwise()), at)),
            Event::Expire { at } => Ok(self.into_final(
                Stage::Cancelled,
                Some(Reason::new("expired", "nobody answered in time")),
                at,
            )),
            other => self.end_waiting(other),
        }
    }

    pub(super) fn apply_queued(self, event: Event) -> Result<Self, Illegal> {
        match event {
            Event::Claim { at } | Event::Takeover { at } if self.crashes >= MAX_CRASHES => {
                Ok(self.with_new_worker().into_quarantined(at))
            }
            Event::Claim { .. } => Ok(self.with_new_worker()),
            // Its worker was lost while it looked at what the job is to run, which may be what killed it.
            Event::Takeover { at } => {
                let crashes = self.crashes + u32::from(!self.is_released);
                let taken = Self { crashes, ..self.with_new_worker() };
                Ok(if crashes >= MAX_CRASHES { taken.into_quarantined(at) } else { taken })
            }
            Event::Release => Ok(Self { is_released: true, ..self }),
            Event::Prepared(Prepared { fingerprint, environment, workload }) => {
                Ok(Self { fingerprint, environment, workload, ..self })
            }
            Event::Warned(warnings) => Ok(Self { warnings, ..self }),
            Event::Start { at, host, gpus } => Ok(Self {
                stage: Stage::Running,
                reason: None,
                waits_for: None,
                gpu_request: None,
                not_before: None,
                gpus,
                attempt: self.attempt + 1,
                crashes: self.crashes + 1,
                is_released: false,
                begun_on: host,
                resumed_from: self.checkpoint.clone(),
                started_at: Some(at),
                ..self
            }),
            Event::CheckpointLost { .. } => Ok(Self { checkpoint: None, ..self }),
            Event::Command { what: Command::BeginAnew, .. } if self.waits_for_its_checkpoint() => {
                Ok(self.without_its_checkpoint())
            }
            Event::NotBefore { until, waits_for, why } => Ok(Self {
                reason: Some(Reason::new(waits_for.word(), why)),
                waits_for: Some(waits_for),
                gpu_request: None,
                not_before: Some(until),
                ..self
            }),
            Event::NoGpus { until, request, why } => Ok(Self {
                reason: Some(Reason::new(Wait::Gpu.word(), why)),
                waits_for: Some(Wait::Gpu),
                gpu_request: Some(request),
                not_before: Some(until),
                ..self
            }),
            Event::Hold(reason) => Ok(self.into_held(reason)),
            Event::NoLonger { why, at } => Ok(self.into_final(Stage::Cancelled, Some(why), at)),
            Event::Unfit { why, at } => Ok(self.into_final(Stage::Failed, Some(why), at)),
            Event::Refused { is_permanent: true, message, at, .. } => {
                Ok(self.into_final(Stage::Failed, Some(Reason::new("refused", message)), at))
            }
            Event::Refused { message, until, at, .. } => Ok(self.refused(message, until, at)),
            other => self.end_waiting(other),
        }
    }

    /// Whatever else it waits for it goes on waiting for.
    fn without_its_checkpoint(self) -> Self {
        let this = Self { checkpoint: None, ..self };
        match this.waits_for {
            None | Some(Wait::Checkpoint) => Self { reason: None, waits_for: None, not_before: None, ..this },
            Some(_) => this,
        }
    }

    /// What ends a job that has not begun, held or queued alike.
    fn end_waiting(self, event: Event) -> Result<Self, Illegal> {
        match event {
            Event::Supersede { at } => Ok(self.into_final(Stage::Superseded, Some(newer_known()), at)),
            Event::Command { what: Command::Cancel | Command::CancelSaving, at } => {
                Ok(self.into_final(Stage::Cancelled, Some(cancelled()), at))
            }
            other => Err(self.illegal(&other)),
        }
    }

    /// Of what another name was decided by, and of what was asked about without its recipe, the files are not known.
    fn is_to_be_diffed(&self) -> bool {
        self.is_undiffed || matches!(self.hold, Some(HoldReason::Renamed { .. }))
    }

    fn is_too_much(&self) -> bool {
        matches!(self.hold, Some(HoldReason::TooManyJobs(_) | HoldReason::TooManyPaths(_)))
    }

    fn approved_in_full(self) -> Self {
        let mut approved = self.approved.clone();
        approved.extend(self.hold.as_ref().map(|hold| Arc::from(hold.word())));
        let approved_jobs = match self.hold {
            Some(HoldReason::TooManyJobs(count)) => Some(count),
            _ => self.approved_jobs,
        };
        let asked = self.into_held(HoldReason::NeedsDiff(Gap::Truncated));
        Self { approved, approved_jobs, diff_failures: 0, ..asked }
    }

    /// A person's word alone can supply neither a diff nor the paths of the jobs that were too many.
    fn is_approvable(&self) -> bool {
        let is_about_files = |hold: &HoldReason| {
            matches!(
                hold,
                HoldReason::NeedsDiff(_) | HoldReason::TooManyJobs(_) | HoldReason::TooManyPaths(_)
            )
        };
        !self.hold.as_ref().is_some_and(is_about_files)
    }

    fn diffed(self, answer: Diffed, at: Timestamp) -> Self {
        match answer {
            Diffed::Launch(not_before) => self.into_queued(not_before, not_before.map(|_| Wait::Time)),
            // A policy that is not content with a diff would be asked for ever.
            Diffed::Hold(reason @ HoldReason::NeedsDiff(_)) => {
                let message = format!("the diff is known, and the policy says: {}", reason.reason());
                self.into_held(reason).diff_failed(message, None, at)
            }
            Diffed::Hold(reason @ HoldReason::RecipeGone) => {
                Self { is_undiffed: true, ..self.into_held(reason) }
            }
            Diffed::Hold(reason) => self.into_held(reason),
            Diffed::Skip(why) => {
                let why = Reason::new("skipped_after_diff", why.to_string());
                self.into_final(Stage::Cancelled, Some(why), at)
            }
            Diffed::Expand { jobs, .. } => {
                let why = Reason::new(
                    "expanded",
                    format!("{} jobs took its place, one per changed file", jobs.len()),
                );
                self.into_final(Stage::Cancelled, Some(why), at)
            }
            Diffed::Failed { message, until } => self.diff_failed(message, Some(until), at),
        }
    }

    fn diff_failed(self, message: String, until: Option<Timestamp>, at: Timestamp) -> Self {
        let failed = Self { diff_failures: self.diff_failures + 1, not_before: until, ..self };
        if failed.diff_failures < MAX_DIFF_FAILURES {
            return failed;
        }
        failed.into_final(Stage::Failed, Some(Reason::new("diff", message)), at)
    }

    /// Queued until it is tried again.
    pub(super) fn refused(self, message: String, until: Timestamp, at: Timestamp) -> Self {
        // What may be tried again at once was given back and not refused.
        let refusals = self.refusals.saturating_add(u32::from(until > at));
        let reason = Some(Reason::new(Wait::Backoff.word(), message));
        Self { refusals, reason, ..self.into_queued(Some(until), Some(Wait::Backoff)) }
    }
}

/// How often git may fail to tell a diff.
const MAX_DIFF_FAILURES: u32 = 10;
