use std::sync::Arc;
use std::time::SystemTime;

use swifthook_core::Timestamp;

/// Where a queue takes the time from: the system's, or a test's own.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The time of this machine.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(|| SystemTime::now().into())
}
