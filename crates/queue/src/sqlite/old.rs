//! What is old enough to go.

use rusqlite::{Connection, OptionalExtension, params};
use swifthook_core::{DeliveryId, JobId, Stage, Timestamp};

use super::rows::{self, RowError, readable};
use crate::codec;
use crate::ids::number_at;
use crate::store::OldDeliveries;

/// The ids of jobs that came to this end and were made before `made_before`, after the job `after`.
pub(super) fn ended(
    connection: &Connection,
    stage: Stage,
    after: Option<JobId>,
    made_before: Timestamp,
    limit: usize,
) -> Result<Vec<JobId>, RowError> {
    let sql = "SELECT id, rest FROM jobs WHERE stage = ?1 AND stage >= 4 AND id > ?2 AND id < ?3 ORDER BY id LIMIT ?4";
    let after = after.map_or(-1, |id| codec::halves(id.0).0);
    let mut statement = connection.prepare_cached(sql)?;
    let bounds = params![codec::stage_code(stage), after, number(made_before), count(limit)];
    let ids = statement.query_map(bounds, |row| Ok(JobId(codec::whole(row.get(0)?, row.get(1)?))))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

pub(super) fn remove(connection: &Connection, id: JobId) -> Result<(), RowError> {
    let (id, _) = codec::halves(id.0);
    for sql in [
        "DELETE FROM timeline WHERE job = ?1",
        "DELETE FROM leases WHERE job = ?1",
        "DELETE FROM logs WHERE job = ?1",
        "DELETE FROM gpus WHERE job = ?1",
        "DELETE FROM ports WHERE job = ?1",
        "DELETE FROM jobs WHERE id = ?1",
    ] {
        connection.prepare_cached(sql)?.execute((id,))?;
    }
    Ok(())
}

/// Deliveries that were recorded before `before`, after the delivery `after`, with their jobs.
pub(super) fn deliveries(
    connection: &Connection,
    after: Option<DeliveryId>,
    before: Timestamp,
    limit: usize,
) -> Result<OldDeliveries, RowError> {
    let sql = "SELECT id, rest, jobs FROM deliveries WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3";
    let after = after.map_or(-1, |id| codec::halves(id.0).0);
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query(params![after, number(before), count(limit)])?;
    let mut deliveries = Vec::new();
    while let Some(row) = found.next()? {
        let id = DeliveryId(codec::whole(row.get(0)?, row.get(1)?));
        let jobs = codec::ids(rows::optional_blob(row, 2)?.unwrap_or_default()).map_err(RowError::from);
        deliveries.push((id, readable(jobs)?));
    }
    Ok(deliveries)
}

pub(super) fn remove_delivery(connection: &Connection, id: DeliveryId) -> Result<(), RowError> {
    connection.prepare_cached("DELETE FROM deliveries WHERE id = ?1")?.execute((codec::halves(id.0).0,))?;
    Ok(())
}

pub(super) fn has_job(connection: &Connection, id: JobId) -> Result<bool, RowError> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM jobs WHERE id = ?1 AND rest = ?2")?;
    Ok(statement.query_row(codec::halves(id.0), |_| Ok(())).optional()?.is_some())
}

fn number(at: Timestamp) -> i64 {
    number_at(at).cast_signed()
}

fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
