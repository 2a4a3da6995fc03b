use std::time::Duration;

use tokio::time::Instant;

/// Something that is done again and again, one at a time.
pub(crate) struct Timer {
    pub(crate) due: Instant,
    pub(crate) asked_at: Instant,
    pub(crate) is_under_way: bool,
    /// The pause after a hint, which may have come too late for the answer that is under way. Hints come in floods.
    hint_pause: Duration,
    is_hinted: bool,
}

impl Timer {
    pub(crate) fn new(hint_pause: Duration) -> Self {
        let now = Instant::now();
        Self { due: now, asked_at: now, is_under_way: false, hint_pause, is_hinted: false }
    }

    /// Whether it is to be done now; then it is under way.
    pub(crate) fn begin(&mut self, now: Instant) -> bool {
        if self.is_under_way || self.due > now {
            return false;
        }
        (self.is_under_way, self.is_hinted, self.asked_at) = (true, false, now);
        true
    }

    pub(crate) fn end(&mut self, pause: Duration) {
        (self.is_under_way, self.due) = (false, Instant::now() + pause);
        if self.is_hinted {
            self.hint();
        }
    }

    /// Something may be new.
    pub(crate) fn hint(&mut self) {
        self.is_hinted = true;
        if !self.is_under_way {
            self.due = self.due.min(self.asked_at + self.hint_pause);
        }
    }
}
