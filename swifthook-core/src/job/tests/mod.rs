mod laws;
mod table;

use super::*;
use crate::admission::Wait;
use crate::launcher::RunHandle;
use crate::policy::{HoldReason, Reason};
use crate::push::Gap;
use crate::time::Timestamp;

const AT: Timestamp = Timestamp(1_000);
const LATER: Timestamp = Timestamp(60_000);

fn claim() -> Event {
    Event::Claim { at: AT }
}

fn start() -> Event {
    Event::Start { at: AT, host: None }
}

fn takeover() -> Event {
    Event::Takeover { at: AT }
}

fn supersede() -> Event {
    Event::Supersede { at: AT }
}

fn command(what: Command) -> Event {
    Event::Command { what, at: AT }
}

fn not_before() -> Event {
    Event::NotBefore { until: LATER, waits_for: Wait::Window, why: "opens at 08:00".into() }
}

fn no_longer() -> Event {
    Event::NoLonger { why: Reason::new("schedule", "outside of its hours"), at: AT }
}

fn diffed(answer: Diffed) -> Event {
    Event::Diffed { answer, at: AT }
}

fn diff_failed() -> Event {
    diffed(Diffed::Failed { message: "no route".into(), until: LATER })
}

fn handle(id: u32) -> RunHandle {
    RunHandle { launcher: "local".into(), host: None, version: 1, data: id.into() }
}

fn submitted() -> Event {
    Event::Submitted(handle(1))
}

fn refused(is_permanent: bool) -> Event {
    Event::Refused { is_permanent, message: "no such partition".into(), until: LATER, at: AT }
}

fn unfit() -> Event {
    Event::Unfit { why: Reason::new("config", "line 1: `lerning_rate`"), at: AT }
}

fn unreachable() -> Event {
    Event::Unreachable { since: AT }
}

fn exited(code: i32) -> Event {
    Event::Ended(Exit { code: Some(code), ..Exit::default() })
}

fn signalled(signal: i32) -> Event {
    Event::Ended(Exit { signal: Some(signal), ..Exit::default() })
}

fn stopped(code: i32, by: StopKind) -> Event {
    Event::Ended(Exit { code: Some(code), stopped: Some(by), ..Exit::default() })
}

fn collected(steps_done: Option<bool>) -> Event {
    Event::Collected { steps_done, retry_at: LATER, at: AT }
}

fn needs_diff() -> State {
    State::held(HoldReason::NeedsDiff(Gap::Forced))
}

fn queued() -> State {
    State::queued(None, None)
}

/// The state after events that all fit.
fn after(state: State, events: impl IntoIterator<Item = Event>) -> State {
    let retry = Retry::default();
    events.into_iter().fold(state, |state, event| state.apply(event, &retry).unwrap())
}

fn starting() -> State {
    after(queued(), [claim(), start()])
}

fn running() -> State {
    after(starting(), [submitted(), Event::Seen])
}

fn stopping(kind: StopKind) -> State {
    after(running(), [Event::StopWanted(kind)])
}

fn collecting(end: Event) -> State {
    after(running(), [end])
}

/// As a job is whose workers were lost three times before its run was seen well.
fn lost_three_times() -> State {
    after(starting(), [submitted(), takeover(), takeover()])
}
