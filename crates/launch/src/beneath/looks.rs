use std::collections::HashMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use swifthook_core::{LaunchError, RunKey};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Looks at the files of runs, which may take for ever: a network file system whose server is gone, or a file system of
/// the run's own making, does not answer, and no thread can be called back from there.
///
/// Each is on a thread of its own, so that neither a runtime nor its end waits for it beyond the deadline that it has for
/// whoever asks. Of one run only so many are under way at once; the others wait for as long for a place.
#[derive(Clone, Debug)]
pub struct Looks {
    most: usize,
    patience: Duration,
    under_way: Arc<UnderWay>,
}

#[derive(Debug, Default)]
struct UnderWay {
    counts: Mutex<HashMap<RunKey, usize>>,
    /// Tells who waits for a place that there may be one.
    freed: Notify,
}

/// Reason for which a look has come to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Late {
    /// Goes on, and nobody waits for it any more.
    #[error("no answer within {} s: a slow disk, or a busy machine", .0.as_secs())]
    InTime(Duration),
    /// Earlier ones go on.
    #[error("no answer: {0} earlier looks are under way, on a slow disk or a busy machine")]
    Behind(usize),
    /// Panicked, or has no thread.
    #[error("the look at its files failed")]
    Failed,
}

impl Looks {
    /// At most so many of one run at once, each waited for no longer than that.
    #[must_use]
    pub fn new(most: usize, patience: Duration) -> Self {
        Self { most, patience, under_way: Arc::default() }
    }

    /// Returns the answer of `work`.
    ///
    /// # Errors
    ///
    /// If it does not answer in time, or too many do not already. It is not undone.
    pub async fn look<T: Send + 'static>(
        &self,
        run: &RunKey,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Late> {
        let place = self.place(run).await?;
        let (tell, told) = mpsc::channel();
        let looking = thread::Builder::new().name("swifthook-look".into());
        let begun = looking.spawn(move || {
            let answer = work();
            // Free before it is known that it is over: whoever asks next finds it so.
            drop(place);
            let _ = tell.send(answer);
        });
        if begun.is_err() {
            return Err(Late::Failed);
        }
        // By the machine's clock, which is what a look takes its time by: where a runtime's time is simulated, it stands
        // still meanwhile.
        let patience = self.patience;
        match spawn_blocking(move || told.recv_timeout(patience)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(RecvTimeoutError::Timeout)) => Err(Late::InTime(patience)),
            Ok(Err(RecvTimeoutError::Disconnected)) | Err(_) => Err(Late::Failed),
        }
    }

    async fn place(&self, run: &RunKey) -> Result<Place, Late> {
        let free = async {
            loop {
                // From here on it is told, also before it is waited for.
                let freed = self.under_way.freed.notified();
                match self.take_place(run) {
                    Ok(place) => return place,
                    Err(_) => freed.await,
                }
            }
        };
        match timeout(self.patience, free).await {
            Ok(place) => Ok(place),
            Err(_) => self.take_place(run),
        }
    }

    fn take_place(&self, run: &RunKey) -> Result<Place, Late> {
        let mut counts = self.under_way.counts();
        let all: usize = counts.values().sum();
        let held = counts.get(run).copied().unwrap_or_default();
        if held >= self.most || all >= MOST_IN_ALL {
            return Err(Late::Behind(held.max(1)));
        }
        counts.insert(*run, held + 1);
        Ok(Place { run: *run, of: self.under_way.clone() })
    }
}

impl From<Late> for LaunchError {
    fn from(late: Late) -> Self {
        Self::passing(late.to_string())
    }
}

impl UnderWay {
    fn counts(&self) -> MutexGuard<'_, HashMap<RunKey, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a look, given back when it is over, also by a panic.
struct Place {
    run: RunKey,
    of: Arc<UnderWay>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.of.counts();
        if let Some(count) = counts.get_mut(&self.run) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.run);
            }
        }
        drop(counts);
        self.of.freed.notify_waiters();
    }
}

/// Of all runs together.
const MOST_IN_ALL: usize = 512;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use swifthook_core::JobId;

    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    fn run(id: u8) -> RunKey {
        RunKey { job: JobId([id; 16]), attempt: 1 }
    }

    #[tokio::test]
    async fn a_look_that_hangs_is_given_up_and_more_of_its_run_are_not_begun() {
        let looks = Looks::new(2, SOON);
        let (end, ended) = mpsc::channel::<()>();
        let ended = Arc::new(Mutex::new(ended));
        for _ in 0..2 {
            let ended = ended.clone();
            let hangs = looks.look(&run(1), move || drop(ended.lock().map(|ended| ended.recv()))).await;
            assert_eq!(hangs, Err(Late::InTime(SOON)));
        }
        assert_eq!(looks.look(&run(1), || 1).await, Err(Late::Behind(2)));
        assert_eq!(looks.look(&run(2), || 1).await, Ok(1), "that of another run is none of its business");
        drop(end);
        let deadline = Instant::now() + Duration::from_secs(30);
        while looks.look(&run(1), || 1).await != Ok(1) {
            assert!(Instant::now() < deadline, "its places are free again");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn of_many_that_look_at_once_each_has_its_turn() {
        let looks = Looks::new(2, Duration::from_secs(30));
        let looking: Vec<_> = (0..64)
            .map(|number| {
                let looks = looks.clone();
                tokio::spawn(async move { looks.look(&run(1), move || number).await })
            })
            .collect();
        for (number, look) in looking.into_iter().enumerate() {
            assert_eq!(look.await.unwrap(), Ok(number));
        }
    }

    #[tokio::test]
    async fn a_look_that_panics_gives_its_place_back() {
        let looks = Looks::new(1, Duration::from_secs(30));
        for _ in 0..3 {
            assert_eq!(looks.look(&run(1), || panic!("as it should")).await, Err::<(), _>(Late::Failed));
        }
        assert_eq!(looks.look(&run(1), || 1).await, Ok(1));
    }

    #[test]
    fn the_end_of_a_runtime_does_not_wait_for_a_look_that_hangs() {
        let (end, ended) = mpsc::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let late = runtime.block_on(Looks::new(1, SOON).look(&run(1), move || ended.recv().is_ok()));
        assert_eq!(late, Err(Late::InTime(SOON)));
        drop(runtime);
        drop(end);
    }
}
