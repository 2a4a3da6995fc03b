mod laws;
mod table;

use std::time::Duration;

use super::*;
use crate::admission::Wait;
use crate::fingerprint::{Fingerprint, PastFailure};
use crate::gpu::{GpuGrant, GpuRequest};
use crate::id::JobId;
use crate::launcher::{Checkpoint, RunHandle};
use crate::policy::{HoldReason, Reason};
use crate::push::Gap;
use crate::time::Timestamp;

const AT: Timestamp = Timestamp(1_000);
const LATER: Timestamp = Timestamp(60_000);

fn claim() -> Event {
    Event::Claim { at: AT }
}

fn prepared() -> Event {
    Event::Prepared(Prepared {
        fingerprint: Some(Fingerprint([7; 32])),
        environment: Some("uv:1234".into()),
        ..Prepared::default()
    })
}

fn warned() -> Event {
    Event::Warned(vec![Reason::new("gpu_memory", "the GPUs here have 48 GiB")])
}

fn start() -> Event {
    Event::Start { at: AT, host: None, gpus: None }
}

fn grant() -> GpuGrant {
    GpuGrant { machine: "box".into(), uuids: vec!["GPU-1".into(), "GPU-2".into()], memory: None }
}

fn start_on_gpus() -> Event {
    Event::Start { at: AT, host: None, gpus: Some(grant()) }
}

fn no_gpus() -> Event {
    Event::NoGpus { until: LATER, request: GpuRequest::of(2), why: "1 of 4 is free".into() }
}

/// A GPU had no memory left so many seconds after the start.
fn out_of_memory(seconds: u64) -> Event {
    let out_of_gpu_memory_after = Some(Duration::from_secs(seconds));
    Event::Ended(Exit { code: Some(1), out_of_gpu_memory_after, ..Exit::default() })
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
    Event::Collected {
        steps_done,
        step: None,
        checkpoint: None,
        peak_memory: None,
        fails: None,
        retry_at: LATER,
        at: AT,
    }
}

/// The run of an attempt left a checkpoint of this step.
fn saved(attempt: u32, step: u64) -> Event {
    let path = format!("/runs/{attempt}/checkpoint-{step}").into();
    let checkpoint = Checkpoint { path, step: Some(step), attempt, host: Some("gpu-1".into()) };
    Event::Collected {
        steps_done: Some(false),
        step: Some(step + 1),
        checkpoint: Some(checkpoint),
        peak_memory: None,
        fails: None,
        retry_at: LATER,
        at: AT,
    }
}

fn watched() -> Event {
    Event::Watched(Some(Reason::new("silent", "nothing was heard of it for 25 min")))
}

fn checkpoint_lost() -> Event {
    Event::CheckpointLost { why: "somebody removed it".into() }
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
