use tokio_postgres::Client;

use super::config::OpenError;

/// Brings the schema up to date. Of several that start at once one does it, and the others wait.
pub(super) async fn migrate(client: &mut Client) -> Result<(), OpenError> {
    let encoding: String = client.query_one("SHOW server_encoding", &[]).await?.try_get(0)?;
    if encoding != "UTF8" {
        return Err(OpenError::Encoding(encoding));
    }
    let transaction = client.transaction().await?;
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ' migrations', 0))";
    transaction.batch_execute(lock).await?;
    let tables = "SELECT to_regclass('swifthook_schema') IS NULL, to_regclass('jobs') IS NULL";
    let found = transaction.query_one(tables, &[]).await?;
    let version = match (found.try_get(0)?, found.try_get(1)?) {
        (true, false) => return Err(OpenError::Foreign),
        (true, true) => {
            transaction.batch_execute(VERSION).await?;
            0
        }
        (false, _) => transaction.query_one("SELECT version FROM swifthook_schema", &[]).await?.try_get(0)?,
    };
    if version > newest() {
        return Err(OpenError::Newer { found: version, known: newest() });
    }
    for (_, migration) in (1..).zip(MIGRATIONS).filter(|(number, _)| *number > version) {
        transaction.batch_execute(migration).await?;
    }
    transaction.execute("UPDATE swifthook_schema SET version = $1", &[&newest()]).await?;
    Ok(transaction.commit().await?)
}

/// The version of the schema of a database; 0 if there is none yet. It is only read.
pub(super) async fn version(client: &Client) -> Result<i32, OpenError> {
    let tables = "SELECT to_regclass('swifthook_schema') IS NULL, to_regclass('jobs') IS NULL";
    let found = client.query_one(tables, &[]).await?;
    let version = match (found.try_get(0)?, found.try_get(1)?) {
        (true, false) => return Err(OpenError::Foreign),
        (true, true) => 0,
        (false, _) => client.query_one("SELECT version FROM swifthook_schema", &[]).await?.try_get(0)?,
    };
    if version > newest() {
        return Err(OpenError::Newer { found: version, known: newest() });
    }
    Ok(version)
}

pub(super) fn newest() -> i32 {
    i32::try_from(MIGRATIONS.len()).expect("migrations are few")
}

const VERSION: &str =
    "CREATE TABLE swifthook_schema (version INTEGER NOT NULL); INSERT INTO swifthook_schema VALUES (0)";
/// Each is applied once, in order; what has been released is never edited.
const MIGRATIONS: [&str; 13] = [
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
    include_str!("migrations/11.sql"),
    include_str!("migrations/12.sql"),
    include_str!("migrations/13.sql"),
];
