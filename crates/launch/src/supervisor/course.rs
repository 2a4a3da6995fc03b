use std::time::{Duration, Instant};

use swifthook_core::{Stop, StopKind};

use crate::local::StopRequest;

/// What is to be done about a run, and when: everything that depends on time, without a clock.
#[derive(Debug)]
pub(super) struct Course {
    grace: Duration,
    timeout_at: Option<Instant>,
    kill_at: Option<Instant>,
    stopped: Option<StopKind>,
    is_told: bool,
    heard: Vec<StopRequest>,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Wait,
    Terminate,
    Kill,
}

impl Course {
    pub(super) fn new(grace: Duration, timeout: Option<Duration>, now: Instant) -> Self {
        let timeout_at = timeout.and_then(|timeout| now.checked_add(timeout));
        Self { grace, timeout_at, kill_at: None, stopped: None, is_told: false, heard: Vec::new() }
    }

    /// Takes note of a request; one that was heard before changes nothing.
    pub(super) fn hear(&mut self, request: StopRequest, now: Instant) {
        if self.heard.contains(&request) {
            return;
        }
        self.heard.push(request);
        match request.how {
            Stop::Yield => self.stop(StopKind::Yield, self.grace, now),
            Stop::Grace(grace) => self.stop(StopKind::Cancel, grace, now),
            Stop::Kill => self.stop(StopKind::Cancel, Duration::ZERO, now),
        }
    }

    /// The run uses more than it may: it has its grace, as when its time is up.
    pub(super) fn exceed(&mut self, now: Instant) {
        self.stop(StopKind::Limit, self.grace, now);
    }

    /// The run uses so much more than it may that it is not waited for.
    pub(super) fn exceed_by_far(&mut self, now: Instant) {
        self.stop(StopKind::Limit, Duration::ZERO, now);
    }

    /// The supervisor itself is asked to end, which nobody does who knows how to ask for the end of a run: the
    /// machine is going down. So the run is to save, and to go on later.
    pub(super) fn hear_signal(&mut self, now: Instant) {
        self.stop(StopKind::Yield, self.grace, now);
    }

    pub(super) fn step(&mut self, now: Instant) -> Step {
        if self.stopped.is_none() && self.timeout_at.is_some_and(|at| at <= now) {
            self.stop(StopKind::Timeout, self.grace, now);
        }
        if self.kill_at.is_some_and(|at| at <= now) {
            return Step::Kill;
        }
        // Once: a second signal makes some trainers give up the checkpoint that they are writing.
        let is_told = std::mem::replace(&mut self.is_told, self.stopped.is_some());
        if self.is_told && !is_told { Step::Terminate } else { Step::Wait }
    }

    /// When there is something to do again, if nothing happens.
    pub(super) fn next(&self) -> Option<Instant> {
        self.kill_at.or(self.timeout_at)
    }

    /// Why the run was asked to end.
    pub(super) fn stopped(&self) -> Option<StopKind> {
        self.stopped
    }

    /// A second request can only shorten the time that is left. The first reason stays, unless it was to go on
    /// later.
    fn stop(&mut self, kind: StopKind, grace: Duration, now: Instant) {
        self.stopped = match self.stopped {
            Some(StopKind::Yield) if kind == StopKind::Cancel => Some(kind),
            first => first.or(Some(kind)),
        };
        let kill_at = now.checked_add(grace);
        self.kill_at = match (self.kill_at, kill_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn request(how: Stop) -> StopRequest {
        StopRequest { version: 1, how }
    }

    #[test]
    fn a_run_is_told_once_and_killed_when_its_grace_is_over() {
        let now = Instant::now();
        let mut course = Course::new(9 * SECOND, None, now);
        assert_eq!((course.step(now), course.next()), (Step::Wait, None));
        course.hear(request(Stop::Grace(2 * SECOND)), now);
        assert_eq!(course.step(now), Step::Terminate);
        assert_eq!(course.step(now + SECOND), Step::Wait);
        course.hear(request(Stop::Grace(2 * SECOND)), now + SECOND);
        assert_eq!(course.next(), Some(now + 2 * SECOND));
        assert_eq!(course.step(now + 2 * SECOND), Step::Kill);
        assert_eq!(course.stopped(), Some(StopKind::Cancel));
    }

    #[test]
    fn a_kill_waits_for_nothing_and_no_later_request_takes_it_back() {
        let now = Instant::now();
        let mut course = Course::new(SECOND, None, now);
        course.hear(request(Stop::Kill), now);
        course.hear(request(Stop::Grace(9 * SECOND)), now);
        assert_eq!(course.step(now), Step::Kill);
    }

    #[test]
    fn a_run_whose_time_is_up_has_its_grace_and_the_reason_stays() {
        let now = Instant::now();
        let mut course = Course::new(2 * SECOND, Some(5 * SECOND), now);
        assert_eq!((course.step(now), course.next()), (Step::Wait, Some(now + 5 * SECOND)));
        assert_eq!(course.step(now + 5 * SECOND), Step::Terminate);
        course.hear(request(Stop::Grace(9 * SECOND)), now + 6 * SECOND);
        assert_eq!(course.next(), Some(now + 7 * SECOND));
        assert_eq!(course.stopped(), Some(StopKind::Timeout));
    }

    #[test]
    fn a_run_that_uses_too_much_has_its_grace_and_the_reason_stays() {
        let now = Instant::now();
        let mut course = Course::new(2 * SECOND, Some(5 * SECOND), now);
        course.exceed(now);
        assert_eq!((course.step(now), course.next()), (Step::Terminate, Some(now + 2 * SECOND)));
        course.hear(request(Stop::Grace(9 * SECOND)), now);
        assert_eq!(course.step(now + 2 * SECOND), Step::Kill);
        assert_eq!(course.stopped(), Some(StopKind::Limit));
    }

    #[test]
    fn a_cancel_replaces_a_yield_and_nothing_replaces_a_cancel() {
        let now = Instant::now();
        let mut course = Course::new(9 * SECOND, Some(SECOND), now);
        course.hear_signal(now);
        assert_eq!(course.stopped(), Some(StopKind::Yield));
        course.hear(request(Stop::Grace(SECOND)), now);
        course.hear(request(Stop::Yield), now);
        assert_eq!(course.step(now + SECOND), Step::Kill);
        assert_eq!(course.stopped(), Some(StopKind::Cancel));
    }

    #[test]
    fn time_without_end_does_not_overflow() {
        let now = Instant::now();
        let mut course = Course::new(Duration::MAX, Some(Duration::MAX), now);
        assert_eq!(course.next(), None);
        course.hear(request(Stop::Yield), now);
        assert_eq!(course.step(now), Step::Terminate);
    }
}
