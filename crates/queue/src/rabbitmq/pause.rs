use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Growing pauses between tries, each with a random part, so that those who failed together do not come back together.
#[derive(Debug)]
pub(super) struct Pause {
    next: Duration,
    longest: Duration,
}

impl Pause {
    pub(super) fn up_to(longest: Duration) -> Self {
        Self { next: FIRST, longest }
    }

    pub(super) fn reset(&mut self) {
        self.next = FIRST;
    }

    pub(super) async fn wait(&mut self) {
        let whole = self.next;
        self.next = (whole * 2).min(self.longest);
        tokio::time::sleep(whole / 2 + random_part_of(whole / 2)).await;
    }
}

fn random_part_of(whole: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) as u32;
    whole.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

const FIRST: Duration = Duration::from_millis(100);
