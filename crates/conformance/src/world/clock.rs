use std::sync::Arc;

use swifthook_core::Timestamp;
use tokio::time::Instant;

/// What time it is.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A clock that goes as Tokio's does, from a fixed moment on: paused with it, advanced with it.
#[must_use]
pub fn clock() -> Clock {
    let began = Instant::now();
    Arc::new(move || BEGINNING.after(began.elapsed()))
}

/// 2026-11-24T10:00:00Z
const BEGINNING: Timestamp = Timestamp(1_795_514_400_000);
