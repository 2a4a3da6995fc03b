//! The queue on PostgreSQL keeps every promise of a queue, with several processes too. Runs against the server whose URL
//! is in `SWIFTHOOK_TEST_POSTGRES`, where each test makes a schema of its own.

#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod common;
mod copying;
#[path = "common/looks.rs"]
mod looks;
#[path = "common/push.rs"]
mod push;
#[path = "common/schema.rs"]
mod schema;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use common::TestClock;
use push::push;
use schema::{RUNTIME, Schema};
use swifthook_conformance::queue::{DurableBench, Queue, QueueBench};
use swifthook_core::{
    Admitted, Decided, History, Intake, JobFilter, JobQueue, Receipt, RepoName, StoredJob, Timestamp, Worker,
};
use swifthook_queue::postgres::{OpenError, Options, PostgresQueue};
use swifthook_queue::{Compared, CopyError, Location, TipStore, Tips, copy};

struct Bench {
    schema: Schema,
    queue: Arc<PostgresQueue>,
    clock: TestClock,
}

impl Bench {
    fn new() -> Self {
        let (schema, clock) = (Schema::new(), TestClock::new());
        let queue = Arc::new(schema.open(Some(clock.clock())).unwrap());
        Self { schema, queue, clock }
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
    /// The server loses sight of the queue: all of its connections are cut, and another one goes on.
    fn crash_and_reopen(&mut self) {
        self.schema.cut();
        self.queue = Arc::new(self.schema.open(Some(self.clock.clock())).unwrap());
    }
}

swifthook_conformance::queue_conformance!(Bench::new());
swifthook_conformance::durable_queue_conformance!(Bench::new());

mod as_an_intake {
    use swifthook_conformance::intake::OfQueue;

    use super::Bench;

