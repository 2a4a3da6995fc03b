//! Schemas of a test's own, on the server that SWIFTHOOK_TEST_POSTGRES names.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use swifthook_queue::Clock;
use swifthook_queue::postgres::{OpenError, Options, PostgresQueue};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

/// Outlives the runtime of each behaviour, and its connections with it.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
});

/// A schema of a test's own.
pub(crate) struct Schema {
    name: String,
}

impl Schema {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("swifthook_test_{}_{number}", std::process::id());
        run(server(), format!("CREATE SCHEMA {name}"));
        Self { name }
    }

    pub(crate) fn url(&self) -> String {
        let (url, name) = (server(), &self.name);
        let mark = if url.contains('?') { '&' } else { '?' };
        format!("{url}{mark}application_name={name}&options=-csearch_path%3D{name}")
    }

    pub(crate) fn open(&self, clock: Option<Clock>) -> Result<PostgresQueue, OpenError> {
        let url = self.url();
        on_the_runtime(
            async move { PostgresQueue::open(&url, Options { clock, ..Options::default() }).await },
        )
    }

    /// Cuts every connection of the queues of this schema.
    pub(crate) fn cut(&self) {
        let sql = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = ";
        run(server(), format!("{sql}'{}'", self.name));
    }

    pub(crate) fn sql(&self, sql: &str) {
        run(server(), format!("SET search_path = {}; {sql}", self.name));
    }
}

impl Drop for Schema {
    /// What a test that failed leaves is there to be looked at.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.sql(&format!("DROP SCHEMA {} CASCADE", self.name));
    }
}

fn run(url: String, sql: String) {
    on_the_runtime(async move { connect(&url).await.batch_execute(&sql).await.unwrap() });
}

async fn connect(url: &str) -> Client {
    let connected = tokio_postgres::connect(url, NoTls).await;
    let (client, connection) = connected.unwrap_or_else(|error| {
        panic!("the server that SWIFTHOOK_TEST_POSTGRES names, `{url}`, does not answer: {error}")
    });
    tokio::spawn(connection);
    client
}

fn server() -> String {
    std::env::var("SWIFTHOOK_TEST_POSTGRES").unwrap_or_else(|_| {
        panic!("SWIFTHOOK_TEST_POSTGRES must be the URL of a PostgreSQL server, as postgres://postgres@127.0.0.1/test")
    })
}

/// Also from within another runtime, whose thread may not wait for this one.
pub(crate) fn on_the_runtime<T: Send + 'static>(what: impl Future<Output = T> + Send + 'static) -> T {
    let (answer, said) = std::sync::mpsc::channel();
    let work = RUNTIME.spawn(async move { answer.send(what.await) });
    said.recv().unwrap_or_else(|_| match std::thread::spawn(|| RUNTIME.block_on(work)).join().unwrap() {
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        Ok(_) => unreachable!("it has not answered"),
    })
}
