use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::signal::is_crash;
use super::{JobSpec, Retry, Stage};
use crate::admission::Wait;
use crate::fingerprint::Fingerprint;
use crate::gpu::{GpuGrant, GpuRequest, Workload};
use crate::launcher::{Checkpoint, RunHandle};
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
    /// What its next attempt is made of is known. Nothing has begun.
    Prepared(Prepared),
    /// What may go wrong with it though it may run, in place of what was said before; empty when nothing may.
    Warned(Vec<Reason>),
    /// Admission says now: the attempt begins. Counts the attempt and a crash that a good poll takes back.
    Start {
        /// When.
        at: Timestamp,
        /// The host that alone can tell whether the attempt has a run, where not any host can.
        host: Option<Arc<str>>,
        /// The GPUs that it has to itself. A queue leases them in the same transaction, or refuses.
        gpus: Option<GpuGrant>,
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
    /// There are no GPUs for it now.
    NoGpus {
        /// The earliest next try.
        until: Timestamp,
        /// What it asks for, so that others know.
        request: GpuRequest,
        /// For people.
        why: String,
    },
    /// Admission or the configuration of the moment says that an answer is needed first.
    Hold(HoldReason),
    /// The checkpoint that it was to go on from is gone: it begins anew.
    CheckpointLost {
        /// What is known of it.
        why: String,
    },
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
    /// The launcher refused it, or what it needs could not be had before its attempt began.
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
    /// What it is to run cannot be run as it stands, so no attempt begins: it ends, and nobody tries again.
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
    /// Whoever watches the run says what is wrong with it, or that nothing is any more.
    Watched(Option<Reason>),
    /// The run has ended, with evidence of how.
    Ended(Exit),
    /// The run is known to be gone, without evidence of how.
    Vanished,
    /// What the run left has been collected.
    Collected {
        /// Whether every step was done; `None` where the run does not tell.
        steps_done: Option<bool>,
        /// The last step, where the run counts them.
        step: Option<u64>,
        /// Its last whole checkpoint; `None` if it left none, and then one of an earlier attempt stays the last.
        checkpoint: Option<Checkpoint>,
        /// The most memory of an accelerator that it told to have had, in bytes for each of its processes.
        #[serde(default)]
        peak_memory: Option<u64>,
        /// Why it fails though it exited as one that is done: it had no step to do, or its training diverged and its
        /// watchdog stops such a run.
        #[serde(default)]
        fails: Option<Reason>,
        /// The earliest next run, if there is one.
        retry_at: Timestamp,
        /// When.
        at: Timestamp,
    },
    /// Another worker takes over a job whose run it has not seen yet, or whose worker was lost before the attempt began.
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
    /// Another push of its commit trains, so whatever it is held for has no use any more.
    Answered {
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
            Self::Prepared(_) => "be prepared",
            Self::Warned(_) => "be warned of",
            Self::Start { .. } => "start",
            Self::NotBefore { .. } | Self::NoGpus { .. } => "be put off",
            Self::Hold(_) => "be held",
            Self::CheckpointLost { .. } => "lose its checkpoint",
            Self::NoLonger { .. } => "be given up",
            Self::Diffed { .. } => "take a diff",
            Self::Submitted(_) => "be submitted",
            Self::Refused { .. } => "be refused",
            Self::Unfit { .. } => "be unfit",
            Self::NeverRan => "be known never to have run",
            Self::Seen => "be seen running",
            Self::Unreachable { .. } => "be out of reach",
            Self::StopWanted(_) => "be stopped",
            Self::Watched(_) => "be watched",
            Self::Ended(_) => "end",
            Self::Vanished => "vanish",
            Self::Collected { .. } => "be collected",
            Self::Takeover { .. } => "be taken over",
            Self::Release => "be released",
            Self::CauseGone => "go on",
            Self::Expire { .. } => "expire",
            Self::Supersede { .. } => "be superseded",
            Self::Answered { .. } => "be answered",
            Self::Command { what, .. } => what.words(),
        }
    }
}

