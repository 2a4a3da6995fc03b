use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::rules::Submission;

/// Pushes for which nothing is to run. They are answered first and written within a second; until then they wait
/// here, as far as there is room.
#[derive(Debug, Default)]
pub(super) struct Ignored {
    waiting: Mutex<Waiting>,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    submissions: Vec<Submission>,
    bytes: usize,
    is_closed: bool,
}

/// What became of one that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It is the first to wait, so the writer has to be told.
    First,
    /// With it half of the room is taken: the writer is not to wait for more.
    Crowding,
    /// It waits with others, or is lost with them, which is told.
    Later,
    /// Nobody will write it any more.
    Refused,
}

impl Ignored {
    pub(super) fn push(&self, submission: Submission) -> Pushed {
        let bytes = size(&submission);
        let mut waiting = self.waiting();
        if waiting.is_closed {
            return Pushed::Refused;
        }
        if waiting.bytes + bytes > ROOM {
            drop(waiting);
            self.lose(1, "there is no room for more before they are written");
            return Pushed::Later;
        }
        let had_half = waiting.bytes >= ROOM / 2;
        waiting.bytes += bytes;
        waiting.submissions.push(submission);
        match waiting.submissions.len() {
            1 => Pushed::First,
            _ if waiting.bytes >= ROOM / 2 && !had_half => Pushed::Crowding,
            _ => Pushed::Later,
        }
    }

    /// Takes the oldest out; answers whether these are all.
    pub(super) fn take(&self, most: usize) -> (Vec<Submission>, bool) {
        let mut waiting = self.waiting();
        if waiting.submissions.len() <= most {
            waiting.bytes = 0;
            return (std::mem::take(&mut waiting.submissions), true);
        }
        let rest = waiting.submissions.split_off(most);
        let taken = std::mem::replace(&mut waiting.submissions, rest);
        waiting.bytes -= taken.iter().map(size).sum::<usize>();
        (taken, false)
    }

    /// Takes all, and no more from now on.
    pub(super) fn close(&self) -> Vec<Submission> {
        self.waiting().is_closed = true;
        self.take(usize::MAX).0
    }

    /// Says that the record of some is lost. Their pushes were answered rightly all the same.
    pub(super) fn lose(&self, count: u64, why: &str) {
        let lost = self.lost.fetch_add(count, Ordering::Relaxed) + count;
        tracing::error!(count, lost_in_all = lost, why, "lost the record of pushes that train nothing");
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("nothing panics under this lock")
    }
}

fn size(submission: &Submission) -> usize {
    let paths: usize = submission.delivery.paths.raw().map(|(path, _)| path.len() + 16).sum();
    1_024 + paths
}

/// How many bytes may wait, roughly.
const ROOM: usize = 32 << 20;
