//! What a run uses, looked at again and again.

use std::path::Path;
use std::time::{Duration, Instant};

use swifthook_core::RunLimits;

use super::disk::{Counted, DiskUse};
use super::family::Family;
use crate::cgroup::wall;
use crate::process::Usage;

/// Looks at what a run uses: often at first, when most goes wrong, and never so often that it costs.
pub(super) struct Watch {
    limits: RunLimits,
    disk: DiskUse,
    next: Option<Instant>,
    pause: Duration,
}

impl Watch {
    pub(super) fn new(limits: RunLimits, directory: &Path, now: Instant) -> Self {
        let next = limits.are_watched().then_some(now);
        Self { limits, disk: DiskUse::of(directory), next, pause: FIRST }
    }

    /// When there is something to look at again.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// What the run uses more of than it may, if it is time to look.
    pub(super) fn look(&mut self, family: &Family, now: Instant) -> Option<String> {
        if self.next.is_none_or(|next| next > now) {
            return None;
        }
        let found = self.over(family);
        self.pause = (self.pause * 2).min(LAST).max(now.elapsed() * SHARE);
        self.next = Some(Instant::now() + self.pause);
        found
    }

    /// The words for a run that the kernel killed because it had more than it may; `None` if there is nothing that it may
    /// not have. A group that a run made below its own may have a wall too, which is not ours.
    pub(super) fn out_of_memory(&self) -> Option<String> {
        let most = self.limits.memory?;
        let wall = mib(wall(most));
        Some(format!("it wanted more than {wall} of memory, and was killed: it may have {}", mib(most)))
    }

    fn over(&mut self, family: &Family) -> Option<String> {
        let RunLimits { memory, cpu_time, disk, .. } = self.limits;
        if let Some(most) = disk {
            match self.disk.count(COUNTING) {
                Counted::AtLeast(used) | Counted::All(used) if used > most => {
                    return Some(format!("it has written {}, and may write {}", mib(used), mib(most)));
                }
                Counted::OutOfSight => {
                    return Some(
                        "it has files in folders that are closed or too deep, where they cannot be counted"
                            .to_owned(),
                    );
                }
                Counted::TooMany => return Some("it has more folders than can be counted".to_owned()),
                _ => {}
            }
        }
        if memory.is_none() && cpu_time.is_none() {
            return None;
        }
        let Usage { memory: used, cpu_time: ran } = family.usage(memory);
        if let Some(most) = memory.filter(|most| used > *most) {
            return Some(format!("it has {} of memory, and may have {}", mib(used), mib(most)));
        }
        let most = cpu_time.filter(|most| ran > *most)?;
        Some(format!("it has had {} s of processor time, and may have {} s", ran.as_secs(), most.as_secs()))
    }
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(5);
/// A look takes a twentieth of the time at most.
const SHARE: u32 = 20;
/// Time for which files are counted at one look: a supervisor that counts hears nothing.
const COUNTING: Duration = Duration::from_millis(50);
