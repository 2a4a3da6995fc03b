//! The queue on SQLite keeps every promise of a queue, after a crash too.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::TestClock;
use swifthook_conformance::queue::{DurableBench, Queue, QueueBench};
use swifthook_core::Timestamp;
use swifthook_queue::{Options, SqliteQueue};
use tempfile::TempDir;

struct Bench {
    directory: TempDir,
    generation: u32,
    queue: Arc<SqliteQueue>,
    clock: TestClock,
}

impl Bench {
    fn new() -> Self {
        let (directory, clock) = (tempfile::tempdir().expect("a temporary directory"), TestClock::new());
        let queue = open(&store(directory.path(), 0), &clock);
        Self { directory, generation: 0, queue, clock }
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

impl DurableBench for Bench {
    /// Goes on with a copy of the files as they are while the store is open: what a kill would leave behind.
    fn crash_and_reopen(&mut self) {
        let from = store(self.directory.path(), self.generation);
        self.generation += 1;
        let to = store(self.directory.path(), self.generation);
        for ending in ["", "-wal"] {
            let file = |store: &Path| PathBuf::from(format!("{}{ending}", store.display()));
            std::fs::copy(file(&from), file(&to)).expect("the store is there");
        }
        self.queue = open(&to, &self.clock);
    }
}

fn store(directory: &Path, generation: u32) -> PathBuf {
    directory.join(format!("swifthook-{generation}.db"))
}

fn open(path: &Path, clock: &TestClock) -> Arc<SqliteQueue> {
    let options = Options { clock: clock.clock(), ..Options::default() };
    Arc::new(SqliteQueue::open(path, options).expect("the store opens"))
}

swifthook_conformance::queue_conformance!(Bench::new());
swifthook_conformance::durable_queue_conformance!(Bench::new());

mod as_an_intake {
    use swifthook_conformance::intake::OfQueue;

    use super::Bench;

    swifthook_conformance::intake_conformance!(OfQueue(Bench::new()));
    swifthook_conformance::durable_intake_conformance!(OfQueue(Bench::new()));
}
