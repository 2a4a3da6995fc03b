//! The log of a run, kept to its size by its supervisor.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::tasks::Found;
use crate::log::LogCap;

/// Looks at the log again and again: sooner than it can be much too large.
pub(super) struct LogWatch {
    cap: Option<LogCap>,
    next: Instant,
}

impl LogWatch {
    /// Watches the log that our standard error is, if it may have `most` bytes and no more. In a pod it is no file.
    pub(super) fn new(most: Option<u64>, now: Instant) -> Self {
        let cap = most.map(|most| LogCap::of(io::stderr(), most)).transpose().unwrap_or_else(|error| {
            let _ = writeln!(io::stderr(), "swifthook: the log is not kept to a size: {error}");
            None
        });
        Self { cap: cap.flatten(), next: now }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.cap.as_ref().map(|_| self.next)
    }

    /// Cuts it if it is time to look, and tells of one that has too much and cannot be cut.
    pub(super) fn look(&mut self, now: Instant) -> Option<Found> {
        let cap = self.cap.as_mut().filter(|_| self.next <= now)?;
        let looked = cap.look(now);
        self.next = Instant::now() + looked.as_ref().copied().unwrap_or(AGAIN);
        let uncut = looked.err()?;
        let why = uncut.to_string();
        Some(if uncut.is_by_far() { Found::FarOver(why) } else { Found::Over(why) })
    }

    /// Cuts what was written last.
    pub(super) fn finish(&mut self) {
        if let Some(cap) = &mut self.cap {
            let _ = cap.look(Instant::now());
        }
    }
}

/// Time until the next look at one that could not be cut.
const AGAIN: Duration = Duration::from_millis(100);
