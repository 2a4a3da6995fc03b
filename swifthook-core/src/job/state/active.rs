//! What happens to a job that has an attempt, until all of it is collected.

use super::end::Remains;
use super::{MAX_CRASHES, State};
use crate::job::{Command, Event, Evidence, Illegal, Retry, Stage, StopKind};
use crate::policy::Reason;
use crate::time::Timestamp;

impl State {
    pub(super) fn apply_running(self, event: Event, retry: &Retry) -> Result<Self, Illegal> {
        match event {
            Event::Refused { is_permanent: true, message, at, .. } if self.handle.is_none() => {
                Ok(self.into_final(Stage::Failed, Some(Reason::new("refused", message)), at))
            }
            Event::Unfit { why, at } if self.handle.is_none() => {
                Ok(self.into_final(Stage::Failed, Some(why), at))
            }
            // The attempt never came about, so neither it nor the crash that it might have been counts.
            Event::Refused { message, until, at, .. } if self.handle.is_none() => {
                let (attempt, crashes) = (self.attempt.saturating_sub(1), self.crashes.saturating_sub(1));
                Ok(Self { attempt, crashes, ..self.refused(message, until, at) })
            }
            // The worker that began it may only be asleep, and submit when it wakes up: another attempt must not have
            // its key.
            Event::NeverRan if self.handle.is_none() => {
                let crashes = self.crashes.saturating_sub(1);
                Ok(Self { crashes, ..self.into_queued(None, None) })
            }
            other => self.apply_active(other, retry),
        }
    }

    pub(super) fn apply_finishing(self, event: Event, retry: &Retry) -> Result<Self, Illegal> {
        match event {
            // The submission was under way when the stop came.
            Event::Refused { .. } | Event::Unfit { .. } | Event::NeverRan
                if self.handle.is_none() && self.evidence.is_none() =>
            {
                Ok(self.with_evidence(Evidence::NeverRan))
            }
            Event::Collected { steps_done, step, ref checkpoint, peak_memory, ref fails, retry_at, at } => {
                match self.evidence.clone() {
                    Some(evidence) => {
                        let checkpoint = checkpoint.clone().or(self.checkpoint.clone());
                        let peak_memory = self.peak_memory.max(peak_memory);
                        let this = Self { exit: Some(evidence.exit()), checkpoint, peak_memory, ..self };
                        let remains = Remains { steps_done, step, fails: fails.clone() };
                        Ok(this.collected(&remains, retry, retry_at, at))
                    }
                    None => Err(self.illegal(&event)),
                }
            }
            other => self.apply_active(other, retry),
        }
    }

    /// What happens alike to a job that runs and to one that is being stopped.
    fn apply_active(self, event: Event, retry: &Retry) -> Result<Self, Illegal> {
        match event {
            Event::Submitted(ref handle) if self.handle.as_ref() == Some(handle) => Ok(self),
            Event::Submitted(handle) if self.handle.is_none() && self.evidence.is_none() => {
                Ok(Self { handle: Some(handle), refusals: 0, ..self })
            }
            // Its end is known, and what is heard of the run since is no news: a crash counts as one for all that.
            Event::Seen | Event::Unreachable { .. } | Event::Ended(_) | Event::Vanished
                if self.evidence.is_some() =>
            {
                Ok(self)
            }
            Event::Seen => Ok(Self { crashes: 0, unreachable_since: None, ..self }),
            Event::Unreachable { since } => {
                let unreachable_since = Some(self.unreachable_since.unwrap_or(since));
                Ok(Self { unreachable_since, ..self })
            }
            Event::StopWanted(kind) => Ok(self.stopping(kind, retry)),
            Event::Watched(reason) if self.stage == Stage::Running => Ok(Self { reason, ..self }),
            Event::Watched(_) => Ok(self),
            Event::Warned(warnings) => Ok(Self { warnings, ..self }),
            Event::Supersede { .. } => Ok(self.stopping(StopKind::Supersede, retry)),
            Event::Command { what: Command::Cancel, .. } => Ok(self.stopping(StopKind::Cancel, retry)),
            Event::Command { what: Command::CancelSaving, .. } => {
                Ok(self.stopping(StopKind::CancelSaving, retry))
            }
            Event::Command { what: Command::Yield, .. } => Ok(self.stopping(StopKind::Yield, retry)),
            Event::Ended(exit) => Ok(Self { crashes: 0, ..self }.with_evidence(Evidence::Exited(exit))),
            Event::Vanished => Ok(self.with_evidence(Evidence::Vanished)),
            Event::Takeover { at } => Ok(self.taken_over(at)),
            Event::Release => Ok(Self { is_released: true, ..self }),
            Event::Command { what: Command::Abandon, at }
                if self.unreachable_since.is_some() && self.evidence.is_none() =>
            {
                let why = Reason::new("abandoned", "a person gave up on a run that could not be reached");
                Ok(Self { is_given_up: true, ..self.into_final(Stage::Failed, Some(why), at) })
            }
            other => Err(self.illegal(&other)),
        }
    }

    fn stopping(self, kind: StopKind, retry: &Retry) -> Self {
        if self.evidence.is_some() && !(kind.is_for_good() && self.would_go_on(retry)) {
            return self;
        }
        let stop = match (self.stop, kind) {
            (None, kind) => kind,
            (Some(StopKind::Yield), kind) if kind.is_for_good() => kind,
            (Some(StopKind::CancelSaving), StopKind::Cancel) => StopKind::Cancel,
            (Some(first), _) => first,
        };
        Self { stage: Stage::Finishing, stop: Some(stop), ..self }
    }

    /// Whether it would be queued again, given how its run is known to have ended.
    fn would_go_on(&self, retry: &Retry) -> bool {
        match (&self.evidence, self.stop) {
            (Some(_), Some(StopKind::Yield)) => true,
            (Some(_), Some(StopKind::Restart)) => self.retries + 1 < retry.attempts,
            (Some(_), Some(_)) => false,
            (Some(Evidence::Exited(exit)), None) if self.goes_to_another_gpu(exit) => true,
            (Some(Evidence::Exited(exit)), None) if exit.is_success() || !exit.is_machine_failure(retry) => {
                false
            }
            (Some(_), None) => self.retries + 1 < retry.attempts,
            (None, _) => false,
        }
    }

    fn with_evidence(self, evidence: Evidence) -> Self {
        let by_itself = match &evidence {
            Evidence::Exited(exit) => exit.stopped,
            Evidence::Vanished | Evidence::NeverRan => None,
        };
        Self {
            stage: Stage::Finishing,
            // The supervisor keeps the timeout while we are down, so it may know of a stop before we do.
            stop: self.stop.or(by_itself),
            evidence: Some(evidence),
            unreachable_since: None,
            ..self
        }
    }

    fn taken_over(self, at: Timestamp) -> Self {
        let is_counted = !self.is_released && self.unreachable_since.is_none();
        if self.crashes >= MAX_CRASHES && self.unreachable_since.is_none() && !self.is_poison {
            let poison = Self { is_poison: true, ..self.with_new_worker() };
            return match &poison.evidence {
                Some(evidence) => Self { exit: Some(evidence.exit()), ..poison }.into_quarantined(at),
                None => Self { stage: Stage::Finishing, ..poison },
            };
        }
        let crashes = self.crashes + u32::from(is_counted);
        Self { crashes, ..self.with_new_worker() }
    }
}
