//! The ends of the logs of runs.

use rusqlite::{Connection, OptionalExtension, Row, params};
use swifthook_core::{JobId, RunKey, RunLog};

use super::rows::RowError;
use crate::codec;

/// Keeps the end of a log, if its job is there.
pub(super) fn keep(connection: &Connection, log: &RunLog) -> Result<(), RowError> {
    let sql =
        "INSERT OR REPLACE INTO logs SELECT id, ?3, ?4, ?5, ?6, ?7 FROM jobs WHERE id = ?1 AND rest = ?2";
    let (id, rest) = codec::halves(log.run.job.0);
    let length = i64::try_from(log.length).unwrap_or(i64::MAX);
    let values = params![id, rest, log.run.attempt, &*log.host, &*log.file, length, log.tail];
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

pub(super) fn read(connection: &Connection, run: RunKey) -> Result<Option<RunLog>, RowError> {
    let sql = "SELECT j.id, j.rest, l.attempt, l.host, l.file, l.length, l.tail FROM logs l \
               JOIN jobs j ON j.id = l.job WHERE j.id = ?1 AND j.rest = ?2 AND l.attempt = ?3";
    let (id, rest) = codec::halves(run.job.0);
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row(params![id, rest, run.attempt], log).optional()?)
}

/// The next ones, by their jobs and attempts.
pub(super) fn after(connection: &Connection, after: Option<RunKey>) -> Result<Vec<RunLog>, RowError> {
    let sql = "SELECT j.id, j.rest, l.attempt, l.host, l.file, l.length, l.tail FROM logs l \
               JOIN jobs j ON j.id = l.job WHERE (l.job, l.attempt) > (?1, ?2) ORDER BY l.job, l.attempt LIMIT 50";
    let (id, attempt) = after.map_or((-1, 0), |run| (codec::halves(run.job.0).0, run.attempt));
    let mut statement = connection.prepare_cached(sql)?;
    let logs = statement.query_map(params![id, attempt], log)?;
    Ok(logs.collect::<Result<_, _>>()?)
}

fn log(row: &Row<'_>) -> rusqlite::Result<RunLog> {
    Ok(RunLog {
        run: RunKey { job: JobId(codec::whole(row.get(0)?, row.get(1)?)), attempt: row.get(2)? },
        host: row.get(3)?,
        file: row.get(4)?,
        length: row.get::<_, i64>(5)?.unsigned_abs(),
        tail: row.get(6)?,
    })
}
