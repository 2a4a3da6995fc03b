use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use swifthook_conformance::intake::{BrokeredBench, DurableIntakeBench, IntakeBench};
use swifthook_core::{History, Intake};
use swifthook_queue::rabbitmq::{Options, RabbitIntake};
use swifthook_queue::{MessageStore, OpenError, SqliteQueue};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::broker::Broker;
use crate::gate::{Faults, Gate};
use crate::queues::Queues;
use crate::schema::{RUNTIME, Schema, on_the_runtime};

/// RabbitMQ in front of a store, with all that belongs to a server of ours.
pub(crate) struct Bench {
    running: Option<Running>,
    pub(crate) queues: Queues,
    store: Store,
    faults: Arc<Faults>,
    pub(crate) broker: Option<Broker>,
}

/// What ends with a process.
struct Running {
    intake: Arc<RabbitIntake>,
    history: Arc<dyn History>,
    mover: JoinHandle<()>,
}

enum Store {
    Sqlite(TempDir),
    Postgres(Schema),
}

impl Bench {
    pub(crate) fn over_sqlite() -> Self {
        Self::new(Store::Sqlite(tempfile::tempdir().unwrap()), Faults::default(), |_| {})
    }

    pub(crate) fn over_postgres() -> Self {
        Self::new(Store::Postgres(Schema::new()), Faults::default(), |_| {})
    }

    pub(crate) fn over_sqlite_with(faults: Faults, change: impl FnOnce(&mut Options)) -> Self {
        Self::new(Store::Sqlite(tempfile::tempdir().unwrap()), faults, change)
    }

    fn new(store: Store, faults: Faults, change: impl FnOnce(&mut Options)) -> Self {
        let mut queues = Queues::new();
        change(&mut queues.options);
        let mut bench = Self { running: None, queues, store, faults: Arc::new(faults), broker: None };
        bench.begin();
        bench
    }

    pub(crate) fn with_a_broker_of_its_own(mut self) -> Self {
        self.end();
        let broker = Broker::start();
        self.queues = Queues::on(broker.url());
        self.begin();
        let intake = self.rabbit();
        while intake.trouble().is_some() {
            broker.wait();
        }
        broker.settle();
        self.broker = Some(broker);
        self
    }

    pub(crate) fn rabbit(&self) -> Arc<RabbitIntake> {
        self.running.as_ref().unwrap().intake.clone()
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    fn begin(&mut self) {
        let (store, history): (Arc<dyn MessageStore>, Arc<dyn History>) = match &self.store {
            Store::Sqlite(directory) => {
                let file = directory.path().join("swifthook.db");
                let queue = Arc::new(open(&file));
                (queue.clone(), queue)
            }
            Store::Postgres(schema) => {
                let queue = Arc::new(schema.open(None).unwrap());
                (queue.clone(), queue)
            }
        };
        let (address, options) = (self.queues.url.parse().unwrap(), self.queues.options.clone());
        let intake = on_the_runtime(async move { Arc::new(RabbitIntake::connect(address, options)) });
        let (moving, gate) = (intake.clone(), Gate::new(store, self.faults.clone()));
        let moved = async move { moving.move_into(Arc::new(gate), std::future::pending()).await };
        let mover = RUNTIME.spawn(moved);
        self.running = Some(Running { intake, history, mover });
    }

    fn end(&mut self) {
        let Some(Running { intake, history, mover }) = self.running.take() else { return };
        on_the_runtime(async move {
            mover.abort();
            assert!(mover.await.is_err_and(|ended| ended.is_cancelled()), "it was moving messages");
            drop((intake, history));
        });
    }
}

/// What was on its way a moment ago may still be about to let go of the store.
fn open(file: &Path) -> SqliteQueue {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        match SqliteQueue::open(file, Default::default()) {
            Err(OpenError::InUse { .. }) if Instant::now() < deadline => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

impl IntakeBench for Bench {
    fn intake(&self) -> Arc<dyn Intake> {
        self.rabbit()
    }

    fn history(&self) -> Arc<dyn History> {
        self.running.as_ref().unwrap().history.clone()
    }
}

impl DurableIntakeBench for Bench {
    /// Whatever is on its way is dropped where it is.
    fn crash_and_reopen(&mut self) {
        if let Store::Postgres(schema) = &self.store {
            schema.cut();
        }
        self.end();
        self.begin();
    }
}

impl BrokeredBench for Bench {
    fn stop_broker(&mut self) {
        self.broker.as_mut().unwrap().kill();
    }

    fn start_broker(&mut self) {
        self.broker.as_mut().unwrap().start_again();
    }

    fn stop_store(&mut self) {
        self.faults.is_down.store(true, Ordering::SeqCst);
    }

    fn start_store(&mut self) {
        self.faults.is_down.store(false, Ordering::SeqCst);
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.end();
    }
}
