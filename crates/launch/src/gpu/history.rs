use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use swifthook_core::{Gpu, Standing};

use super::config::GpuRules;
use super::reading::Reading;

/// Since when GPUs have been quiet, by looks that follow one another.
#[derive(Debug)]
pub(super) struct History {
    rules: GpuRules,
    quiet_since: HashMap<Arc<str>, Instant>,
    last: Option<Instant>,
}

impl History {
    pub(super) fn new(rules: GpuRules) -> Self {
        Self { rules, quiet_since: HashMap::new(), last: None }
    }

    /// How they stand, by what was just read. What was seen before counts only if nobody can have come and gone since.
    pub(super) fn judge(&mut self, readings: Vec<Reading>, now: Instant) -> Vec<Gpu> {
        if self.last.is_none_or(|last| now.saturating_duration_since(last) > LONGEST_GAP) {
            self.quiet_since.clear();
        }
        self.last = Some(now);
        let is_ours =
            |reading: &Reading| self.rules.indices.is_empty() || self.rules.indices.contains(&reading.index);
        let readings: Vec<_> = readings.into_iter().filter(is_ours).collect();
        self.quiet_since.retain(|uuid, _| readings.iter().any(|reading| reading.uuid == *uuid));
        readings.into_iter().map(|reading| self.gpu(reading, now)).collect()
    }

    fn gpu(&mut self, reading: Reading, now: Instant) -> Gpu {
        let standing = self.standing(&reading, now);
        let (total_memory, free_memory) =
            reading.memory.as_ref().map_or((0, 0), |memory| (memory.total, memory.free));
        let Reading { uuid, name, index, is_slice, .. } = reading;
        Gpu { uuid, name, index, is_slice, total_memory, free_memory, standing }
    }

    fn standing(&mut self, reading: &Reading, now: Instant) -> Standing {
        let memory = match &reading.memory {
            Ok(memory) => memory,
            Err(why) => {
                self.quiet_since.remove(&reading.uuid);
                return Standing::Broken(why.clone());
            }
        };
        let is_busy = reading.utilization.is_some_and(|percent| percent > self.rules.max_utilization);
        if is_busy || memory.used > self.rules.max_used_memory {
            self.quiet_since.remove(&reading.uuid);
            let percent = reading.utilization.map_or(String::new(), |percent| format!("{percent} %, "));
            return Standing::InUse(format!("{percent}{}", reading.users()));
        }
        let since = *self.quiet_since.entry(reading.uuid.clone()).or_insert(now);
        if now.saturating_duration_since(since) < self.rules.settle {
            return Standing::Settling;
        }
        Standing::Idle
    }
}

/// How far two looks may lie apart of which the second goes on from the first.
const LONGEST_GAP: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::super::reading::{Memory, Process};
    use super::*;

    const GIB: u64 = 1 << 30;

    fn reading(used: u64, utilization: Option<u32>) -> Reading {
        Reading {
            uuid: "GPU-1".into(),
            name: "NVIDIA A100".into(),
            index: 1,
            is_slice: false,
            memory: Ok(Memory { total: 80 * GIB, used, free: 80 * GIB - used }),
            utilization,
            processes: vec![Process { pid: 4711, memory: Some(used) }],
        }
    }

    fn second(number: u64, begin: Instant) -> Instant {
        begin + Duration::from_secs(number)
    }

    /// How it stands after looks at these seconds.
    fn after(looks: &[(u64, Reading)]) -> Standing {
        let (begin, mut history) = (Instant::now(), History::new(GpuRules::default()));
        let mut last = None;
        for (at, reading) in looks {
            last = history.judge(vec![reading.clone()], second(*at, begin)).pop();
        }
        last.unwrap().standing
    }

    #[test]
    fn a_gpu_is_idle_when_it_has_been_quiet_for_a_while() {
        let quiet = || reading(GIB / 2, Some(0));
        assert_eq!(after(&[(0, quiet())]), Standing::Settling);
        assert_eq!(after(&[(0, quiet()), (2, quiet()), (4, quiet())]), Standing::Settling);
        assert_eq!(after(&[(0, quiet()), (2, quiet()), (4, quiet()), (5, quiet())]), Standing::Idle);
        let slice = || Reading { is_slice: true, ..reading(0, None) };
        assert_eq!(after(&[(0, slice()), (2, slice()), (4, slice()), (6, slice())]), Standing::Idle);
    }

    #[test]
    fn nobody_vouches_for_what_was_not_seen() {
        let quiet = || reading(0, Some(0));
        assert_eq!(after(&[(0, quiet()), (60, quiet())]), Standing::Settling);
    }

    #[test]
    fn whoever_uses_it_by_hand_starts_the_wait_anew() {
        let quiet = || reading(0, Some(0));
        let looks = [(0, quiet()), (2, quiet()), (4, reading(0, Some(80))), (6, quiet()), (8, quiet())];
        assert_eq!(after(&looks), Standing::Settling);
        assert_eq!(
            after(&[(0, reading(30 * GIB + GIB / 2, Some(3)))]),
            Standing::InUse("3 %, 30.5 GiB used, pid 4711 with 30.5 GiB".into())
        );
        assert_eq!(
            after(&[(0, reading(GIB, Some(10)))]),
            Standing::Settling,
            "the limits themselves are quiet"
        );
        assert!(matches!(after(&[(0, reading(GIB + 1, Some(0)))]), Standing::InUse(_)));
        assert!(matches!(after(&[(0, reading(0, Some(11)))]), Standing::InUse(_)));
    }

    #[test]
    fn what_does_not_tell_is_broken_and_what_is_not_ours_is_not_there() {
        let broken = Reading { memory: Err("[Unknown Error]".into()), ..reading(0, None) };
        assert_eq!(after(&[(0, broken)]), Standing::Broken("[Unknown Error]".into()));
        let mut history = History::new(GpuRules { indices: vec![0, 2], ..GpuRules::default() });
        let there = Reading { index: 2, ..reading(0, None) };
        let shown = history.judge(vec![reading(0, None), there], Instant::now());
        assert_eq!(shown.iter().map(|gpu| gpu.index).collect::<Vec<_>>(), [2]);
    }
}
