use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::WaitStatus;
use swifthook_core::{StopKind, Timestamp};

use super::course::{Course, Step};
use super::events::Events;
use super::family::Family;
use super::log_cap::LogWatch;
use super::tasks::{Found, Tasks};
use super::watch::Watch;
use crate::local::{Ended, Order, RunDir, VERSION};

/// One run, from its start until nothing of it is left.
pub(super) struct Run<'a> {
    dir: &'a RunDir,
    order: &'a Order,
    events: Events,
    course: Course,
    watch: Watch,
    tasks: Tasks,
    log: LogWatch,
    /// What the run used more of than it may.
    exceeded: Option<String>,
    began_at: Timestamp,
}

impl<'a> Run<'a> {
    /// A run that is asked to end by files in `dir`, and writes into `written`.
    pub(super) fn new(dir: &'a RunDir, written: &Path, order: &'a Order, events: Events) -> Self {
        let course = Course::new(order.grace, order.timeout, Instant::now());
        let watch = Watch::new(order.limits, written, Instant::now());
        let tasks = Tasks::new(&order.limits, Instant::now());
        let log = LogWatch::new(order.limits.log, Instant::now());
        Self { dir, order, events, course, watch, tasks, log, exceeded: None, began_at: now() }
    }

    /// When this returns nothing of the run is alive.
    pub(super) fn finish(mut self) -> Ended {
        self.listen();
        if self.course.stopped().is_some() {
            return self.ended(None, None, Some("it was stopped before it began".into()));
        }
        match Family::start(self.order) {
            Ok(family) => self.follow(family),
            Err(error) => self.not_started(&error),
        }
    }

    fn follow(mut self, mut family: Family) -> Ended {
        while !self.is_over(&mut family) {
            let limit = self.next(&family).map(|at| at.saturating_duration_since(Instant::now()));
            // Who of the group is nobody's child here ends without a signal to us.
            let limit = if family.end().is_some() { Some(PAUSE.min(limit.unwrap_or(PAUSE))) } else { limit };
            let limit = if family.settle() { Some(AGAIN.min(limit.unwrap_or(AGAIN))) } else { limit };
            self.events.wait(limit);
        }
        while !family.is_gone() {
            family.kill();
            self.events.wait(Some(PAUSE));
            family.reap();
            self.log.look(Instant::now());
        }
        self.log.finish();
        let status = family.end();
        if status.is_some_and(|status| status.exit_status() != Some(0)) {
            let wall = family.ran_into_its_wall().then(|| self.watch.out_of_memory()).flatten();
            let refused = || self.tasks.ran_out(&family).filter(|_| self.exceeded.is_none());
            if let Some(why) = wall.or_else(refused) {
                self.exceed(why);
            }
        }
        let no_sandbox = family.had_no_sandbox().filter(|_| self.course.stopped().is_none());
        family.leave();
        if no_sandbox.is_some() {
            // Neither code nor signal is of the training: the machine has not let it begin.
            return self.ended(None, None, no_sandbox);
        }
        let code = status.and_then(WaitStatus::exit_status);
        let signal = status.and_then(WaitStatus::terminating_signal);
        let message = match self.course.stopped() {
            Some(StopKind::Timeout) => Some("its time was up".into()),
            Some(StopKind::Limit) => self.exceeded.take(),
            _ => None,
        };
        self.ended(code, signal, message)
    }

    /// Returns the time when there is something to do again, if nothing happens.
    fn next(&self, family: &Family) -> Option<Instant> {
        let watch = self.watch.next().filter(|_| self.is_watched(family));
        [self.course.next(), watch, Some(self.tasks.next()), self.log.next()].into_iter().flatten().min()
    }

    /// Returns true if it matters how much the run uses.
    fn is_watched(&self, family: &Family) -> bool {
        family.end().is_none() && self.exceeded.is_none()
    }

    /// Does what is to be done now. It is over when the main process has ended and nobody is left who deserves to
    /// be waited for: whoever was asked to end may use the grace, and `swift` ends at once while its child still
    /// saves.
    fn is_over(&mut self, family: &mut Family) -> bool {
        family.reap();
        self.listen();
        self.look(family);
        let step = self.course.step(Instant::now());
        match step {
            Step::Terminate => family.terminate(),
            Step::Kill => return true,
            Step::Wait => {}
        }
        family.end().is_some() && (self.course.stopped().is_none() || !family.is_group_left())
    }

    fn look(&mut self, family: &Family) {
        let now = Instant::now();
        // Also of a run that is to end: it has its grace to write and to fork in.
        for found in [self.log.look(now), self.tasks.look(family, now)].into_iter().flatten() {
            match found {
                Found::Refused(what) => say(&what),
                // The first reason is the one that is told.
                Found::Over(why) if self.exceeded.is_none() => self.exceed(why),
                Found::Over(_) => {}
                Found::FarOver(why) => {
                    if self.exceeded.is_none() {
                        self.exceed(why);
                    }
                    self.course.exceed_by_far(now);
                }
            }
        }
        if self.is_watched(family)
            && let Some(why) = self.watch.look(family, now)
        {
            self.exceed(why);
        }
    }

    fn exceed(&mut self, why: String) {
        say(&why);
        self.course.exceed(Instant::now());
        self.exceeded = Some(why);
    }

    fn listen(&mut self) {
        let now = Instant::now();
        if self.events.is_asked_to_end() {
            self.course.hear_signal(now);
        }
        match self.dir.stop_requests() {
            Ok(requests) => requests.into_iter().for_each(|request| self.course.hear(request, now)),
            Err(error) => {
                let _ = writeln!(io::stderr(), "swifthook: cannot read a request to stop: {error}");
            }
        }
    }

    /// As a shell would have it: 127 where there is no such program, 126 where it cannot be executed.
    fn not_started(self, error: &io::Error) -> Ended {
        let message = format!("cannot start `{}`: {error}", self.order.argv[0]);
        let _ = writeln!(io::stderr(), "swifthook: {message}");
        let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
        self.ended(Some(code), None, Some(message))
    }

    fn ended(&self, code: Option<i32>, signal: Option<i32>, message: Option<String>) -> Ended {
        Ended {
            version: VERSION,
            code,
            signal,
            stopped: self.course.stopped(),
            message,
            began_at: self.began_at,
            ended_at: now(),
        }
    }
}

/// Writes into the log of the run, which may be full.
fn say(what: &str) {
    let _ = writeln!(io::stderr(), "swifthook: {what}");
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

const PAUSE: Duration = Duration::from_millis(10);
/// Pause before all processes are looked through again.
const AGAIN: Duration = Duration::from_millis(50);
