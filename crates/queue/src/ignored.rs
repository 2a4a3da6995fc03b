use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, TryAcquireError};

use crate::chain::Place;
use crate::rules::Submission;

/// Pushes for which nothing is to run. They are answered first and written within a second; until then they wait
/// here, as far as there is room, and whoever brings more waits until there is.
#[derive(Debug)]
pub(crate) struct Ignored {
    /// In kibibytes.
    room: Semaphore,
    waiting: Mutex<Waiting>,
    is_failing: AtomicBool,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    submissions: VecDeque<Submission>,
    size: u32,
    is_closed: bool,
}

/// What became of one that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It is the first to wait, so the writer has to be told.
    First,
    /// With it half of the room is taken: the writer is not to wait for more.
    Crowding,
    /// It waits with others.
    Later,
    /// Nobody will write it any more.
    Refused,
}

impl Ignored {
    /// Waits until there is room for it, and for the writer with the others.
    pub(crate) async fn push(&self, submission: Submission) -> Pushed {
        let size = size(&submission);
        let room = match self.room.try_acquire_many(size) {
            Err(TryAcquireError::NoPermits) => self.room.acquire_many(size).await.ok(),
            tried => tried.ok(),
        };
        let Some(room) = room else { return Pushed::Refused };
        let mut waiting = self.waiting();
        if waiting.is_closed {
            return Pushed::Refused;
        }
        room.forget();
        let had_half = waiting.size >= ROOM / 2;
        waiting.size += size;
        waiting.submissions.push_back(submission);
        match waiting.submissions.len() {
            1 => Pushed::First,
            _ if waiting.size >= ROOM / 2 && !had_half => Pushed::Crowding,
            _ => Pushed::Later,
        }
    }

    /// Takes the oldest out; answers whether these are all. Their room is taken until it is said what became of them.
    pub(crate) fn take(&self, most: usize) -> (Vec<Submission>, bool) {
        let mut waiting = self.waiting();
        let most = most.min(waiting.submissions.len());
        let taken: Vec<_> = waiting.submissions.drain(..most).collect();
        waiting.size -= taken.iter().map(size).sum::<u32>();
        (taken, waiting.submissions.is_empty())
    }

    /// These are durable.
    pub(crate) fn written(&self, submissions: &[Submission]) {
        self.is_failing.store(false, Ordering::Relaxed);
        self.make_room(submissions);
    }

    /// These could not be written now, and are taken first the next time. Until then whoever brings more waits for it
    /// to be written, since what was promised to these cannot be promised to everybody.
    pub(crate) fn put_back(&self, submissions: Vec<Submission>) {
        self.is_failing.store(true, Ordering::Relaxed);
        let mut waiting = self.waiting();
        waiting.size += submissions.iter().map(size).sum::<u32>();
        for submission in submissions.into_iter().rev() {
            waiting.submissions.push_front(submission);
        }
    }

    /// The record of these is lost. Their pushes were answered rightly all the same.
    pub(crate) fn lose(&self, submissions: &[Submission], why: &str) {
        let count = submissions.len() as u64;
        let lost = self.lost.fetch_add(count, Ordering::Relaxed) + count;
        tracing::error!(count, lost_in_all = lost, why, "lost the record of pushes that train nothing");
        self.make_room(submissions);
    }

    /// Takes all, and no more from now on.
    pub(crate) fn close(&self) -> Vec<Submission> {
        self.waiting().is_closed = true;
        self.room.close();
        self.take(usize::MAX).0
    }

    /// Whether one of this ref waits.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(dead_code, reason = "another writer takes all that wait along")
    )]
    pub(crate) fn holds(&self, place: &Place) -> bool {
        let waiting = self.waiting();
        let mut deliveries = waiting.submissions.iter().map(|submission| &submission.delivery);
        deliveries.any(|delivery| delivery.ref_name == place.1 && delivery.repository == place.0)
    }

    /// Whether the store refuses to write them for now.
    pub(crate) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn make_room(&self, submissions: &[Submission]) {
        let size: u32 = submissions.iter().map(size).sum();
        self.room.add_permits(size as usize);
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("nothing panics under this lock")
    }
}

impl Default for Ignored {
    fn default() -> Self {
        Self {
            room: Semaphore::new(ROOM as usize),
            waiting: Mutex::default(),
            is_failing: AtomicBool::new(false),
            lost: AtomicU64::new(0),
        }
    }
}

/// In kibibytes, roughly; one that is larger than the room takes all of it.
fn size(submission: &Submission) -> u32 {
    let paths: usize = submission.delivery.paths.raw().map(|(path, _)| path.len() + 16).sum();
    u32::try_from(paths >> 10).unwrap_or(ROOM).saturating_add(1).min(ROOM)
}

/// How much may wait, in kibibytes.
const ROOM: u32 = 32 << 10;
/// How long a push for which nothing is to run waits for company, well within the second that is promised.
pub(crate) const FLUSH_AFTER: Duration = Duration::from_millis(400);
/// How many of them are written in one transaction, so that nobody waits long behind them.
pub(crate) const MOST_IGNORED: usize = 1_024;