    swifthook_conformance::intake_conformance!(OfQueue(Bench::new()));
    swifthook_conformance::durable_intake_conformance!(OfQueue(Bench::new()));
}

#[test]
fn looks_at_tips_are_recorded_as_in_every_store() {
    let schemas = [(); 3].map(|()| Schema::new());
    let open = |at: usize| schemas[at].open(None).unwrap();
    RUNTIME.block_on(looks::a_look_is_recorded_with_what_it_found_or_not_at_all(&open(0)));
    RUNTIME.block_on(looks::what_a_delivery_told_of_is_not_found_again(&open(1)));
    RUNTIME.block_on(looks::a_delivery_that_comes_after_a_look_is_a_duplicate(&open(2)));
}

#[test]
fn of_two_looks_at_once_one_is_recorded() {
    let schema = Schema::new();
    let stores = [(); 2].map(|()| Arc::new(schema.open(None).unwrap()));
    let repository = RepoName::new("acme/models").unwrap();
    let tips = Tips { asked_at: Timestamp(1), refs: Default::default() };
    let look = Compared { repository, known: None, tips, found: Vec::new() };
    let recorded = RUNTIME.block_on(async {
        let looks = stores.map(|store| {
            let look = look.clone();
            tokio::spawn(async move { store.compared(&look).await.unwrap().is_some() })
        });
        let mut recorded = 0;
        for look in looks {
            recorded += usize::from(look.await.unwrap());
        }
        recorded
    });
    assert_eq!(recorded, 1);
}

#[test]
fn two_receivers_of_one_database_make_one_job_of_four_hundred_deliveries() {
    let schema = Schema::new();
    let receivers = [(); 2].map(|()| Arc::new(schema.open(None).unwrap()));
    // So that all connections are there and all names are known: the deliveries that count are to race.
    deliver(&receivers, 200, 2, |_| "another change".to_owned());
    let mut jobs = deliver(&receivers, 200, 1, |_| "the same".to_owned());
    jobs.extend(deliver(&receivers, 200, 1, |i| format!("guid {i}")));
    assert_eq!(jobs.len(), 400);
    assert_eq!(jobs.iter().filter(|job| job.admitted == Admitted::New).count(), 1);
    assert_eq!(jobs.iter().map(|job| job.id).collect::<HashSet<_>>().len(), 1);
    let (kept, receipts) = RUNTIME.block_on(async {
        let all = JobFilter { limit: 1_000, ..JobFilter::default() };
        (receivers[0].jobs(&all).await.unwrap(), receivers[1].deliveries(None, 1_000).await.unwrap())
    });
    assert_eq!(kept.len(), 2);
    // Of those that bring nothing new, each receiver keeps those that came at once, and the first sixteen of each.
    assert!((2 * 16..=600).contains(&receipts.len()), "{}", receipts.len());
}

#[test]
fn a_push_that_the_database_refuses_takes_none_with_it_that_came_at_the_same_time() {
    let schema = Schema::new();
    let queue = Arc::new(schema.open(None).unwrap());
    schema.sql("ALTER TABLE jobs ADD CONSTRAINT no_mallory CHECK (sender <> 'mallory')");
    let pushes = (1..=60).map(|head| {
        let (queue, mut push) = (queue.clone(), push(head, "guid"));
        if head % 20 == 0 {
            push.push.sender = Some("mallory".into());
        }
        RUNTIME.spawn(async move { (head, queue.accept(&push).await.is_ok()) })
    });
    let pushes: Vec<_> = pushes.collect();
    let refused: Vec<_> = RUNTIME.block_on(async {
        let mut refused = Vec::new();
        for push in pushes {
            let (head, is_stored) = push.await.unwrap();
            refused.extend((!is_stored).then_some(head));
        }
        refused
    });
    assert_eq!(refused, [20, 40, 60]);
    let all = JobFilter { limit: 1_000, ..JobFilter::default() };
    assert_eq!(RUNTIME.block_on(queue.jobs(&all)).unwrap().len(), 57);
    assert_eq!(RUNTIME.block_on(queue.deliveries(None, 1_000)).unwrap().len(), 57);
}

#[test]
fn four_workers_share_five_hundred_jobs_and_none_is_taken_twice() {
    let schema = Schema::new();
    let queues = [(); 4].map(|()| Arc::new(schema.open(None).unwrap()));
    let taken = RUNTIME.block_on(async {
        for head in 1..=500 {
            accept(&queues[0], &push(head, "guid")).await;
        }
        let workers = queues.into_iter().zip(["a", "b", "c", "d"]).map(|(queue, name)| {
            tokio::spawn(async move {
                let mut mine = Vec::new();
                while let Some(claimed) = queue.claim(&worker(name)).await.unwrap() {
                    mine.push(claimed.job.id);
                }
                mine
            })
        });
        let mut taken = Vec::new();
        for worker in workers.collect::<Vec<_>>() {
            taken.extend(worker.await.unwrap());
        }
        taken
    });
    assert_eq!(taken.len(), 500);
    assert_eq!(taken.into_iter().collect::<HashSet<_>>().len(), 500);
}

#[test]
fn a_connection_that_was_cut_is_made_again() {
    let schema = Schema::new();
    let queue = schema.open(None).unwrap();
    for head in 1..=5 {
        let made = RUNTIME.block_on(accept(&queue, &push(head, "guid")));
        schema.cut();
        let kept = RUNTIME.block_on(queue.job(made.id)).unwrap().map(|job| job.id);
        assert_eq!(kept, Some(made.id));
        schema.cut();
    }
}

#[test]
fn connections_that_are_cut_in_the_middle_lose_nothing_that_was_accepted() {
    let schema = Schema::new();
    let queue = Arc::new(schema.open(None).unwrap());
    let deliveries: Vec<_> = (1..=300)
        .map(|head| {
            let queue = queue.clone();
            RUNTIME.spawn(async move { queue.accept(&push(head, "guid")).await.ok() })
        })
        .collect();
    for _ in 0..5 {
        schema.cut();
    }
    let (accepted, kept) = RUNTIME.block_on(async {
        let mut accepted = HashSet::new();
        for (head, delivery) in (1..).zip(deliveries) {
            let first = delivery.await.unwrap();
            let again = accept(&queue, &push(head, "guid")).await;
            if let Some(Receipt::Stored { jobs, .. }) = first {
                assert_eq!((again.id, again.admitted), (jobs[0].id, Admitted::Duplicate));
            }
            accepted.insert(again.id);
        }
        let all = JobFilter { limit: 1_000, ..JobFilter::default() };
        (accepted, queue.jobs(&all).await.unwrap())
    });
    assert_eq!(kept.len(), 300);
    assert_eq!(kept.into_iter().map(|job| job.id).collect::<HashSet<_>>(), accepted);
}

#[test]
fn what_one_process_enqueues_another_hears_of_after_its_connection_was_cut_too() {
    let schema = Schema::new();
    let (one, other) = (schema.open(None).unwrap(), schema.open(None).unwrap());
    let mut news = other.watch();
    RUNTIME.block_on(heard(&mut news));
    for head in 1..=3 {
        RUNTIME.block_on(async {
            accept(&one, &push(head, "guid")).await;
            heard(&mut news).await;
        });
        schema.cut();
        // That it listens again is told, for what it may have missed.
        RUNTIME.block_on(heard(&mut news));
    }
}

#[test]
fn closing_waits_for_what_is_under_way_also_where_its_caller_has_gone() {
    let schema = Schema::new();
    let queue = Arc::new(schema.open(None).unwrap());
    RUNTIME.block_on(async {
        accept(&queue, &push(1, "one")).await;
        let (mut client, connection) =
            tokio_postgres::connect(&schema.url(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let hold = client.transaction().await.unwrap();
        hold.execute("LOCK TABLE jobs", &[]).await.unwrap();
        let (claiming, theirs) = (queue.clone(), worker("one"));
        let claim = tokio::spawn(async move { claiming.claim(&theirs).await });
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'jobs'::regclass";
        while hold.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        claim.abort();
        assert!(claim.await.is_err_and(|ended| ended.is_cancelled()));
        let closing = queue.clone();
        let closing = tokio::spawn(async move { closing.close().await });
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert!(!closing.is_finished(), "it is closed in the middle of a transaction");
        }
        hold.commit().await.unwrap();
        closing.await.unwrap();
        let another = schema.open(None).unwrap();
        assert!(another.claim(&worker("two")).await.unwrap().is_none(), "what was under way was kept");
    });
}

#[test]
fn many_that_open_an_empty_database_at_once_make_one_schema() {
    let schema = Schema::new();
    let opened = RUNTIME.block_on(async {
        let opening: Vec<_> = (0..8)
            .map(|_| {
                let url = schema.url();
                tokio::spawn(async move { PostgresQueue::open(&url, Options::default()).await })
            })
            .collect();
        let mut opened = Vec::new();
        for queue in opening {
            opened.push(queue.await.unwrap().unwrap());
        }
        opened
    });
    assert_eq!(opened.len(), 8);
}

#[test]
fn a_database_of_a_newer_version_or_of_something_else_is_refused() {
    let schema = Schema::new();
    drop(schema.open(None).unwrap());
    schema.sql("UPDATE swifthook_schema SET version = 7000");
    let refused = schema.open(None).map(drop);
    assert!(matches!(refused, Err(OpenError::Newer { found: 7000, known: 13 })), "{refused:?}");
    schema.sql("DROP TABLE swifthook_schema");
    assert!(matches!(schema.open(None).map(drop), Err(OpenError::Foreign)));
}

#[test]
fn a_store_moves_from_sqlite_to_postgresql_and_back_with_everything_in_it() {
    let (schema, folder) = (Schema::new(), tempfile::tempdir().unwrap());
    let (from, back) = (folder.path().join("from.db"), folder.path().join("back.db"));
    let filled = RUNTIME.block_on(copying::fill(&from));
    let url = schema.url();
    let (sqlite, postgres) = (Location::Sqlite(&from), Location::Postgres(&url));
    let there = copy(sqlite, postgres, RUNTIME.handle()).unwrap();
    let again = copy(sqlite, postgres, RUNTIME.handle());
    assert!(matches!(again, Err(CopyError::NotEmpty)), "{again:?}");
    assert_eq!(copy(postgres, Location::Sqlite(&back), RUNTIME.handle()).unwrap(), there);
    let store = copying::open(&back, &filled.clock);
    assert_eq!(RUNTIME.block_on(copying::seen(&store)), filled.seen);
    RUNTIME.block_on(copying::goes_on(&store, &filled));

    let queue = schema.open(Some(filled.clock.clock())).unwrap();
    assert_eq!(RUNTIME.block_on(copying::seen(&queue)), filled.seen);
    RUNTIME.block_on(copying::goes_on(&queue, &filled));
    // Once it listens, it is known that somebody works on it.
    let since = std::time::Instant::now();
    for attempt in 0.. {
        let more = folder.path().join(format!("more-{attempt}.db"));
        match copy(postgres, Location::Sqlite(&more), RUNTIME.handle()) {
            Err(CopyError::InUse) => break,
            other => assert!(since.elapsed() < Duration::from_secs(120), "{other:?}"),
        }
    }
}

#[test]
fn a_copy_that_is_interrupted_leaves_nothing_on_postgresql() {
    let (schema, folder) = (Schema::new(), tempfile::tempdir().unwrap());
    let from = folder.path().join("from.db");
    let filled = RUNTIME.block_on(copying::fill(&from));
    let damage = "UPDATE changes SET recipe = 12345 WHERE recipe = (SELECT max(recipe) FROM changes)";
    rusqlite::Connection::open(&from).unwrap().execute(damage, ()).unwrap();
    let url = schema.url();
    let refused = copy(Location::Sqlite(&from), Location::Postgres(&url), RUNTIME.handle());
    assert!(matches!(refused, Err(CopyError::Store(_))), "{refused:?}");
    let queue = schema.open(Some(filled.clock.clock())).unwrap();
    let stats = RUNTIME.block_on(swifthook_core::Upkeep::stats(&queue)).unwrap();
    assert_eq!((stats.deliveries, stats.changes), (0, 0), "jobs and deliveries had been written");
}

async fn heard(news: &mut tokio::sync::watch::Receiver<u64>) {
    tokio::time::timeout(Duration::from_secs(120), news.changed()).await.expect("news come").unwrap();
}

/// Delivers one change many times at once.
fn deliver(
    receivers: &[Arc<PostgresQueue>],
    times: usize,
    head: u32,
    guid: impl Fn(usize) -> String,
) -> Vec<StoredJob> {
    let deliver = |(i, receiver): (usize, &Arc<PostgresQueue>)| {
        let (receiver, push) = (receiver.clone(), push(head, &guid(i)));
        RUNTIME.spawn(async move { accept(&receiver, &push).await })
    };
    let deliveries: Vec<_> = receivers.iter().cycle().take(times).enumerate().map(deliver).collect();
    RUNTIME.block_on(async {
        let mut jobs = Vec::new();
        for delivery in deliveries {
            jobs.push(delivery.await.unwrap());
        }
        jobs
    })
}

async fn accept(queue: &PostgresQueue, decided: &Decided) -> StoredJob {
    match queue.accept(decided).await.unwrap() {
        Receipt::Stored { mut jobs, .. } => jobs.remove(0),
        Receipt::Accepted { .. } => panic!("a store stores"),
    }
}

fn worker(name: &str) -> Worker {
    Worker {
        name: name.into(),
        host: "h".into(),
        labels: Vec::new(),
        slots_free: 9,
        has_gpus: true,
        lease: Duration::from_secs(600),
    }
}
