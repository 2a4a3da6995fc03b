use std::sync::Arc;

use swifthook_core::{Command, Diffed, Event, Exit, Job, Stage, State, StopKind, TimelineEntry, Timestamp};

/// The line that a change of state leaves. What happens with every good poll leaves none.
pub(super) fn line(
    before: &State,
    after: &State,
    event: &Event,
    who: &Arc<str>,
    at: Timestamp,
) -> Option<TimelineEntry> {
    let is_routine = State { crashes: after.crashes, ..before.clone() } == *after;
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
        Event::Start { .. } => "started",
        Event::NotBefore { .. } => "put_off",
        Event::Hold(_) => "held",
        Event::NoLonger { .. } => "given_up",
        Event::Diffed { answer: Diffed::Failed { .. }, .. } => "diff_failed",
        Event::Diffed { .. } => "diffed",
        Event::Submitted(_) => "submitted",
        Event::Refused { .. } | Event::Unfit { .. } => "refused",
        Event::NeverRan => "never_ran",
        Event::Seen => "seen",
        Event::Unreachable { .. } => "unreachable",
        Event::StopWanted(_) | Event::Supersede { .. } => "stopping",
        Event::Ended(_) => "ended",
        Event::Vanished => "vanished",
        Event::Collected { .. } => "collected",
        Event::Takeover { .. } => "taken_over",
        Event::Release => "released",
        Event::CauseGone => "resumed",
        Event::Expire { .. } => "expired",
        Event::Command { what: Command::Approve, .. } => "approved",
        Event::Command { what: Command::Cancel, .. } => "stopping",
        Event::Command { .. } => "commanded",
        _ => "changed",
    }
}

/// What there is to say beyond the word: the event's own words, else the reason that it gave the job.
fn why(before: &State, after: &State, event: &Event) -> Option<String> {
    match event {
        Event::Ended(exit) => Some(ending(exit)),
        Event::NotBefore { why, .. } => Some(why.clone()),
        Event::Refused { message, .. } => Some(message.clone()),
        Event::Diffed { answer: Diffed::Failed { message, .. }, .. } => Some(message.clone()),
        Event::Submitted(handle) => Some(format!("launcher {}", handle.launcher)),
        Event::Start { .. } => Some(format!("attempt {}", after.attempt)),
        Event::StopWanted(kind) => Some(stopping(*kind).to_owned()),
        Event::Supersede { .. } if !after.stage.is_final() => Some(stopping(StopKind::Supersede).to_owned()),
        Event::Command { what: Command::Cancel, .. } if !after.stage.is_final() => {
            Some(stopping(StopKind::Cancel).to_owned())
        }
        _ if after.reason != before.reason => after.reason.as_ref().map(ToString::to_string),
        _ => None,
    }
}

fn ending(exit: &Exit) -> String {
    match (&exit.message, exit.code, exit.signal) {
        (Some(message), ..) => message.to_string(),
        (None, _, Some(signal)) => format!("signal {signal}"),
        (None, Some(code), None) => format!("exit code {code}"),
        (None, None, None) => "nobody knows how".to_owned(),
    }
}

fn stopping(kind: StopKind) -> &'static str {
    match kind {
        StopKind::Cancel => "a person cancels it",
        StopKind::Supersede => "a newer change takes its place",
        StopKind::Timeout => "its time is up",
        StopKind::Yield => "it is to go on later",
    }
}

/// Whose doing a push is.
pub(crate) const INTAKE: &str = "intake";
/// How every timeline begins.
pub(super) const ENQUEUED: &str = "enqueued";
