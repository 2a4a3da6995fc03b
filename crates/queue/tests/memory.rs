//! The queue in memory keeps every promise of a queue.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::TestClock;
use swifthook_conformance::queue::{Queue, QueueBench};
use swifthook_core::Timestamp;
use swifthook_queue::MemoryQueue;

struct Bench {
    queue: Arc<MemoryQueue>,
    clock: TestClock,
}

impl Bench {
    fn new() -> Self {
        let clock = TestClock::new();
        Self { queue: Arc::new(MemoryQueue::with_clock(clock.clock())), clock }
    }
}

impl QueueBench for Bench {
    fn queue(&self) -> Arc<dyn Queue> {
        self.queue.clone()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

swifthook_conformance::queue_conformance!(Bench::new());

mod as_an_intake {
    use super::Bench;

    swifthook_conformance::intake_conformance!(swifthook_conformance::intake::OfQueue(Bench::new()));
}
