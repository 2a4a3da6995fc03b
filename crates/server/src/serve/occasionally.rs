use std::time::{Duration, Instant};

/// Says when it is time for another line in the log, of something that a stranger can make happen as often as he likes.
#[derive(Debug)]
pub(super) struct Occasionally {
    every: Duration,
    last: Option<Instant>,
}

impl Occasionally {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, last: None }
    }

    /// Tells whether it is the first time, or long enough ago since the last `true`.
    pub(super) fn is_time(&mut self, now: Instant) -> bool {
        let is_time = self.last.is_none_or(|last| now.duration_since(last) >= self.every);
        if is_time {
            self.last = Some(now);
        }
        is_time
    }
}

/// A bound on lines of a kind that a stranger can cause.
#[derive(Debug)]
pub(super) struct LineBudget {
    most: u32,
    minute: Option<Instant>,
    count: u32,
}

/// Lines to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The line.
    Write,
    /// Says that those which follow in this minute are left out.
    LeaveOut,
    /// Nothing.
    Nothing,
}

impl LineBudget {
    /// At most so many in a minute.
    pub(super) fn new(most: u32) -> Self {
        Self { most, minute: None, count: 0 }
    }

    pub(super) fn take(&mut self, now: Instant) -> Line {
        if self.minute.is_none_or(|began| now.duration_since(began) >= MINUTE) {
            (self.minute, self.count) = (Some(now), 0);
        }
        self.count = self.count.saturating_add(1);
        match self.count {
            count if count <= self.most => Line::Write,
            count if count == self.most + 1 => Line::LeaveOut,
            _ => Line::Nothing,
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_so_many_lines_there_is_one_more_and_then_none_for_the_minute() {
        let now = Instant::now();
        let mut lines = LineBudget::new(2);
        let written: Vec<_> = (0..4).map(|_| lines.take(now)).collect();
        assert_eq!(written, [Line::Write, Line::Write, Line::LeaveOut, Line::Nothing]);
        assert_eq!(lines.take(now + MINUTE), Line::Write);
    }

    #[test]
    fn the_first_is_told_and_then_one_for_each_time() {
        let (second, now) = (Duration::from_secs(1), Instant::now());
        let mut occasionally = Occasionally::new(60 * second);
        let told: Vec<_> = (0..180).filter(|at| occasionally.is_time(now + *at * second)).collect();
        assert_eq!(told, [0, 60, 120]);
    }
}
