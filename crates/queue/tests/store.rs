//! What is peculiar to the store on SQLite: its lock, its schema, a full disk, damage, the end.

#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

#[path = "common/push.rs"]
mod push;

use std::error::Error;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use swifthook_core::{
    Admitted, ChangeSet, Decided, Event, History, Intake, JobFilter, JobQueue, Problem, Push, Reason,
    Receipt, RecipeVerdict, Stage, StoredJob, Timestamp, Verdict, Worker,
};
use swifthook_queue::{OpenError, Options, SqliteQueue};
use tempfile::TempDir;

#[test]
fn a_store_belongs_to_one_process_and_says_to_which() {
    let place = Place::new();
    let first = place.open().unwrap();
    let refused = place.open().map(drop).unwrap_err();
    assert!(matches!(refused, OpenError::InUse { owner: Some(pid), .. } if pid == std::process::id()));
    let (path, pid) = (place.path(), std::process::id());
    let told = format!(
        "`{0}` is in use by process {pid}: a store on SQLite belongs to one process (its lock file is `{0}.lock`)",
        path.display()
    );
    assert_eq!(refused.to_string(), told);
    first.close();
    place.open().expect("whoever has closed it lets others have it");
}

#[test]
fn the_files_of_a_store_are_for_its_user_alone() {
    let place = Place::new();
    let _store = place.open().unwrap();
    let files: Vec<_> = std::fs::read_dir(place.directory.path()).unwrap().map(Result::unwrap).collect();
    assert!(files.len() >= 3, "the store, its log, its lock");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{}", file.path().display());
    }
}

#[test]
fn a_store_that_a_newer_version_wrote_is_refused_and_left_alone() {
    let place = Place::new();
    drop(place.open().unwrap());
    place.sql("PRAGMA user_version = 7000");
    let refused = place.open().map(drop).unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found: 7000, known: 10, .. }), "{refused:?}");
    place.sql("PRAGMA user_version = 10");
    place.open().expect("nothing of it was changed");
}

#[tokio::test]
async fn jobs_of_an_older_store_keep_their_turn() {
    let place = Place::new();
    let store = place.open().unwrap();
    for (head, priority) in [(1, 0), (2, -1), (3, 5)] {
        let mut push = push(head);
        push.verdicts[0].jobs[0].priority = priority;
        store.accept(&push).await.unwrap();
    }
    drop(store);
    for index in [
        "jobs_ended",
        "jobs_ended_recipe",
        "jobs_ended_repository",
        "jobs_open",
        "jobs_wait_for_gpus",
        "jobs_fingerprint",
        "jobs_given_up",
        "jobs_workload",
        "deliveries_place",
    ] {
        place.sql(&format!("DROP INDEX {index}"));
    }
    for (table, columns) in [
        ("jobs", &["turn", "repository", "waits_for_gpus", "fingerprint", "given_up", "workload"][..]),
        ("changes", &["stage", "source", "hook", "guid", "trained", "before"]),
        ("deliveries", &["pushed_at", "facts", "known"]),
    ] {
        for column in columns {
            place.sql(&format!("ALTER TABLE {table} DROP COLUMN {column}"));
        }
    }
    place.sql("DROP TABLE logs; DROP TABLE gpus; DROP TABLE decisions; DROP TABLE tips; DROP TABLE ports");
    place.sql("CREATE INDEX jobs_open ON jobs (stage, priority DESC) WHERE stage < 4");
    place.sql("PRAGMA user_version = 1");

    let store = place.open().unwrap();
    for group in ["group 3", "group 1", "group 2"] {
        assert_eq!(&*store.claim(&worker()).await.unwrap().unwrap().job.spec.group, group);
    }
}

