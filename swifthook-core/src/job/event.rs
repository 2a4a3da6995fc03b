use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{JobSpec, Retry, Stage};
use crate::admission::Wait;
use crate::launcher::RunHandle;
use crate::policy::{HoldReason, Reason, Verdict};
use crate::time::Timestamp;

/// Everything that can happen to a job that exists. [`State::apply`](super::State::apply) says what follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A worker took it, and nothing is known to run: the epoch moves, and nothing else.
    Claim {
        /// When.
        at: Timestamp,
    },
    /// Admission says now: the attempt begins. Counts the attempt and a crash that a good poll takes back.
    Start {
        /// When.
        at: Timestamp,
        /// The host that alone can tell whether the attempt has a run, where not any host can.
        host: Option<Arc<str>>,
    },
    /// Admission says later.
    NotBefore {
        /// The earliest next try.
        until: Timestamp,
        /// What for.
        waits_for: Wait,
        /// For people.
        why: String,
    },
    /// Admission or the configuration of the moment says that an answer is needed first.
    Hold(HoldReason),
    /// Admission says that it is no longer wanted.
    NoLonger {
        /// Why.
        why: Reason,
        /// When.
        at: Timestamp,
    },
    /// The diff was asked for: what the policy says now.
    Diffed {
        /// What it says.
        answer: Diffed,
        /// When.
        at: Timestamp,
    },
    /// The launcher has it.
    Submitted(RunHandle),
    /// The launcher refused it.
    Refused {
        /// Whether it would refuse again.
        is_permanent: bool,
        /// What it said.
        message: String,
        /// The earliest next try, where it would not.
        until: Timestamp,
        /// When.
        at: Timestamp,
    },
    /// What it is to run cannot be run as it stands, so nothing was submitted: it ends, and nobody tries again.
    Unfit {
        /// Why.
        why: Reason,
        /// When.
        at: Timestamp,
    },
    /// The attempt has no run, and its launcher saw to it that it never will
    /// ([`forbid`](crate::TrainingLauncher::forbid)): the number of the attempt is spent, and nothing failed.
    NeverRan,
    /// A poll found the run pending or running.
    Seen,
    /// The launcher could not be reached: evidence of nothing.
    Unreachable {
        /// Since when.
        since: Timestamp,
    },
    /// Somebody or something wants the run to end.
    StopWanted(StopKind),
    /// The run has ended, with evidence of how.
    Ended(Exit),
    /// The run is known to be gone, without evidence of how.
    Vanished,
    /// What the run left has been collected.
    Collected {
        /// Whether every step was done; `None` where the run does not tell.
        steps_done: Option<bool>,
        /// The earliest next run, if there is one.
        retry_at: Timestamp,
        /// When.
        at: Timestamp,
    },
    /// Another worker takes over a job whose run it has not seen yet.
    Takeover {
        /// When.
        at: Timestamp,
    },
    /// Its worker lets go of it in good order; the run goes on.
    Release,
    /// What a held job waited for is no more: it goes on.
    CauseGone,
    /// Nobody answered a held job in time.
    Expire {
        /// When.
        at: Timestamp,
    },
    /// A newer change of its group is known.
    Supersede {
        /// When.
        at: Timestamp,
    },
    /// A person's word.
    Command {
        /// What is wanted.
        what: Command,
        /// When.
        at: Timestamp,
    },
}

impl Event {
    /// What it would do, in words: "cannot …".
    #[must_use]
    pub fn words(&self) -> &'static str {
        match self {
            Self::Claim { .. } => "be claimed",
            Self::Start { .. } => "start",
            Self::NotBefore { .. } => "be put off",
            Self::Hold(_) => "be held",
            Self::NoLonger { .. } => "be given up",
            Self::Diffed { .. } => "take a diff",
            Self::Submitted(_) => "be submitted",
            Self::Refused { .. } => "be refused",
            Self::Unfit { .. } => "be unfit",
            Self::NeverRan => "be known never to have run",
            Self::Seen => "be seen running",
            Self::Unreachable { .. } => "be out of reach",
            Self::StopWanted(_) => "be stopped",
            Self::Ended(_) => "end",
            Self::Vanished => "vanish",
            Self::Collected { .. } => "be collected",
            Self::Takeover { .. } => "be taken over",
            Self::Release => "be released",
            Self::CauseGone => "go on",
            Self::Expire { .. } => "expire",
            Self::Supersede { .. } => "be superseded",
            Self::Command { what, .. } => what.words(),
        }
    }
}

/// What a person can ask of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Command {
    /// Let a held job go on.
    Approve,
    /// End a held job.
    Reject,
    /// End it; a run is stopped first.
    Cancel,
    /// Train a finished job's change again, as a new job.
    Retry,
    /// Give up on a run that cannot be reached.
    Abandon,
}

impl Command {
    /// What it asks for, in words: "cannot …".
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Approve => "be approved",
            Self::Reject => "be rejected",
            Self::Cancel => "be cancelled",
            Self::Retry => "be retried",
            Self::Abandon => "be abandoned",
        }
    }
}

/// What the policy said when the diff was known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Diffed {
    /// It trains, not before the given time.
    Launch(Option<Timestamp>),
    /// It needs another answer.
    Hold(HoldReason),
    /// It does not train.
    Skip(Reason),
    /// A recipe with `each`: one job per file takes its place.
    Expand {
        /// The jobs.
        jobs: Vec<JobSpec>,
        /// What becomes of them, as at an intake: a launch, or a hold for another answer.
        verdict: Verdict,
    },
    /// Git could not tell this time.
    Failed {
        /// What it said.
        message: String,
        /// The earliest next try.
        until: Timestamp,
    },
}

/// Why a run is asked to end. The first that came stays, but what ends the job for good replaces a yield: else it would
/// go on later though nobody wants it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopKind {
    /// A person cancelled it.
    Cancel,
    /// A newer change took its place.
    Supersede,
    /// Its time is up.
    Timeout,
    /// It is to save, let others have the machine, and go on later.
    Yield,
}

impl StopKind {
    /// Whether the job is not wanted any more, however its run ends.
    #[must_use]
    pub(super) fn is_for_good(self) -> bool {
        matches!(self, Self::Cancel | Self::Supersede)
    }
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit code, if it exited.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Who asked for the end, if anybody did.
    pub stopped: Option<StopKind>,
    /// In a person's words, where there is more to say.
    pub message: Option<Arc<str>>,
    /// When it ended, if that is known.
    pub at: Option<Timestamp>,
}

impl Exit {
    /// Whether it exited with 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.code == Some(0) && self.signal.is_none()
    }

    /// Whether the machine is to blame and not the training: a signal that nobody here sent, the codes by which
    /// shells (137, 143) and ms-swift's parent (247, 241) report that their child was killed or terminated, or a
    /// code that the recipe lists.
    #[must_use]
    pub fn is_machine_failure(&self, retry: &Retry) -> bool {
        match (self.signal, self.code) {
            (Some(_), _) => true,
            (None, Some(code)) => matches!(code, 137 | 143 | 241 | 247) || retry.exit_codes.contains(&code),
            (None, None) => true,
        }
    }
}

/// The event does not fit the stage; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {stage} cannot {event}")]
pub struct Illegal {
    /// The stage that the job is in.
    pub stage: Stage,
    /// What was tried, in words.
    pub event: &'static str,
}
