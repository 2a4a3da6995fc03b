use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Command, Diffed, Event, Exit, Illegal, Retry, StopKind};
use crate::admission::Wait;
use crate::launcher::RunHandle;
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
    /// The earliest moment at which a worker may look at it.
    pub not_before: Option<Timestamp>,
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
    /// Its run, once a launcher has it.
    pub handle: Option<RunHandle>,
    /// How its run ended, once that is known.
    pub evidence: Option<Evidence>,
    /// Since when its run cannot be reached.
    pub unreachable_since: Option<Timestamp>,
    /// Whether its last worker let go of it in good order.
    pub is_released: bool,
    /// Whether it is to be quarantined once nothing of its run is left.
    pub is_poison: bool,
    /// How its last finished run ended.
    pub exit: Option<Exit>,
    /// When its current or last attempt began.
    pub started_at: Option<Timestamp>,
    /// When it reached its end.
    pub finished_at: Option<Timestamp>,
}

/// The stage of a job, by the word that scripts see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Waits for time and machines, by itself.
    Queued,
    /// Waits for an answer.
    Held,
    /// Has an attempt; from before its launch until its end is known.
    Running,
    /// Is being stopped, or what its run left is being collected. Still owns group, slot and GPUs.
    Finishing,
    /// Trained.
    Succeeded,
    /// Did not.
    Failed,
    /// A person or a rule ended it.
    Cancelled,
    /// A newer change took its place.
    Superseded,
    /// Lost its workers three times in a row; kept out of their way, with the evidence.
    Quarantined,
}

/// What is known of the end of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// It ended so.
    Exited(Exit),
    /// It is gone, and left no word.
    Vanished,
    /// It never began: its launcher refused it, or was told never to begin it.
    NeverRan,
}

