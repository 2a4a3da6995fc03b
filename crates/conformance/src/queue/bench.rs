use std::sync::Arc;
use std::time::Duration;

use swifthook_core::{History, JobQueue, Timestamp, Upkeep};

/// A queue with its history and its upkeep.
pub trait Queue: JobQueue + History + Upkeep {}

impl<Q: JobQueue + History + Upkeep> Queue for Q {}

/// A queue under test, empty at first, and the time that it believes.
pub trait QueueBench: Send {
    /// The queue.
    fn queue(&self) -> Arc<dyn Queue>;

    /// What time the queue believes it is: a time of this century, that stands still.
    fn now(&self) -> Timestamp;

    /// Lets time pass for the queue.
    fn advance(&self, by: Duration);
}

/// A queue that outlives its process.
pub trait DurableBench: QueueBench {
    /// Ends the queue as a crash would, without a chance to write anything more, and opens what is left of it. The
    /// time goes on. Called when nothing else holds the queue any more.
    fn crash_and_reopen(&mut self);
}
