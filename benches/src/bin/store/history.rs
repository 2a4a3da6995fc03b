use std::error::Error;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use swifthook_benches::pushes::{decided, new_commit, trains};
use swifthook_core::{Event, Exit, Intake, JobQueue, RunHandle, Timestamp, Worker};
use swifthook_queue::{Options, SqliteQueue};

/// A recipe that one job in a thousand is of.
pub(super) const RARE: &str = "rare";

/// Makes a store with `count` finished jobs: one that was really run, and copies of all its rows.
pub(super) async fn make(path: &Path, count: u32) -> Result<(), Box<dyn Error>> {
    run_one(path).await?;
    let store = Connection::open(path)?;
    store.pragma_update(None, "synchronous", "OFF")?;
    store.execute_batch("BEGIN; CREATE TEMP TABLE n (i INTEGER PRIMARY KEY);")?;
    store.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) INSERT INTO temp.n SELECT i FROM n",
        (count - 1,),
    )?;
    let groups = "INSERT INTO names (name) SELECT 'group ' || i FROM temp.n WHERE i <= 1000";
    store.execute(groups, ())?;
    let first: i64 = store.query_row("SELECT id FROM names WHERE name = 'group 1'", (), |row| row.get(0))?;
    store.execute("INSERT INTO names (name) VALUES (?1)", (RARE,))?;
    let rare = store.last_insert_rowid();
    let number = format!("t.id - {count} + n.i");
    copy(
        &store,
        "jobs",
        &[
            ("id", &number),
            ("head", "randomblob(20)"),
            ("recipe", &format!("iif(n.i % 1000 = 7, {rare}, t.recipe)")),
            ("group_id", &format!("{first} + n.i % 1000")),
            ("pushed_at", &format!("t.pushed_at - {count} + n.i")),
        ],
    )?;
    copy(&store, "deliveries", &[("id", &number), ("head", "randomblob(20)")])?;
    let job = "(SELECT max(id) FROM jobs)";
    copy(&store, "timeline", &[("job", &format!("{job} - {count} + n.i"))])?;
    // In the order of the index, and spread over all of it.
    let head = "unhex(printf('%016x%024x', n.i * 4294967296, n.i))";
    copy(&store, "changes", &[("head", head), ("job", &format!("t.job - {count} + n.i"))])?;
    store.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(())
}

/// Copies the rows of `table`, once for each number, with these columns changed.
fn copy(store: &Connection, table: &str, changed: &[(&str, &str)]) -> rusqlite::Result<usize> {
    let mut columns = store.prepare(&format!("SELECT name FROM pragma_table_info('{table}')"))?;
    let columns: Vec<String> = columns.query_map((), |row| row.get(0))?.collect::<Result<_, _>>()?;
    let value = |column: &String| {
        let changed = changed.iter().find(|(name, _)| name == column);
        changed.map_or_else(|| format!("t.{column}"), |(_, expression)| (*expression).to_owned())
    };
    let values: Vec<_> = columns.iter().map(value).collect();
    let sql = format!(
        "INSERT INTO {table} ({}) SELECT {} FROM temp.n n CROSS JOIN (SELECT * FROM {table}) t ORDER BY n.i",
        columns.join(", "),
        values.join(", ")
    );
    store.execute(&sql, ())
}

async fn run_one(path: &Path) -> Result<(), Box<dyn Error>> {
    let queue = SqliteQueue::open(path, Options::default())?;
    let mut push = decided(trains());
    push.push.head = Some(new_commit());
    queue.accept(&push).await?;
    let claimed = queue.claim(&worker()).await?.ok_or("there is a job")?;
    let (lease, at) = (claimed.lease, Timestamp(1_795_514_400_000));
    let handle = RunHandle { launcher: "local".into(), host: None, version: 1, data: 1.into() };
    let exit = Exit { code: Some(0), ..Exit::default() };
    for event in [
        Event::Start { at, host: None, gpus: None },
        Event::Submitted(handle),
        Event::Seen,
        Event::Ended(exit),
        Event::Collected {
            steps_done: Some(true),
            step: None,
            checkpoint: None,
            peak_memory: None,
            fails: None,
            retry_at: at,
            at,
        },
    ] {
        queue.apply(&lease, event).await?;
    }
    queue.close();
    Ok(())
}

pub(super) fn worker() -> Worker {
    Worker {
        name: "w".into(),
        host: "h".into(),
        labels: Vec::new(),
        slots_free: 9,
        has_gpus: true,
        lease: Duration::from_secs(600),
    }
}
