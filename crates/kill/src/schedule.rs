use std::time::Duration;

use crate::broker::Way;
use crate::cluster::Mode;
use crate::points::{Fate, POINTS, POINTS_OF_A_BROKER};
use crate::setup::SetUp;

/// What is done, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// What is waited for.
    pub(crate) after: After,
    /// How long after that.
    pub(crate) delay: Duration,
    /// Picks the process, among those that there are.
    pub(crate) who: u64,
    pub(crate) what: What,
}

/// Moments at which something has just been written, or none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Nothing,
    Accepted,
    Mark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// SIGKILL, and a start after a pause.
    Kill { down: Duration },
    /// The same, and SIGKILL again so long after that start, ready or not.
    KillAndAgain { down: Duration, up: Duration },
    /// SIGSTOP, and SIGCONT after a pause, while other things go on.
    Stop { pause: Duration },
    /// The process that comes by a point dies there, or stops there and is continued after a pause.
    At { point: &'static str, fate: Fate, pause: Duration },
    /// SIGKILL of the supervisor of a run.
    KillSupervisor,
    /// SIGSTOP of the supervisor of a run, and SIGCONT after a pause.
    StopSupervisor { pause: Duration },
    /// The database is stopped, and started after a pause, while other things go on.
    StopDatabase { mode: Mode, down: Duration },
    /// SIGKILL of one of the database's own processes.
    KillBackend,
    /// The broker is stopped, and started after a pause, while other things go on.
    StopBroker { way: Way, down: Duration },
}

/// Steps without end; a seed gives the same ones again.
pub(crate) struct Schedule {
    random: Random,
    has_points: bool,
    has_database: bool,
    has_broker: bool,
}

impl Schedule {
    pub(crate) fn new(seed: u64, set_up: &SetUp) -> Self {
        Self {
            random: Random::new(seed),
            has_points: set_up.points,
            has_database: set_up.has_database(),
            has_broker: set_up.broker,
        }
    }

    fn what(&mut self) -> What {
        let random = &mut self.random;
        match random.below(20) {
            0 => What::Stop { pause: random.milliseconds(3_000) },
            1 if random.below(2) == 0 => What::Stop { pause: longer_than_a_lease(random) },
            1 => What::StopSupervisor { pause: longer_than_a_lease(random) },
            2..=3 if self.has_broker && random.below(2) == 0 => broker(random),
            2..=3 => What::KillSupervisor,
            4..=5 if self.has_database => database(random),
            6..=12 if self.has_points => at_a_point(random, self.has_broker),
            13..=15 => What::KillAndAgain { down: random.milliseconds(200), up: random.milliseconds(400) },
            _ => What::Kill { down: random.milliseconds(300) },
        }
    }
}

impl Iterator for Schedule {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let after = match self.random.below(3) {
            0 => After::Nothing,
            1 => After::Accepted,
            _ => After::Mark,
        };
        let most = if after == After::Nothing { 1_500 } else { 60 };
        // Half of what is aimed comes at once.
        let is_at_once = after != After::Nothing && self.random.below(2) == 0;
        let delay = if is_at_once { Duration::ZERO } else { self.random.milliseconds(most) };
        let (who, what) = (self.random.next(), self.what());
        let after = if matches!(what, What::At { .. }) { After::Nothing } else { after };
        Some(Step { after, delay, who, what })
    }
}

fn database(random: &mut Random) -> What {
    let down = random.milliseconds(6_000);
    match random.below(3) {
        0 => What::StopDatabase { mode: Mode::Fast, down },
        1 => What::StopDatabase { mode: Mode::Immediate, down },
        _ => What::KillBackend,
    }
}

fn broker(random: &mut Random) -> What {
    let way = if random.below(2) == 0 { Way::StopApp } else { Way::Kill };
    What::StopBroker { way, down: random.milliseconds(6_000) }
}

fn at_a_point(random: &mut Random, has_broker: bool) -> What {
    let of_a_broker: &[&str] = if has_broker { &POINTS_OF_A_BROKER } else { &[] };
    let points = [&POINTS, of_a_broker].concat();
    let point = points[usize::try_from(random.below(points.len() as u64)).unwrap_or(0)];
    match random.below(5) {
        0 => What::At { point, fate: Fate::Stop, pause: longer_than_a_lease(random) },
        _ => What::At { point, fate: Fate::Kill, pause: random.milliseconds(300) },
    }
}

/// A lease lasts 30 s, and is taken over within a second more.
fn longer_than_a_lease(random: &mut Random) -> Duration {
    Duration::from_secs(32) + random.milliseconds(8_000)
}

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn milliseconds(&mut self, limit: u64) -> Duration {
        Duration::from_millis(self.below(limit))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::StoreKind;

    fn steps(seed: u64, store: StoreKind, points: bool) -> Vec<Step> {
        let set_up = SetUp { store, receivers: 1, workers: 0, machines: 1, broker: points, points };
        Schedule::new(seed, &set_up).take(500).collect()
    }

    #[test]
    fn a_seed_gives_one_schedule_and_another_seed_another() {
        for seed in 0..50 {
            let one = steps(seed, StoreKind::Postgres, true);
            assert_eq!(one, steps(seed, StoreKind::Postgres, true));
            assert_ne!(one, steps(seed + 1, StoreKind::Postgres, true));
        }
    }

    #[test]
    fn what_a_set_up_does_not_have_is_not_done_and_what_it_has_is() {
        let of_points = |step: &Step| matches!(step.what, What::At { .. });
        let of_database = |step: &Step| matches!(step.what, What::StopDatabase { .. } | What::KillBackend);
        let of_broker = |step: &Step| matches!(step.what, What::StopBroker { .. });
        let plain = steps(7, StoreKind::Sqlite, false);
        assert!(!plain.iter().any(|step| of_points(step) || of_database(step) || of_broker(step)));
        let all = steps(7, StoreKind::Postgres, true);
        assert!(all.iter().any(of_points) && all.iter().any(of_database) && all.iter().any(of_broker));
    }
}
