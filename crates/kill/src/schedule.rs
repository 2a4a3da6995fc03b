use std::time::Duration;

/// What is done to the server, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// What is waited for.
    pub(crate) after: After,
    /// How long after that.
    pub(crate) delay: Duration,
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
    /// SIGSTOP, and SIGCONT after a pause.
    Stop { pause: Duration },
    /// SIGKILL of the supervisor of a run.
    KillSupervisor,
}

/// Steps that kill the server `kills` times.
pub(crate) fn schedule(seed: u64, kills: usize) -> Vec<Step> {
    let mut random = Random::new(seed);
    let mut steps = Vec::new();
    let mut left = kills;
    while left > 0 {
        let after = match random.below(3) {
            0 => After::Nothing,
            1 => After::Accepted,
            _ => After::Mark,
        };
        let delay = random.milliseconds(if after == After::Nothing { 1_500 } else { 60 });
        let what = what(&mut random, left);
        left -= match what {
            What::Kill { .. } => 1,
            What::KillAndAgain { .. } => 2,
            What::Stop { .. } | What::KillSupervisor => 0,
        };
        steps.push(Step { after, delay, what });
    }
    steps
}

fn what(random: &mut Random, left: usize) -> What {
    match random.below(20) {
        0..=2 => What::Stop { pause: random.milliseconds(3_000) },
        3..=5 => What::KillSupervisor,
        6..=8 if left > 1 => {
            What::KillAndAgain { down: random.milliseconds(200), up: random.milliseconds(400) }
        }
        _ => What::Kill { down: random.milliseconds(300) },
    }
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

    #[test]
    fn a_seed_gives_one_schedule_with_as_many_kills_as_asked_for() {
        let kills = |steps: &[Step]| -> usize {
            let of = |step: &Step| match step.what {
                What::Kill { .. } => 1,
                What::KillAndAgain { .. } => 2,
                _ => 0,
            };
            steps.iter().map(of).sum()
        };
        for seed in 0..200 {
            let steps = schedule(seed, 8);
            assert_eq!(kills(&steps), 8, "seed {seed}");
            assert_eq!(steps, schedule(seed, 8));
            assert_ne!(steps, schedule(seed + 1, 8));
        }
    }
}
