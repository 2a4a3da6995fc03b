//! What is old enough to go.

use swifthook_core::{DeliveryId, JobId, Stage, Timestamp};
use uuid::Uuid;

use super::rows::{self, RowError, readable};
use super::transaction::{Transaction, uuid};
use crate::codec;
use crate::ids::{join, number_at};
use crate::store::OldDeliveries;

/// The ids of jobs that came to this end and were made before `made_before`, after the job `after`. Those that
/// somebody works on are left for the next time, and the others are kept from everybody else.
pub(super) fn ended(
    transaction: &mut Transaction<'_>,
    stage: Stage,
    after: Option<JobId>,
    made_before: Timestamp,
    limit: usize,
) -> Result<Vec<JobId>, RowError> {
    let sql = "SELECT id FROM jobs WHERE stage = $1 AND stage >= 4 AND id > $2 AND id < $3 ORDER BY id LIMIT $4 \
               FOR UPDATE SKIP LOCKED";
    let after = after.map_or(Uuid::nil(), uuid);
    let bounds = (codec::stage_code(stage), first_of(made_before), count(limit));
    let found = transaction.query(sql, &[&bounds.0, &after, &bounds.1, &bounds.2])?;
    found.iter().map(|row| rows::id(row, 0)).collect()
}

pub(super) fn remove(transaction: &mut Transaction<'_>, id: JobId) -> Result<(), RowError> {
    let id = uuid(id);
    transaction.execute("DELETE FROM timeline WHERE job = $1", &[&id])?;
    transaction.execute("DELETE FROM leases WHERE job = $1", &[&id])?;
    transaction.execute("DELETE FROM logs WHERE job = $1", &[&id])?;
    transaction.execute("DELETE FROM gpus WHERE job = $1", &[&id])?;
    transaction.execute("DELETE FROM ports WHERE job = $1", &[&id])?;
    transaction.execute("DELETE FROM jobs WHERE id = $1", &[&id])
}

/// Deliveries that were recorded before `before`, after the delivery `after`, with their jobs.
pub(super) fn deliveries(
    transaction: &mut Transaction<'_>,
    after: Option<DeliveryId>,
    before: Timestamp,
    limit: usize,
) -> Result<OldDeliveries, RowError> {
    let sql = "SELECT id, jobs FROM deliveries WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3";
    let after = after.map_or(Uuid::nil(), |id| Uuid::from_bytes(id.0));
    let mut deliveries = Vec::new();
    for row in transaction.query(sql, &[&after, &first_of(before), &count(limit)])? {
        let jobs = codec::ids(row.try_get::<_, Option<&[u8]>>(1)?.unwrap_or_default());
        deliveries.push((DeliveryId(rows::id(&row, 0)?.0), readable(jobs.map_err(RowError::from))?));
    }
    Ok(deliveries)
}

pub(super) fn remove_delivery(transaction: &mut Transaction<'_>, id: DeliveryId) -> Result<(), RowError> {
    transaction.execute("DELETE FROM deliveries WHERE id = $1", &[&Uuid::from_bytes(id.0)])
}

pub(super) fn has_job(transaction: &mut Transaction<'_>, id: JobId) -> Result<bool, RowError> {
    Ok(!transaction.query("SELECT FROM jobs WHERE id = $1", &[&uuid(id)])?.is_empty())
}

/// Before every id that is made at `at`.
fn first_of(at: Timestamp) -> Uuid {
    Uuid::from_bytes(join(number_at(at), 0))
}

fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
