//! Who has which GPUs, and who waits for some.

use rusqlite::{Connection, OptionalExtension, Params, Row, params};
use swifthook_core::{GpuGrant, GpuLease, Job, JobId, RunKey};

use super::rows::{self, RowError, entries, readable};
use crate::codec;

/// Somebody else's lease is refused by the key.
pub(super) fn lease(connection: &Connection, run: RunKey, grant: &GpuGrant) -> Result<(), RowError> {
    let mut statement = connection.prepare_cached("INSERT INTO gpus VALUES (?1, ?2, ?3, ?4)")?;
    for uuid in &grant.uuids {
        statement.execute(params![&*grant.machine, &**uuid, codec::halves(run.job.0).0, run.attempt])?;
    }
    Ok(())
}

pub(super) fn leases(connection: &Connection, machine: Option<&str>) -> Result<Vec<GpuLease>, RowError> {
    let sql = "SELECT g.machine, g.uuid, j.id, j.rest, g.attempt FROM gpus g JOIN jobs j ON j.id = g.job \
               WHERE ?1 IS NULL OR g.machine = ?1 ORDER BY g.machine, g.uuid";
    let mut statement = connection.prepare_cached(sql)?;
    let leases = statement.query_map((machine,), of_row)?;
    Ok(leases.collect::<Result<_, _>>()?)
}

pub(super) fn are_of(connection: &Connection, job: JobId) -> Result<bool, RowError> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM gpus WHERE job = ?1 LIMIT 1")?;
    Ok(statement.query_row((codec::halves(job.0).0,), |_| Ok(())).optional()?.is_some())
}

/// A group that is only claimed may be that of the very job which waits, so only active ones count.
pub(super) fn waiters(connection: &Connection) -> Result<Vec<Job>, RowError> {
    jobs(connection, WAITERS, ())
}

pub(super) fn stranded(connection: &Connection, host: &str) -> Result<Vec<Job>, RowError> {
    jobs(connection, STRANDED, (host,))
}

fn jobs(connection: &Connection, sql: &str, params: impl Params) -> Result<Vec<Job>, RowError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query(params)?;
    let mut jobs = Vec::new();
    while let Some(row) = found.next()? {
        jobs.extend(readable(rows::entry(row).map(|entry| entry.job))?);
    }
    Ok(jobs)
}

fn of_row(row: &Row<'_>) -> rusqlite::Result<GpuLease> {
    Ok(GpuLease {
        machine: row.get(0)?,
        uuid: row.get(1)?,
        run: RunKey { job: JobId(codec::whole(row.get(2)?, row.get(3)?)), attempt: row.get(4)? },
    })
}

const WAITERS: &str = entries!(
    "WHERE j.waits_for_gpus = 1 AND j.group_id NOT IN ( \
         SELECT a.group_id FROM jobs a WHERE a.stage < 4 AND a.stage IN (2, 3)) \
     ORDER BY j.turn, j.id"
);
const STRANDED: &str = entries!(
    "WHERE j.id IN (SELECT id FROM jobs WHERE given_up = 1 UNION SELECT job FROM gpus) \
     AND j.stage >= 4 AND (j.host IS NULL OR j.host = ?1) ORDER BY j.id"
);
