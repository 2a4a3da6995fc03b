//! What the process has used.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The processor time of this process, all threads together.
#[must_use]
pub fn used() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
