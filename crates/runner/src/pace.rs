use std::time::Duration;

use tokio::time::Instant;

/// Pauses that double, for what fails and is tried again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self { next: first, most }
    }

    /// For a store that does not answer.
    pub(crate) fn of_the_store() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(10))
    }

    /// For a launcher that does not answer. One that is polled seldom as it is, by `poll_most`, is not asked more often
    /// for that.
    pub(crate) fn of_a_launcher(poll_most: Duration) -> Self {
        Self::new(Duration::from_secs(1), poll_most.max(Duration::from_secs(30)))
    }

    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next.min(self.most);
        self.next = pause.saturating_mul(2);
        pause
    }
}

/// Pauses between polls: short while a run is young, when people watch and much goes wrong, then a twentieth of its age.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    since: Instant,
    first: Duration,
    most: Duration,
}

impl Pace {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self { since: Instant::now(), first, most }
    }

    pub(crate) fn pause(&self) -> Duration {
        (self.since.elapsed() / 20).max(self.first).min(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        let pauses: Vec<u64> = (0..5).map(|_| backoff.pause().as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 5, 5]);
    }

    #[test]
    fn a_launcher_that_does_not_answer_is_not_asked_more_often_than_one_that_does() {
        for (poll_most, longest) in [(2, 30), (30, 30), (600, 600)] {
            let mut backoff = Backoff::of_a_launcher(Duration::from_secs(poll_most));
            let pauses: Vec<u64> = (0..12).map(|_| backoff.pause().as_secs()).collect();
            assert_eq!(
                (pauses[0], pauses[1], pauses[11]),
                (1, 2, longest),
                "with {poll_most} s between polls"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn polls_are_quick_at_first_and_then_slow_down() {
        let pace = Pace::new(Duration::from_millis(25), Duration::from_secs(2));
        for (age_ms, pause_ms) in [(0, 25), (400, 25), (1_000, 50), (10_000, 500), (3_600_000, 2_000)] {
            tokio::time::advance(Duration::from_millis(age_ms) - pace.since.elapsed()).await;
            assert_eq!(pace.pause().as_millis(), pause_ms, "after {age_ms} ms");
        }
    }
}
