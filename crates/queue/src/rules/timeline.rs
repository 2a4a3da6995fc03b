use std::sync::Arc;

use swifthook_core::{
    Checkpoint, Command, Diffed, Event, Exit, Job, Prepared, Reason, Stage, State, StopKind, TimelineEntry,
    Timestamp, Wait, signal_in_words,
};

/// The line that a change of state leaves. What happens with every good poll leaves none, and neither does another look
/// at a job that goes on waiting for GPUs, or fewer warnings than before.
pub(super) fn line(
    before: &State,
    after: &State,
    event: &Event,
    who: &Arc<str>,
    at: Timestamp,
) -> Option<TimelineEntry> {
    let is_another_look = before.waits_for == Some(Wait::Gpu)
        && after.waits_for == Some(Wait::Gpu)
        && matches!(event, Event::Claim { .. } | Event::NoGpus { .. });
    let is_less = matches!(event, Event::Warned(warnings) if !warnings.is_empty() && warned(before, warnings).is_none());
    let is_routine =
        State { crashes: after.crashes, ..before.clone() } == *after || is_another_look || is_less;
    let what = match after.stage {
        stage if stage == before.stage || !stage.is_final() => word(event),
        stage => stage.word(),
    };
    (!is_routine).then(|| TimelineEntry {
        at,
        who: who.clone(),
        what: what.into(),
        stage: after.stage,
        why: why(before, after, event),
    })
}

/// A timeline from its beginning, which a job that intake queued does not keep as a line of its own.
pub(crate) fn with_beginning(job: &Job, kept: Vec<TimelineEntry>) -> Vec<TimelineEntry> {
    if kept.first().is_some_and(|line| &*line.what == ENQUEUED) {
        return kept;
    }
    let beginning = TimelineEntry {
        at: job.created_at,
        who: INTAKE.into(),
        what: ENQUEUED.into(),
        stage: Stage::Queued,
        why: None,
    };
    std::iter::once(beginning).chain(kept).collect()
}

fn word(event: &Event) -> &'static str {
    match event {
        Event::Claim { .. } => "claimed",
        Event::Prepared(_) => "prepared",
        Event::Warned(warnings) if warnings.is_empty() => "no_warning",
        Event::Warned(_) => "warning",
        Event::Start { .. } => "started",
        Event::NotBefore { .. } | Event::NoGpus { .. } => "put_off",
        Event::Hold(_) => "held",
        Event::CheckpointLost { .. } => "checkpoint_lost",
        Event::NoLonger { .. } => "given_up",
        Event::Diffed { answer: Diffed::Failed { .. }, .. } => "diff_failed",
        Event::Diffed { .. } => "diffed",
        Event::Submitted(_) => "submitted",
        Event::Refused { .. } | Event::Unfit { .. } => "refused",
        Event::NeverRan => "never_ran",
        Event::Seen => "seen",
        Event::Unreachable { .. } => "unreachable",
        Event::Watched(Some(_)) => "alarm",
        Event::Watched(None) => "all_well",
        Event::StopWanted(_) | Event::Supersede { .. } => "stopping",
        Event::Ended(_) => "ended",
        Event::Vanished => "vanished",
        Event::Collected { .. } => "collected",
        Event::Takeover { .. } => "taken_over",
        Event::Release => "released",
        Event::CauseGone => "resumed",
        Event::Expire { .. } => "expired",
        Event::Command { what: Command::Approve, .. } => "approved",
        Event::Command { what: Command::Cancel | Command::CancelSaving | Command::Yield, .. } => "stopping",
        Event::Command { what: Command::BeginAnew, .. } => "begins_anew",
        Event::Command { .. } => "commanded",
        _ => "changed",
    }
}

/// What there is to say beyond the word: the event's own words, else the reason that it gave the job.
fn why(before: &State, after: &State, event: &Event) -> Option<String> {
    match event {
        Event::Ended(exit) => Some(ending(exit)),
        Event::NotBefore { why, .. } | Event::NoGpus { why, .. } => Some(why.clone()),
        Event::Refused { message, .. } => Some(message.clone()),
        Event::Diffed { answer: Diffed::Failed { message, .. }, .. } => Some(message.clone()),
        Event::Submitted(handle) => Some(format!("launcher {}", handle.launcher)),
        Event::Prepared(Prepared { environment, .. }) => environment.as_deref().map(str::to_owned),
        Event::Warned(warnings) => warned(before, warnings),
        Event::Start { gpus, .. } => {
            let from = after.resumed_from.as_ref().map(|checkpoint| format!(", from {checkpoint}"));
            let on = gpus.as_ref().map(|grant| format!(" on {}", grant.uuids.join(", ")));
            Some(format!("attempt {}{}{}", after.attempt, on.unwrap_or_default(), from.unwrap_or_default()))
        }
        Event::CheckpointLost { why } => Some(why.clone()),
        Event::StopWanted(kind) => Some(stopping(*kind).to_owned()),
        Event::Supersede { .. } if !after.stage.is_final() => Some(stopping(StopKind::Supersede).to_owned()),
        Event::Command { what: Command::Cancel, .. } if !after.stage.is_final() => {
            Some(stopping(StopKind::Cancel).to_owned())
        }
        Event::Command { what: Command::CancelSaving, .. } if !after.stage.is_final() => {
            Some(stopping(StopKind::CancelSaving).to_owned())
        }
        Event::Command { what: Command::BeginAnew, .. } => before.checkpoint.as_ref().map(without),
        Event::Command { what: Command::Yield, .. } => Some(stopping(StopKind::Yield).to_owned()),
        _ if after.reason != before.reason => after.reason.as_ref().map(ToString::to_string),
        _ => None,
    }
}

fn without(checkpoint: &Checkpoint) -> String {
    let host = checkpoint.host.as_deref().map_or(String::new(), |host| format!(" on {host}"));
    format!("a person gave up {checkpoint}{host}: {}", checkpoint.path)
}

/// Those that are new.
fn warned(before: &State, warnings: &[Reason]) -> Option<String> {
    let new = warnings.iter().filter(|warning| !before.warnings.contains(warning));
    let told: Vec<_> = new.map(ToString::to_string).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

fn ending(exit: &Exit) -> String {
    match (&exit.message, exit.code, exit.signal) {
        (Some(message), ..) => message.to_string(),
        (None, _, Some(signal)) => signal_in_words(signal),
        (None, Some(code), None) => format!("exit code {code}"),
        (None, None, None) => "nobody knows how".to_owned(),
    }
}

fn stopping(kind: StopKind) -> &'static str {
    match kind {
        StopKind::Cancel => "a person cancels it",
        StopKind::CancelSaving => "a person cancels it, and it is to save first",
        StopKind::Supersede => "a newer change takes its place",
        StopKind::Timeout => "its time is up",
        StopKind::Limit => "it used more than it may",
        StopKind::Yield => "it is to go on later",
        StopKind::Stuck => "it is stuck or astray",
        StopKind::Restart => "it is stuck or astray, and to go on from its last checkpoint",
    }
}

/// Whose doing a push is.
pub(crate) const INTAKE: &str = "intake";
/// How every timeline begins.
pub(super) const ENQUEUED: &str = "enqueued";
