use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::config::{OpenError, Options};

/// Opens the connection that writes, and brings the schema up to date.
pub(super) fn open(path: &Path, options: &Options) -> Result<Connection, OpenError> {
    let refused = |source| OpenError::Sqlite { path: path.into(), source };
    let mut connection = connect(path, options).map_err(refused)?;
    let version = version(&connection, path)?;
    migrate(&mut connection, version).map_err(refused)?;
    Ok(connection)
}

/// The version of a store that is there. It is only read.
pub(super) fn check(path: &Path) -> Result<u32, OpenError> {
    std::fs::metadata(path).map_err(|source| OpenError::Io { path: path.into(), source })?;
    let connection =
        connect_reader(path).map_err(|source| OpenError::Sqlite { path: path.into(), source })?;
    version(&connection, path)
}

fn version(connection: &Connection, path: &Path) -> Result<u32, OpenError> {
    let refused = |source| OpenError::Sqlite { path: path.into(), source };
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(refused)?;
    let tables = "SELECT count(*) FROM sqlite_schema";
    let tables: u32 = connection.query_row(tables, (), |row| row.get(0)).map_err(refused)?;
    let application: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(refused)?;
    if application != APPLICATION && tables > 0 {
        return Err(OpenError::Foreign { path: path.into() });
    }
    if version > newest() {
        return Err(OpenError::Newer { path: path.into(), found: version, known: newest() });
    }
    Ok(version)
}

/// A connection for the thread that writes.
pub(super) fn connect(path: &Path, options: &Options) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.set_prepared_statement_cache_capacity(64);
    keep_plans(&connection)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // With anything less, a loss of power could take back what a 202 has promised.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 4_000)?;
    connection.pragma_update(None, "cache_size", -16_000)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    if let Some(pages) = options.max_pages {
        connection.pragma_update(None, "max_page_count", pages)?;
    }
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn connect_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    keep_plans(&connection)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// Without this SQLite plans a statement anew whenever a bound `LIMIT` is another one.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn migrate(connection: &mut Connection, from: u32) -> rusqlite::Result<()> {
    for (version, migration) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > from) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

pub(super) fn newest() -> u32 {
    u32::try_from(MIGRATIONS.len()).expect("migrations are few")
}

/// `swhk`.
const APPLICATION: i32 = 0x7377_686b;
const BUSY: std::time::Duration = std::time::Duration::from_secs(5);
/// Each is applied once, in order; what has been released is never edited.
const MIGRATIONS: [&str; 10] = [
    include_str!("migrations/1.sql"),
    include_str!("migrations/2.sql"),
    include_str!("migrations/3.sql"),
    include_str!("migrations/4.sql"),
    include_str!("migrations/5.sql"),
    include_str!("migrations/6.sql"),
    include_str!("migrations/7.sql"),
    include_str!("migrations/8.sql"),
    include_str!("migrations/9.sql"),
    include_str!("migrations/10.sql"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_of_the_first_version_is_brought_up_to_date_with_its_jobs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("swifthook.db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        old.pragma_update(None, "application_id", APPLICATION).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        old.execute_batch(
            "INSERT INTO names VALUES (1, 'acme/models refs/heads/main'), (2, 'acme/other refs/tags/a b'), (3, 'sft');
             INSERT INTO jobs (id, rest, format, stage, ran, needs_diff, priority, group_id, place, recipe, run, head,
                               created_at, source, spec)
             VALUES (10, 0, 1, 5, 1, 0, 0, 3, 1, 3, 0, x'00', 0, 1, x'00'),
                    (11, 0, 1, 0, 0, 0, 0, 3, 2, 3, 0, x'00', 0, 1, x'00');
             INSERT INTO changes VALUES (1, x'00', 3, '', 10, 0, 0, 0), (1, x'00', 3, 'b', 11, 0, 1, 0);",
        )
        .unwrap();
        drop(old);
        let store = open(&path, &Options::default()).unwrap();
        let repositories =
            "SELECT group_concat(n.name) FROM jobs j JOIN names n ON n.id = j.repository ORDER BY j.id";
        let named: String = store.query_row(repositories, (), |row| row.get(0)).unwrap();
        assert_eq!(named, "acme/models,acme/other");
        let removed: Option<i64> =
            store.query_row("SELECT stage FROM changes", (), |row| row.get(0)).unwrap();
        assert_eq!(removed, None, "its job is there");
        let trained = "SELECT group_concat(trained) FROM (SELECT trained FROM changes ORDER BY config)";
        let trained: String = store.query_row(trained, (), |row| row.get(0)).unwrap();
        assert_eq!(trained, "0,1", "what was trained again had trained");
    }
}
