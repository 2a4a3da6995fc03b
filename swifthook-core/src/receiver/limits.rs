use std::time::Duration;

/// What one request and all of them together may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a body may take in all.
    pub body_time: Duration,
    /// How many bytes a second must come on average, once `grace` is over.
    pub minimum_rate: u64,
    /// How long a body may take whatever its rate.
    pub grace: Duration,
    /// How many bytes of bodies may be in memory at once. The last quarter is kept for bodies under 1 MiB, so that
    /// a few large ones do not shut out the many.
    ///
    /// Clients that have not [proven](super::Reputation) a signature lately get half of it together for bodies over
    /// 1 MiB and a quarter for smaller ones, a sixteenth more where they are expected, and eleven sixteenths in all. Of
    /// either, one address of them has no more than it leaves free, one network no more than three times that. An address
    /// that has proven a signature has room for one body, and for more no more than four times what it leaves of those
    /// eleven sixteenths. Where a client is not known there are no shares, and a body that is alone in memory needs none.
    pub in_flight: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_time: Duration::from_secs(30),
            minimum_rate: 16 * 1024,
            grace: Duration::from_secs(5),
            in_flight: 256 * 1024 * 1024,
        }
    }
}

impl Limits {
    /// How long after `since_start` the next bytes may come, when `received` have.
    pub(super) fn patience(&self, received: usize, since_start: Duration, is_pressed: bool) -> Duration {
        let body_time = if is_pressed { self.body_time.min(PRESSED) } else { self.body_time };
        let paid = Duration::from_secs_f64(received as f64 / self.minimum_rate.max(1) as f64);
        body_time.min(self.grace.saturating_add(paid)).saturating_sub(since_start)
    }
}

/// The time of a body when there is no room to spare. GitHub takes no longer.
const PRESSED: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_buy_time_up_to_the_time_of_a_whole_body() {
        let limits = Limits {
            body_time: Duration::from_secs(30),
            minimum_rate: 1_000,
            grace: Duration::from_secs(5),
            in_flight: 0,
        };
        let seconds = Duration::from_secs;
        for (received, elapsed, patience) in [
            (0, 0, 5),
            (0, 5, 0),
            (0, 9, 0),
            (1_000, 5, 1),
            (10_000, 5, 10),
            (25_000_000, 5, 25),
            (25_000_000, 30, 0),
        ] {
            assert_eq!(
                limits.patience(received, seconds(elapsed), false),
                seconds(patience),
                "{received} {elapsed}"
            );
        }
        assert_eq!(limits.patience(25_000_000, seconds(5), true), seconds(5));
    }
}