impl Evidence {
    fn exit(&self) -> Exit {
        let untold = |message: &str| Exit { message: Some(message.into()), ..Exit::default() };
        match self {
            Self::Exited(exit) => exit.clone(),
            Self::Vanished => untold("the run is gone and left no word"),
            Self::NeverRan => untold("the run never began"),
        }
    }
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Held,
        Self::Running,
        Self::Finishing,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Superseded,
        Self::Quarantined,
    ];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Held => "held",
            Self::Running => "running",
            Self::Finishing => "finishing",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
            Self::Quarantined => "quarantined",
        }
    }

    /// The stage of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.word() == word)
    }

    /// Whether nothing leads out of it.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Held | Self::Running | Self::Finishing)
    }

    /// Whether it owns its group, a slot and its GPUs.
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Finishing)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
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
            not_before,
            debounce_since: None,
            attempt: 0,
            retries: 0,
            refusals: 0,
            epoch: 0,
            crashes: 0,
            diff_failures: 0,
            stop: None,
            begun_on: None,
            handle: None,
            evidence: None,
            unreachable_since: None,
            is_released: false,
            is_poison: false,
            exit: None,
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

    /// The host that alone can answer for its attempt, where not any host can.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        match &self.handle {
            Some(run) => run.host.as_deref(),
            None => self.begun_on.as_deref(),
        }
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

    /// A person's word can supply neither a diff nor the paths of the jobs that were too many.
    fn is_approvable(&self) -> bool {
        !matches!(self.hold, Some(HoldReason::NeedsDiff(_) | HoldReason::TooManyJobs(_)))
    }

    fn apply_held(self, event: Event) -> Result<Self, Illegal> {
        match event {
            Event::Claim { .. } | Event::Takeover { .. } if self.needs_diff() => Ok(self.with_new_worker()),
            Event::Release if self.needs_diff() => Ok(Self { is_released: true, ..self }),
            Event::Diffed { answer, at } if self.needs_diff() => Ok(self.diffed(answer, at)),
            Event::Command { what: Command::Approve, .. } if self.is_approvable() => {
                Ok(self.into_queued(None, None))
            }
            Event::CauseGone if self.is_approvable() => Ok(self.into_queued(None, None)),
            Event::Command { what: Command::Reject, at } => Ok(self.into_final(
                Stage::Cancelled,
                Some(Reason::new("rejected", "a person rejected it")),
                at,
            )),
            Event::Expire { at } => Ok(self.into_final(
                Stage::Cancelled,
                Some(Reason::new("expired", "nobody answered in time")),
                at,
            )),
            other => self.end_waiting(other),
        }
    }

    fn apply_queued(self, event: Event) -> Result<Self, Illegal> {
        match event {
            Event::Claim { at } | Event::Takeover { at } if self.crashes >= MAX_CRASHES => {
                Ok(self.with_new_worker().into_quarantined(at))
            }
            Event::Claim { .. } | Event::Takeover { .. } => Ok(self.with_new_worker()),
            Event::Release => Ok(Self { is_released: true, ..self }),
            Event::Start { at, host } => Ok(Self {
                stage: Stage::Running,
                reason: None,
                waits_for: None,
                not_before: None,
                attempt: self.attempt + 1,
                crashes: self.crashes + 1,
                is_released: false,
                begun_on: host,
                started_at: Some(at),
                ..self
            }),
            Event::NotBefore { until, waits_for, why } => Ok(Self {
                reason: Some(Reason::new(waits_for.word(), why)),
                waits_for: Some(waits_for),
                not_before: Some(until),
                ..self
            }),
            Event::Hold(reason) => Ok(self.into_held(reason)),
            Event::NoLonger { why, at } => Ok(self.into_final(Stage::Cancelled, Some(why), at)),
            other => self.end_waiting(other),
        }
    }

    /// What ends a job that has not begun, held or queued alike.
    fn end_waiting(self, event: Event) -> Result<Self, Illegal> {
        match event {
            Event::Supersede { at } => Ok(self.into_final(Stage::Superseded, Some(newer_known()), at)),
            Event::Command { what: Command::Cancel, at } => {
                Ok(self.into_final(Stage::Cancelled, Some(cancelled()), at))
            }
            other => Err(self.illegal(&other)),
        }
    }

    fn apply_running(self, event: Event, retry: &Retry) -> Result<Self, Illegal> {
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
                // What may be tried again at once was given back and not refused.
                let refusals = self.refusals.saturating_add(u32::from(until > at));
                let reason = Some(Reason::new(Wait::Backoff.word(), message));
                let queued = self.into_queued(Some(until), Some(Wait::Backoff));
                Ok(Self { attempt, crashes, refusals, reason, ..queued })
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

    fn apply_finishing(self, event: Event, retry: &Retry) -> Result<Self, Illegal> {
        match event {
            // The submission was under way when the stop came.
            Event::Refused { .. } | Event::Unfit { .. } | Event::NeverRan
                if self.handle.is_none() && self.evidence.is_none() =>
            {
                Ok(self.with_evidence(Evidence::NeverRan))
            }
            Event::Collected { steps_done, retry_at, at } => match self.evidence.clone() {
                Some(evidence) => Ok(self.collected(&evidence, steps_done, retry, retry_at, at)),
                None => Err(self.illegal(&event)),
            },
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
            Event::Supersede { .. } => Ok(self.stopping(StopKind::Supersede, retry)),
            Event::Command { what: Command::Cancel, .. } => Ok(self.stopping(StopKind::Cancel, retry)),
            Event::Ended(exit) => Ok(Self { crashes: 0, ..self }.with_evidence(Evidence::Exited(exit))),
            Event::Vanished => Ok(self.with_evidence(Evidence::Vanished)),
            Event::Takeover { at } => Ok(self.taken_over(at)),
            Event::Release => Ok(Self { is_released: true, ..self }),
            Event::Command { what: Command::Abandon, at }
                if self.unreachable_since.is_some() && self.evidence.is_none() =>
            {
                let why = Reason::new("abandoned", "a person gave up on a run that could not be reached");
                Ok(self.into_final(Stage::Failed, Some(why), at))
            }
            other => Err(self.illegal(&other)),
        }
    }

    fn diffed(self, answer: Diffed, at: Timestamp) -> Self {
        match answer {
            Diffed::Launch(not_before) => self.into_queued(not_before, not_before.map(|_| Wait::Time)),
            // A policy that is not content with a diff would be asked for ever.
            Diffed::Hold(reason @ HoldReason::NeedsDiff(_)) => {
                let message = format!("the diff is known, and the policy says: {}", reason.reason());
                self.into_held(reason).diff_failed(message, None, at)
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

    fn stopping(self, kind: StopKind, retry: &Retry) -> Self {
        if self.evidence.is_some() && !(kind.is_for_good() && self.would_go_on(retry)) {
            return self;
        }
        let stop = match (self.stop, kind) {
            (None, kind) => kind,
            (Some(StopKind::Yield), kind) if kind.is_for_good() => kind,
            (Some(first), _) => first,
        };
        Self { stage: Stage::Finishing, stop: Some(stop), ..self }
    }

    /// Whether it would be queued again, given how its run is known to have ended.
    fn would_go_on(&self, retry: &Retry) -> bool {
        match (&self.evidence, self.stop) {
            (Some(_), Some(stop)) => stop == StopKind::Yield,
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

    fn collected(
        self,
        evidence: &Evidence,
        steps_done: Option<bool>,
        retry: &Retry,
        retry_at: Timestamp,
        at: Timestamp,
    ) -> Self {
        let exit = evidence.exit();
        let this = Self { exit: Some(exit.clone()), ..self };
        // A trainer that does not count its steps and exits with 0 is done, unless it was asked to end.
        if exit.is_success() && steps_done.unwrap_or(this.stop.is_none()) {
            return this.into_final(Stage::Succeeded, None, at);
        }
        if this.is_poison {
            return this.into_quarantined(at);
        }
        match this.stop {
            Some(StopKind::Cancel) => this.into_final(Stage::Cancelled, Some(cancelled()), at),
            Some(StopKind::Supersede) => this.into_final(Stage::Superseded, Some(newer_known()), at),
            Some(StopKind::Timeout) => {
                this.into_final(Stage::Failed, Some(Reason::new("timeout", "its time was up")), at)
            }
            Some(StopKind::Yield) => this.into_queued(None, None),
            None if exit.is_success() => {
                let why = Reason::new("stopped_early", "it ended well before its last step");
                this.into_final(Stage::Succeeded, Some(why), at)
            }
            None if exit.is_machine_failure(retry) => this.failed_by_machine(&exit, retry, retry_at, at),
            None => {
                let why = Reason::new("training", describe(&exit));
                this.into_final(Stage::Failed, Some(why), at)
            }
        }
    }

    fn failed_by_machine(self, exit: &Exit, retry: &Retry, retry_at: Timestamp, at: Timestamp) -> Self {
        let why = describe(exit);
        let counted = Self { retries: self.retries + 1, ..self };
        if counted.retries < retry.attempts {
            let queued = counted.into_queued(Some(retry_at), Some(Wait::Backoff));
            return Self { reason: Some(Reason::new(Wait::Backoff.word(), why)), ..queued };
        }
        counted.into_final(Stage::Failed, Some(Reason::new("machine", why)), at)
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
            not_before,
            stop: None,
            begun_on: None,
            handle: None,
            evidence: None,
            unreachable_since: None,
            ..self
        }
    }

    fn into_held(self, hold: HoldReason) -> Self {
        let reason = Some(hold.reason());
        Self { stage: Stage::Held, hold: Some(hold), reason, waits_for: None, not_before: None, ..self }
    }

    fn into_final(self, stage: Stage, reason: Option<Reason>, at: Timestamp) -> Self {
        Self { stage, hold: None, reason, waits_for: None, not_before: None, finished_at: Some(at), ..self }
    }

    fn into_quarantined(self, at: Timestamp) -> Self {
        let why = Reason::new("crashes", format!("{MAX_CRASHES} workers in a row were lost with it"));
        self.into_final(Stage::Quarantined, Some(why), at)
    }

    fn illegal(&self, event: &Event) -> Illegal {
        Illegal { stage: self.stage, event: event.words() }
    }
}

fn newer_known() -> Reason {
    Reason::new("superseded", "a newer change of its group is known")
}

fn cancelled() -> Reason {
    Reason::new("cancelled", "a person cancelled it")
}

fn describe(exit: &Exit) -> String {
    match (&exit.message, exit.code, exit.signal) {
        (Some(message), ..) => message.to_string(),
        (None, _, Some(signal)) => format!("ended by signal {signal}"),
        (None, Some(code), None) => format!("exit code {code}"),
        (None, None, None) => "it ended, and nobody knows how".into(),
    }
}

/// How many workers may be lost with a job in a row.
const MAX_CRASHES: u32 = 3;
/// How often git may fail to tell a diff.
const MAX_DIFF_FAILURES: u32 = 10;
