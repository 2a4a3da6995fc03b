//! The number of processes and threads that a run has, and may have.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use swifthook_core::RunLimits;

use super::family::Family;
use crate::cgroup;

/// Looks at how many processes and threads a run has: it can make thousands between two looks at all else.
///
/// Each look is at one number, that of the whole machine. Only where that is more than the run may have somebody
/// counts, and that takes a twentieth of the time; more where they become more, and never more than half of it.
pub(super) struct Tasks {
    most: u64,
    next: Instant,
    /// Time before which nobody is counted, if they do not become many more.
    count_at: Instant,
    count_soon_at: Instant,
    counted_at_total: u64,
    is_told: bool,
}

/// Finding about a run that takes more than it may.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The kernel has refused it more. It is told, and goes on as it can.
    Refused(String),
    /// The run has more than it may.
    Over(String),
    /// The run has so much more that it is not waited for.
    FarOver(String),
}

impl Tasks {
    pub(super) fn new(limits: &RunLimits, now: Instant) -> Self {
        Self {
            most: most(limits),
            next: now,
            count_at: now,
            count_soon_at: now,
            counted_at_total: 0,
            is_told: false,
        }
    }

    pub(super) fn next(&self) -> Instant {
        self.next
    }

    pub(super) fn look(&mut self, family: &Family, now: Instant) -> Option<Found> {
        if self.next > now {
            return None;
        }
        self.next = now + PAUSE;
        if family.has_walls() {
            return self.refused(family).filter(|_| !std::mem::replace(&mut self.is_told, true));
        }
        let total = of_the_machine().unwrap_or(u64::MAX);
        if !self.is_due(total, now) {
            return None;
        }
        let count = family.tasks();
        let took = now.elapsed();
        (self.count_soon_at, self.count_at) = (now + took * 2, now + took * SHARE);
        self.counted_at_total = total;
        self.judge(count)
    }

    /// Returns the words for a run to which the kernel gave no more than it may have, and which then failed.
    pub(super) fn ran_out(&self, family: &Family) -> Option<String> {
        match self.refused(family)? {
            Found::Refused(why) | Found::Over(why) | Found::FarOver(why) => Some(why),
        }
    }

    fn refused(&self, family: &Family) -> Option<Found> {
        let most = self.most;
        family.was_refused_a_task().then(|| {
            Found::Refused(format!("it wanted more than {most} processes and threads, and may have {most}"))
        })
    }

    fn is_due(&self, total: u64, now: Instant) -> bool {
        let grew = total >= self.counted_at_total.saturating_add(self.most / 8);
        total > self.most && (self.count_at <= now || (grew && self.count_soon_at <= now))
    }

    fn judge(&self, count: u64) -> Option<Found> {
        let most = self.most;
        let why = || format!("it has {count} processes and threads, and may have {most}");
        match count {
            count if count > wall(most) => Some(Found::FarOver(why())),
            count if count > most => Some(Found::Over(why())),
            _ => None,
        }
    }
}

/// Returns the number that a run may have.
pub(super) fn most(limits: &RunLimits) -> u64 {
    limits.processes.unwrap_or_else(|| {
        let can_be = [machine(), cgroup::most_tasks()].into_iter().flatten().min();
        can_be.map_or(RunLimits::PROCESSES, |can_be| RunLimits::PROCESSES.min(can_be / 2).max(1))
    })
}

/// Keeps a part of the machine from whatever is started from here on. The kernel counts all that a user has, so what several
/// runs have together; of root it counts nothing, but who becomes another user takes this along.
pub(super) fn leave_some_to_others() {
    let Some(can_be) = machine() else { return };
    let most = can_be / 4 * 3;
    let Rlimit { current, maximum } = getrlimit(Resource::Nproc);
    let least = |limit: Option<u64>| Some(limit.map_or(most, |limit| limit.min(most)));
    let _ = setrlimit(Resource::Nproc, Rlimit { current: least(current), maximum: least(maximum) });
}

/// Returns the number above which a run is not waited for: to save its state takes some more.
fn wall(most: u64) -> u64 {
    most.saturating_add((most / 8).max(SOME))
}

/// Returns the number that the machine can have. See `proc_sys_kernel(5)`.
fn machine() -> Option<u64> {
    let read = |name: &str| fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?.trim().parse().ok();
    [read("pid_max"), read("threads-max")].into_iter().flatten().min()
}

/// Returns the number that the whole machine has. See `proc_loadavg(5)`.
fn of_the_machine() -> Option<u64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_ascii_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

const PAUSE: Duration = Duration::from_millis(100);
const SHARE: u32 = 20;
const SOME: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks(most: u64, now: Instant) -> Tasks {
        Tasks::new(&RunLimits { processes: Some(most), ..RunLimits::default() }, now)
    }

    #[test]
    fn who_has_a_few_too_many_is_asked_and_who_has_many_is_not_waited_for() {
        let tasks = tasks(800, Instant::now());
        assert_eq!(tasks.judge(800), None);
        let told = |count| format!("it has {count} processes and threads, and may have 800");
        assert_eq!(tasks.judge(900), Some(Found::Over(told(900))));
        assert_eq!(tasks.judge(901), Some(Found::FarOver(told(901))));
    }

    #[test]
    fn nobody_counts_while_the_machine_has_few_and_soon_again_when_it_has_many_more() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut tasks = tasks(800, now);
        assert!(!tasks.is_due(800, now) && tasks.is_due(801, now));
        // It took a second.
        (tasks.counted_at_total, tasks.count_soon_at, tasks.count_at) =
            (1_000, now + second * 2, now + second * 20);
        assert!(!tasks.is_due(1_000, now + second * 19) && tasks.is_due(1_000, now + second * 20));
        assert!(!tasks.is_due(1_100, now + second) && tasks.is_due(1_100, now + second * 2));
    }

    #[test]
    fn a_run_that_says_nothing_may_have_half_of_what_there_can_be() {
        let most = most(&RunLimits::default());
        assert!(most <= RunLimits::PROCESSES && most <= machine().unwrap() / 2, "{most}");
        assert!(of_the_machine().unwrap() > 1);
    }
}