/// What the next attempt of a job is made of, as far as that is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// What would run.
    pub fingerprint: Option<Fingerprint>,
    /// What it would run in: `uv:…`, with the digest of what it was made of.
    pub environment: Option<Arc<str>>,
    /// What decides how much memory it needs on its GPUs.
    #[serde(default)]
    pub workload: Option<Workload>,
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
    /// End it; a run saves first, as one that makes way.
    CancelSaving,
    /// Let its run save and end; it goes on later.
    Yield,
    /// Train a finished job's change again, as a new job that is rendered as the one before.
    Retry,
    /// Give up on a run that cannot be reached.
    Abandon,
    /// Let a job that waits for the host of its checkpoint begin anew without it, wherever there is a worker. What was saved
    /// is not removed, and no attempt goes on from there any more.
    BeginAnew,
}

impl Command {
    /// What it asks for, in words: "cannot …".
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Approve => "be approved",
            Self::Reject => "be rejected",
            Self::Cancel | Self::CancelSaving => "be cancelled",
            Self::Yield => "make way",
            Self::Retry => "be retried",
            Self::Abandon => "be abandoned",
            Self::BeginAnew => "begin anew",
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
/// go on later though nobody wants it any more. Whoever cancels a run that is to save first waits for that no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopKind {
    /// A person cancelled it.
    Cancel,
    /// A person cancelled it, and it is to save first.
    CancelSaving,
    /// A newer change took its place.
    Supersede,
    /// Its time is up.
    Timeout,
    /// It is to save, let others have the machine, and go on later.
    Yield,
    /// It is stuck or astray, and its job is to fail.
    Stuck,
    /// It is stuck or astray, and another attempt is to go on from its last checkpoint.
    Restart,
    /// It used more than it may.
    Limit,
}

impl StopKind {
    /// Its word, as it is stored and logged.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::CancelSaving => "cancel_saving",
            Self::Supersede => "supersede",
            Self::Timeout => "timeout",
            Self::Yield => "yield",
            Self::Stuck => "stuck",
            Self::Restart => "restart",
            Self::Limit => "limit",
        }
    }

    /// Whether the job is not wanted any more, however its run ends.
    #[must_use]
    pub(super) fn is_for_good(self) -> bool {
        matches!(self, Self::Cancel | Self::CancelSaving | Self::Supersede)
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
    /// How long after its start it ended, if a GPU had no memory left for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_of_gpu_memory_after: Option<Duration>,
    /// True if the port by which its processes were to find each other was somebody else's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub port_taken: bool,
    /// Whether it never began since what it needs cannot be had (a commit that is gone, a server that does not let it in),
    /// and could not be had another time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
}

impl Exit {
    /// Whether it exited with 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.code == Some(0) && self.signal.is_none()
    }

    /// Whether it found a GPU too full as soon as it wanted one: somebody else had taken what was free before. Later
    /// it is the training that needs too much.
    #[must_use]
    pub fn found_gpu_full(&self) -> bool {
        !self.is_success() && self.out_of_gpu_memory_after.is_some_and(|after| after <= SOON)
    }

    /// Tells whether the machine is to blame and not the training: a signal that nobody here sent and the training did not bring
    /// about itself ([`is_crash`]), the codes by which shells (137, 143) and ms-swift's parent (247, 241) report that their
    /// child was killed or terminated, or a code that the recipe lists: of a signal, the one that a shell would tell.
    #[must_use]
    pub fn is_machine_failure(&self, retry: &Retry) -> bool {
        if self.refused {
            return false;
        }
        match (self.signal, self.code) {
            (Some(signal), _) => !is_crash(signal) || retry.exit_codes.contains(&(128 + signal)),
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

/// How soon after its start a run has to find a GPU full, so that it is not its own doing.
const SOON: Duration = Duration::from_secs(60);
