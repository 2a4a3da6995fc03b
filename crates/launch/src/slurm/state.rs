//! The states of a Slurm job, and what they mean for a run (<https://slurm.schedmd.com/job_state_codes.html>).

use swifthook_core::{Exit, Reason, StopKind};

/// What a state says of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It waits in the queue, or is put there again.
    Waits,
    /// It is on its nodes.
    Runs,
    /// It is there no more.
    Over(Over),
}

/// How Slurm says that a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// Its script ended.
    Completed,
    /// Its script ended otherwise than with 0.
    Failed,
    /// Somebody called `scancel`.
    Cancelled,
    /// Its limit was reached.
    TimeUp,
    /// It made way for another one.
    Preempted,
    /// A node failed under it.
    NodeFailed,
    /// It used more memory than it may.
    OutOfMemory,
    /// It could not begin before its deadline, or at all.
    NeverBegan,
    /// It is at another cluster of a federation.
    Revoked,
}

/// What the name of a state says. A name that newer versions have added is taken for one that runs: nothing is concluded
/// from what is not understood.
pub(super) fn standing(name: &str) -> Standing {
    // `CANCELLED by 1000` is how sacct says it, and it may cut a long one off with `+`.
    let word = name.split_whitespace().next().unwrap_or_default().trim_end_matches('+');
    match word {
        "PENDING" | "REQUEUED" | "REQUEUE_FED" | "REQUEUE_HOLD" | "SPECIAL_EXIT" | "RESV_DEL_HOLD" => {
            Standing::Waits
        }
        "COMPLETED" => Standing::Over(Over::Completed),
        "FAILED" | "LAUNCH_FAILED" => Standing::Over(Over::Failed),
        "CANCELLED" => Standing::Over(Over::Cancelled),
        "TIMEOUT" => Standing::Over(Over::TimeUp),
        "PREEMPTED" => Standing::Over(Over::Preempted),
        "NODE_FAIL" => Standing::Over(Over::NodeFailed),
        "OUT_OF_MEMORY" => Standing::Over(Over::OutOfMemory),
        "BOOT_FAIL" | "DEADLINE" | "RECONFIG_FAIL" => Standing::Over(Over::NeverBegan),
        "REVOKED" => Standing::Over(Over::Revoked),
        // RUNNING, CONFIGURING, COMPLETING, SUSPENDED, STOPPED, SIGNALING, RESIZING, STAGE_OUT, POWER_UP_NODE, …
        _ => Standing::Runs,
    }
}

impl Over {
    /// The end of a run that could not write it down itself.
    pub(super) fn exit(self, began: bool) -> Exit {
        let (stopped, message) = match self {
            Self::Cancelled if began => (Some(StopKind::Cancel), "it was cancelled on Slurm, by `scancel`"),
            Self::Cancelled => (Some(StopKind::Cancel), "it was cancelled on Slurm before it began"),
            Self::TimeUp => (Some(StopKind::Yield), "the time limit of its Slurm job was reached"),
            Self::Preempted => (Some(StopKind::Yield), "Slurm had it make way for another job"),
            Self::NodeFailed => (None, "a node failed under it"),
            Self::OutOfMemory => {
                (Some(StopKind::Limit), "it used more memory than its Slurm job may, and was killed")
            }
            Self::NeverBegan => {
                (None, "Slurm could not begin it: its nodes did not start, or its deadline passed")
            }
            Self::Revoked => (None, "another cluster of the federation took its Slurm job"),
            Self::Completed | Self::Failed if began => {
                (None, "its Slurm job ended without a word of how; its log may say more")
            }
            Self::Completed | Self::Failed => {
                (None, "its Slurm job ended before the run began; its log may say more")
            }
        };
        Exit { stopped, message: Some(message.into()), ..Exit::default() }
    }
}

/// Why a job waits, in a person's words (<https://slurm.schedmd.com/job_reason_codes.html>).
pub(super) fn waits(state: &str, reason: &str) -> Reason {
    let told = WAITS.iter().find(|(name, _)| {
        *name == reason || name.strip_suffix('*').is_some_and(|start| reason.starts_with(start))
    });
    let why = match (told, reason) {
        (Some((_, why)), _) => format!("{why} (Slurm: {reason})"),
        (None, "" | "None" | "(null)") => "it is in Slurm's queue".to_owned(),
        (None, reason) => format!("it is in Slurm's queue: {reason}"),
    };
    match state {
        "SUSPENDED" | "STOPPED" => Reason::new("slurm", "Slurm has suspended it".to_owned()),
        _ => Reason::new("slurm", why),
    }
}

