//! The ends of the logs of runs.

use swifthook_core::{RunKey, RunLog};
use tokio_postgres::Row;
use uuid::Uuid;

use super::pool::Session;
use super::rows::{self, RowError};
use super::transaction::{Transaction, plain, uuid};

/// Keeps the end of a log, if its job is there.
pub(super) fn keep(transaction: &mut Transaction<'_>, log: &RunLog) -> Result<(), RowError> {
    let sql = "INSERT INTO logs SELECT id, $2::bigint, $3, $4, $5::bigint, $6 FROM jobs WHERE id = $1 \
               ON CONFLICT (job, attempt) DO UPDATE \
               SET host = excluded.host, file = excluded.file, length = excluded.length, tail = excluded.tail";
    transaction.execute(
        sql,
        &[
            &uuid(log.run.job),
            &i64::from(log.run.attempt),
            &plain(&log.host),
            &plain(&log.file),
            &i64::try_from(log.length).unwrap_or(i64::MAX),
            &plain(&log.tail),
        ],
    )
}

pub(super) async fn read(session: &mut Session, run: RunKey) -> Result<Option<RunLog>, RowError> {
    let sql = "SELECT job, attempt, host, file, length, tail FROM logs WHERE job = $1 AND attempt = $2";
    let found = session.query(sql, &[&uuid(run.job), &i64::from(run.attempt)]).await?;
    found.first().map(log).transpose()
}

/// The next ones, by their jobs and attempts.
pub(super) fn after(
    transaction: &mut Transaction<'_>,
    after: Option<RunKey>,
) -> Result<Vec<RunLog>, RowError> {
    let sql = "SELECT job, attempt, host, file, length, tail FROM logs WHERE (job, attempt) > ($1, $2::bigint) \
               ORDER BY job, attempt LIMIT 50";
    let (job, attempt) = after.map_or((Uuid::nil(), 0), |run| (uuid(run.job), i64::from(run.attempt)));
    transaction.query(sql, &[&job, &attempt])?.iter().map(log).collect()
}

fn log(row: &Row) -> Result<RunLog, RowError> {
    Ok(RunLog {
        run: RunKey { job: rows::id(row, 0)?, attempt: rows::number(row, 1)? },
        host: row.try_get::<_, &str>(2)?.into(),
        file: row.try_get::<_, &str>(3)?.into(),
        length: row.try_get::<_, i64>(4)?.unsigned_abs(),
        tail: row.try_get(5)?,
    })
}