#[tokio::test]
async fn every_file_that_stands_beside_a_store_in_use_is_told() {
    let place = Place::new();
    let store = place.open().unwrap();
    assert!(store.claim(&worker()).await.unwrap().is_none());
    let told = SqliteQueue::files(place.path());
    let there: Vec<_> =
        std::fs::read_dir(place.directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(there.len() >= 4, "{there:?}");
    for file in there {
        assert!(told.contains(&file), "{} in {told:?}", file.display());
    }
}

#[test]
fn a_database_of_something_else_is_refused() {
    let place = Place::new();
    place.sql("CREATE TABLE jobs (id INTEGER PRIMARY KEY)");
    assert!(matches!(place.open().map(drop), Err(OpenError::Foreign { .. })));
    std::fs::write(place.path(), "this is no database, whatever it is called").unwrap();
    assert!(matches!(place.open().map(drop), Err(OpenError::Sqlite { .. })));
    let nowhere = place.directory.path().join("no/such/directory/swifthook.db");
    assert!(matches!(SqliteQueue::open(nowhere, Options::default()).map(drop), Err(OpenError::Io { .. })));
}

#[tokio::test]
async fn whoever_asks_whether_there_is_room_has_as_much_written_as_a_push_writes() {
    let place = Place::new();
    let store = place.open().unwrap();
    let log = place.directory.path().join("swifthook.db-wal");
    let before = log.metadata().unwrap().len();
    store.check_writable().await.unwrap();
    let written = log.metadata().unwrap().len() - before;
    assert!(written > 64 << 10, "{written} bytes of the log");
    place.sql("SELECT 1 / (SELECT count(*) = 0 FROM names WHERE length(name) > 1000)");
    store.check_writable().await.unwrap();
}

#[tokio::test]
async fn a_lease_that_ended_with_its_server_is_not_said_to_have_run_out() {
    let place = Place::new();
    let store = place.open().unwrap();
    store.accept(&push(1)).await.unwrap();
    let job = store.claim(&worker()).await.unwrap().unwrap().job;
    drop(store);
    let store = place.open().unwrap();
    store.sweep().await.unwrap();
    let timeline = store.timeline(job.id).await.unwrap();
    let why = timeline.last().unwrap().why.clone().unwrap();
    assert!(why.ends_with("ended without giving it back, and the store was opened again"), "{why}");
}

#[tokio::test]
async fn a_full_disk_refuses_pushes_while_reading_goes_on_and_heals_by_itself() {
    let place = Place::new();
    let store =
        SqliteQueue::open(place.path(), Options { max_pages: Some(120), ..Options::default() }).unwrap();
    store.check_writable().await.unwrap();
    let mut head = 0;
    let refused = loop {
        head += 1;
        assert!(head < 10_000, "the store is never full");
        if let Err(refused) = store.accept(&push(head)).await {
            break refused;
        }
    };
    assert!(!refused.is_permanent() && refused.retry_after().is_some());
    let cause = refused.source().unwrap().source().unwrap().to_string();
    assert!(cause.contains("full"), "{cause}");

    let page = JobFilter { limit: 10_000, ..JobFilter::default() };
    assert_eq!(store.jobs(&page).await.unwrap().len(), head as usize - 1, "nothing was half stored");
    assert!(store.accept(&push(head)).await.is_err(), "and it is still full");
    assert!(store.check_writable().await.is_err(), "whoever asks is told so");

    place.sql("DELETE FROM jobs WHERE id IN (SELECT id FROM jobs ORDER BY id LIMIT 100)");
    place.sql("DELETE FROM deliveries");
    accepted_in_the_end(&store, &push(head)).await;
    store.check_writable().await.unwrap();
    assert_eq!(new(&store, head).await.admitted, Admitted::Duplicate);
}

/// Its verdict is a promise as any other.
#[tokio::test]
async fn a_push_that_trains_nothing_and_cannot_be_recorded_is_refused() {
    let place = Place::new();
    let store =
        SqliteQueue::open(place.path(), Options { max_pages: Some(120), ..Options::default() }).unwrap();
    let (mut head, mut answered) = (0, Vec::new());
    let refused = loop {
        head += 1;
        assert!(head < 10_000, "the store is never full");
        match store.accept(&large(skipped(head))).await {
            Ok(Receipt::Stored { delivery, .. }) => answered.push(delivery),
            Ok(Receipt::Accepted { .. }) => panic!("a store stores"),
            Err(refused) => break refused,
        }
    };
    assert!(!refused.is_permanent() && refused.retry_after().is_some());
    let kept: Vec<_> =
        store.deliveries(None, 10_000).await.unwrap().iter().map(|delivery| delivery.id).rev().collect();
    assert!(!answered.is_empty() && kept == answered, "what was answered is there, and nothing else");

    place.sql("DELETE FROM deliveries");
    accepted_in_the_end(&store, &skipped(head)).await;
}

async fn accepted_in_the_end(store: &SqliteQueue, push: &Decided) {
    let since = Instant::now();
    while store.accept(push).await.is_err() {
        assert!(since.elapsed() < PATIENCE, "there is room again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// With paths that take several pages.
fn large(decided: Decided) -> Decided {
    let paths =
        (0..200).map(|i| (format!("{i:03}/{}", "x".repeat(100)), swifthook_core::PathChange::Present));
    let paths: Vec<_> = paths.collect();
    let paths = paths.iter().map(|(path, change)| (path.as_str(), *change)).collect();
    Decided { push: Push { changes: ChangeSet::Complete(paths), ..decided.push }, ..decided }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_does_not_fit_takes_no_other_down_with_it() {
    let place = Place::new();
    let store =
        SqliteQueue::open(place.path(), Options { max_pages: Some(400), ..Options::default() }).unwrap();
    let store = Arc::new(store);
    let asked: Vec<_> = (1..=60)
        .map(|head| {
            let store = store.clone();
            let mut push = push(head);
            let is_large = head % 10 == 0;
            if is_large {
                let command = serde_json::json!([[{ "text": "x".repeat(4 << 20) }]]);
                push.verdicts[0].jobs[0].command = serde_json::from_value(command).unwrap();
            }
            tokio::spawn(async move { (is_large, store.accept(&push).await.is_ok()) })
        })
        .collect();
    for asked in asked {
        let (is_large, is_stored) = asked.await.unwrap();
        assert_ne!(is_large, is_stored);
    }
    let page = JobFilter { limit: 100, ..JobFilter::default() };
    assert_eq!(store.jobs(&page).await.unwrap().len(), 54);
}

#[tokio::test]
async fn a_damaged_row_stops_neither_the_start_nor_the_work() {
    let place = Place::new();
    let (mut ids, mut receipts) = (Vec::new(), Vec::new());
    {
        let store = place.open().unwrap();
        for head in 1..=4 {
            let Receipt::Stored { delivery, jobs } = store.accept(&push(head)).await.unwrap() else {
                panic!()
            };
            ids.push(jobs[0].id);
            receipts.push(delivery);
        }
    }
    place.sql("UPDATE jobs SET spec = x'00' WHERE id = (SELECT min(id) FROM jobs)");
    place.sql("UPDATE jobs SET format = 9 WHERE id = (SELECT max(id) FROM jobs)");
    place.sql("UPDATE jobs SET place = 12345 WHERE spec = x'00'");
    place.sql(
        "UPDATE deliveries SET verdicts = x'7b', place = 999 WHERE id = (SELECT min(id) FROM deliveries)",
    );

    let store = place.open().unwrap();
    let page = JobFilter::default();
    let listed: Vec<_> = store.jobs(&page).await.unwrap().iter().map(|job| job.id).collect();
    assert_eq!(listed, [ids[2], ids[1]]);
    assert_eq!(store.deliveries(None, 10).await.unwrap().len(), 3);
    for id in [ids[0], ids[3]] {
        let refused = store.job(id).await.unwrap_err();
        assert!(refused.is_permanent(), "whoever asks for that very job is told");
    }
    assert!(store.delivery(receipts[0]).await.is_err());
    let worker = worker();
    for id in &ids[1..3] {
        assert_eq!(store.claim(&worker).await.unwrap().unwrap().job.id, *id);
    }
    assert!(store.claim(&worker).await.unwrap().is_none());
    assert_eq!(new(&store, 5).await.admitted, Admitted::New);

    // A newer change of the damaged job's group, to which it would have to give way.
    let mut newer = push(6);
    newer.verdicts[0].jobs[0].group = "group 4".into();
    newer.push.before = push(4).push.head;
    store.accept(&newer).await.expect("damage is no reason to refuse it");
}

#[tokio::test]
async fn a_push_that_trains_nothing_is_in_the_file_before_it_is_answered() {
    let place = Place::new();
    let store = place.open().unwrap();
    for head in 1..=20 {
        store.accept(&skipped(head)).await.unwrap();
        assert_eq!(place.count("deliveries"), u64::from(head));
    }
}

/// Of those that come at once, many share a transaction.
#[tokio::test(flavor = "multi_thread")]
async fn pushes_that_train_nothing_are_written_together_and_refused_when_the_store_is_closed() {
    let place = Place::new();
    let store = Arc::new(place.open().unwrap());
    // Somebody else's transaction keeps the writer from its work until all are there.
    let mut other = Connection::open(place.path()).unwrap();
    let blocking = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let accepting: Vec<_> = (1..=500)
        .map(|head| {
            let store = store.clone();
            tokio::spawn(async move { store.accept(&skipped(head)).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(
        accepting.iter().all(|accepting| !accepting.is_finished()),
        "nothing is promised before it is written"
    );
    drop(blocking);
    for accepting in accepting {
        assert!(matches!(accepting.await.unwrap().unwrap(), Receipt::Stored { .. }));
    }
    assert_eq!(place.count("deliveries"), 500);
    store.close();
    for late in [skipped(9_000), push(9_002)] {
        assert!(store.accept(&late).await.is_err(), "it is closed");
    }
}

#[tokio::test]
async fn a_store_is_read_while_it_is_written() {
    let place = Place::new();
    let store = place.open().unwrap();
    let id = new(&store, 1).await.id;
    let mut other = Connection::open(place.path()).unwrap();
    let blocking = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let push = push(2);
    let waiting = store.accept(&push);
    tokio::pin!(waiting);
    let read = async {
        assert_eq!(store.job(id).await.unwrap().unwrap().state.stage, Stage::Queued);
        assert_eq!(store.jobs(&JobFilter::default()).await.unwrap().len(), 1);
    };
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("nobody can write now"),
        () = read => {}
    }
    drop(blocking);
    waiting.await.expect("it waited, and was written");
}

#[tokio::test]
async fn news_are_told_when_there_is_something_to_do() {
    let place = Place::new();
    let store = place.open().unwrap();
    let mut news = store.watch();
    let mut is_news = || {
        let is_news = news.has_changed().unwrap();
        news.mark_unchanged();
        is_news
    };
    assert!(!is_news());
    new(&store, 1).await;
    assert!(is_news(), "a new job");
    let claimed = store.claim(&worker()).await.unwrap().unwrap();
    assert!(!is_news(), "what was handed out is nothing for anybody else");
    store
        .apply(&claimed.lease, Event::Start { at: claimed.job.created_at, host: None, gpus: None })
        .await
        .unwrap();
    assert!(!is_news());
    store.apply(&claimed.lease, Event::Release).await.unwrap();
    assert!(is_news(), "a job without a worker");
}

#[tokio::test]
async fn who_opens_a_store_adopts_what_ran_at_once() {
    let place = Place::new();
    let store = place.open().unwrap();
    let job = new(&store, 1).await.id;
    let before = store.claim(&worker()).await.unwrap().unwrap();
    store.apply(&before.lease, Event::Start { at: Timestamp(1), host: None, gpus: None }).await.unwrap();
    assert!(store.claim(&worker()).await.unwrap().is_none(), "its lease has not run out");
    drop(store);

    let store = place.open().unwrap();
    let adopted = store.claim(&worker()).await.unwrap().expect("nobody else can be alive");
    assert_eq!((adopted.lease.job, adopted.lease.epoch), (job, before.lease.epoch + 1));
}

const PATIENCE: Duration = Duration::from_secs(120);

async fn new(store: &SqliteQueue, head: u32) -> StoredJob {
    match store.accept(&push(head)).await.unwrap() {
        Receipt::Stored { mut jobs, .. } => jobs.remove(0),
        Receipt::Accepted { .. } => panic!("a store stores"),
    }
}

fn push(head: u32) -> Decided {
    push::push(head, &format!("guid {head}"))
}

/// The same push, for which nothing is to run.
fn skipped(head: u32) -> Decided {
    let verdict = Verdict::Skip(Reason::new("paths", "no changed file matches"));
    let verdicts = vec![RecipeVerdict { recipe: "sft".into(), verdict, jobs: Vec::new() }];
    Decided { verdicts, ..push(head) }
}

fn worker() -> Worker {
    Worker {
        name: "w".into(),
        host: "h".into(),
        labels: Vec::new(),
        slots_free: 9,
        has_gpus: true,
        lease: Duration::from_secs(60),
    }
}

struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("swifthook.db")
    }

    fn open(&self) -> Result<SqliteQueue, OpenError> {
        SqliteQueue::open(self.path(), Options::default())
    }

    fn reading(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    fn sql(&self, sql: &str) {
        self.reading().execute_batch(sql).unwrap();
    }

    fn count(&self, table: &str) -> u64 {
        let sql = format!("SELECT count(*) FROM {table}");
        self.reading().query_row(&sql, (), |row| row.get::<_, i64>(0)).unwrap().cast_unsigned()
    }
}
