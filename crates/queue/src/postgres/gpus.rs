//! Who has which GPUs, and who waits for some.

use swifthook_core::{GpuGrant, GpuLease, Job, JobId, RunKey};
use tokio_postgres::Row;

use super::pool::{Session, given};
use super::rows::{self, RowError, entries, readable};
use super::transaction::{Transaction, plain, uuid};

/// Somebody else's lease is refused by the key, when this one is written. In one order for all, so that two who want the
/// same do not wait for each other.
pub(super) fn lease(
    transaction: &mut Transaction<'_>,
    run: RunKey,
    grant: &GpuGrant,
) -> Result<(), RowError> {
    let mut uuids = grant.uuids.clone();
    uuids.sort_unstable();
    for gpu in uuids {
        let with = given![plain(&grant.machine), plain(&gpu), uuid(run.job), i64::from(run.attempt)];
        transaction.later("INSERT INTO gpus VALUES ($1, $2, $3, $4)", with)?;
    }
    Ok(())
}

pub(super) fn free(transaction: &mut Transaction<'_>, job: JobId) -> Result<(), RowError> {
    transaction.later("DELETE FROM gpus WHERE job = $1", given![uuid(job)])
}

pub(super) fn leased(
    transaction: &mut Transaction<'_>,
    machine: Option<&str>,
) -> Result<Vec<GpuLease>, RowError> {
    transaction.query(LEASES, &[&machine.map(plain)])?.iter().map(of_row).collect()
}

pub(super) async fn leases(session: &mut Session) -> Result<Vec<GpuLease>, RowError> {
    session.query(LEASES, &[&None::<String>]).await?.iter().map(of_row).collect()
}

pub(super) fn are_of(transaction: &mut Transaction<'_>, job: JobId) -> Result<bool, RowError> {
    Ok(!transaction.query("SELECT FROM gpus WHERE job = $1 LIMIT 1", &[&uuid(job)])?.is_empty())
}

/// A group that is only claimed may be that of the very job which waits, so only active ones count.
pub(super) fn waiters(transaction: &mut Transaction<'_>) -> Result<Vec<Job>, RowError> {
    jobs(&transaction.query(WAITERS, &[])?)
}

pub(super) fn stranded(transaction: &mut Transaction<'_>, host: &str) -> Result<Vec<Job>, RowError> {
    jobs(&transaction.query(STRANDED, &[&plain(host)])?)
}

fn jobs(found: &[Row]) -> Result<Vec<Job>, RowError> {
    let mut jobs = Vec::with_capacity(found.len());
    for row in found {
        jobs.extend(readable(rows::entry(row).map(|entry| entry.job))?);
    }
    Ok(jobs)
}

fn of_row(row: &Row) -> Result<GpuLease, RowError> {
    Ok(GpuLease {
        machine: row.try_get::<_, &str>(0)?.into(),
        uuid: row.try_get::<_, &str>(1)?.into(),
        run: RunKey { job: rows::id(row, 2)?, attempt: rows::number(row, 3)? },
    })
}

const LEASES: &str = "SELECT machine, uuid, job, attempt FROM gpus WHERE $1::text IS NULL OR machine = $1 \
    ORDER BY machine COLLATE \"C\", uuid COLLATE \"C\"";
const WAITERS: &str = entries!(
    "WHERE j.waits_for_gpus AND j.group_id NOT IN ( \
         SELECT a.group_id FROM jobs a WHERE a.stage < 4 AND a.stage IN (2, 3)) \
     ORDER BY j.turn, j.id"
);
const STRANDED: &str = entries!(
    "WHERE j.id IN (SELECT id FROM jobs WHERE given_up UNION SELECT job FROM gpus) \
     AND j.stage >= 4 AND (j.host IS NULL OR j.host = $1) ORDER BY j.id"
);