const WAITS: [(&str, &str); 23] = [
    ("Priority", "jobs with a higher priority go first"),
    ("Resources", "it waits for nodes, processors or GPUs to become free"),
    ("BeginTime", "its time to begin has not come"),
    ("Dependency", "it waits for another job"),
    ("JobHeldUser", "it is held: `scontrol release` lets it go on"),
    ("JobHeldAdmin", "an administrator holds it"),
    ("JobHoldMaxRequeue", "it was begun anew too often, and is held"),
    ("launch failed requeued held", "it could not be started on its node, and is held"),
    ("PartitionDown", "its partition is down"),
    ("PartitionInactive", "its partition takes no jobs"),
    ("PartitionNodeLimit", "it asks for more nodes than its partition gives, and waits until that changes"),
    ("PartitionTimeLimit", "it asks for more time than its partition gives, and waits until that changes"),
    ("ReqNodeNotAvail*", "a node that it needs is down, drained or reserved"),
    ("Nodes required for job are DOWN*", "nodes that it needs are down, drained or reserved"),
    ("NodeDown", "a node that it needs is down"),
    ("Reservation*", "it waits for its reservation"),
    ("Licenses", "it waits for a licence"),
    ("QOS*", "a limit of its quality of service is reached"),
    ("Assoc*", "a limit of its account is reached"),
    ("MaxJobsPerAccount", "its account has as many jobs running as it may"),
    ("InvalidAccount", "its account is not valid any more"),
    ("InvalidQOS", "its quality of service is not valid any more"),
    ("BadConstraints", "no node could ever give what it asks for"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// All that Slurm 22.05 to 25.05 name.
    #[test]
    fn every_state_is_known_and_an_unknown_one_is_no_end() {
        for name in ["PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"] {
            assert_eq!(standing(name), Standing::Waits, "{name}");
        }
        for name in [
            "RUNNING",
            "CONFIGURING",
            "COMPLETING",
            "SUSPENDED",
            "STOPPED",
            "SIGNALING",
            "RESIZING",
            "STAGE_OUT",
            "NEW",
        ] {
            assert_eq!(standing(name), Standing::Runs, "{name}");
        }
        for (name, over) in [
            ("COMPLETED", Over::Completed),
            ("FAILED", Over::Failed),
            ("LAUNCH_FAILED", Over::Failed),
            ("CANCELLED", Over::Cancelled),
            ("CANCELLED by 1000", Over::Cancelled),
            ("CANCELLED+", Over::Cancelled),
            ("TIMEOUT", Over::TimeUp),
            ("PREEMPTED", Over::Preempted),
            ("NODE_FAIL", Over::NodeFailed),
            ("OUT_OF_MEMORY", Over::OutOfMemory),
            ("BOOT_FAIL", Over::NeverBegan),
            ("DEADLINE", Over::NeverBegan),
            ("REVOKED", Over::Revoked),
        ] {
            assert_eq!(standing(name), Standing::Over(over), "{name}");
        }
    }

    #[test]
    fn why_a_job_waits_is_told_in_words() {
        let told = |reason| waits("PENDING", reason).detail.to_string();
        assert_eq!(told("Priority"), "jobs with a higher priority go first (Slurm: Priority)");
        assert_eq!(
            told("QOSMaxJobsPerUserLimit"),
            "a limit of its quality of service is reached (Slurm: QOSMaxJobsPerUserLimit)"
        );
        assert_eq!(told("None"), "it is in Slurm's queue");
        assert_eq!(told("SomethingNew"), "it is in Slurm's queue: SomethingNew");
    }

    #[test]
    fn what_slurm_did_to_a_run_says_how_its_job_goes_on() {
        let stopped = |over: Over| over.exit(true).stopped;
        for over in [Over::TimeUp, Over::Preempted] {
            assert_eq!(stopped(over), Some(StopKind::Yield), "it goes on: {over:?}");
        }
        assert_eq!(stopped(Over::Cancelled), Some(StopKind::Cancel));
        assert_eq!(stopped(Over::OutOfMemory), Some(StopKind::Limit));
        for over in [Over::NodeFailed, Over::Completed, Over::Failed] {
            let exit = over.exit(true);
            assert!(
                exit.is_machine_failure(&swifthook_core::Retry::default()) && exit.stopped.is_none(),
                "{over:?}"
            );
        }
    }
}
