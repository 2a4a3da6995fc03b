//! Who is there, as workers tell of themselves.

use std::sync::Arc;

use swifthook_core::{Duty, Heartbeat, KnownWorker, Timestamp};
use tokio_postgres::Row;

use super::pool::Session;
use super::rows::RowError;
use super::transaction::{Transaction, plain};
use crate::workers::FORGOTTEN_AFTER;

/// Keeps what a worker tells, and forgets those that nothing was heard of for long.
pub(super) fn heard(
    transaction: &mut Transaction<'_>,
    beat: &Heartbeat,
    now: Timestamp,
) -> Result<(), RowError> {
    let name = plain(&beat.name);
    if beat.duty == Duty::Ends {
        transaction.query("DELETE FROM workers WHERE name = $1", &[&name])?;
        return Ok(());
    }
    let all = |words: &[Arc<str>]| words.iter().map(|word| plain(word)).collect::<Vec<String>>();
    let (labels, gpus) = (all(&beat.labels), all(&beat.gpus));
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let sql = "INSERT INTO workers VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8, $10) ON CONFLICT (name) DO UPDATE SET \
               host = excluded.host, labels = excluded.labels, slots = excluded.slots, busy = excluded.busy, \
               version = excluded.version, seen_at = excluded.seen_at, draining = excluded.draining, gpus = excluded.gpus, \
               started_at = CASE WHEN $9 THEN excluded.started_at ELSE workers.started_at END";
    transaction.query(
        sql,
        &[
            &name,
            &plain(&beat.host),
            &labels,
            &count(beat.slots),
            &count(beat.busy),
            &plain(&beat.version),
            &now.0,
            &(beat.duty == Duty::Drains),
            &(beat.duty == Duty::Begins),
            &gpus,
        ],
    )?;
    let aged = i64::try_from(FORGOTTEN_AFTER.as_millis()).unwrap_or(i64::MAX);
    transaction.query("DELETE FROM workers WHERE seen_at <= $1::bigint - $2::bigint", &[&now.0, &aged])?;
    Ok(())
}

pub(super) async fn all(session: &mut Session, now: Option<Timestamp>) -> Result<Vec<KnownWorker>, RowError> {
    let aged = i64::try_from(FORGOTTEN_AFTER.as_millis()).unwrap_or(i64::MAX);
    let sql = "SELECT name, host, labels, slots, busy, version, started_at, seen_at, draining, gpus FROM workers \
               WHERE seen_at > coalesce($1::bigint, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) - $2::bigint \
               ORDER BY name";
    let found = session.query(sql, &[&now.map(|now| now.0), &aged]).await?;
    found.iter().map(worker).collect()
}

fn worker(row: &Row) -> Result<KnownWorker, RowError> {
    let count = |index| Ok::<_, RowError>(usize::try_from(row.try_get::<_, i64>(index)?).unwrap_or_default());
    let all = |words: Vec<&str>| words.into_iter().map(Into::into).collect();
    Ok(KnownWorker {
        name: row.try_get::<_, &str>(0)?.into(),
        host: row.try_get::<_, &str>(1)?.into(),
        labels: all(row.try_get(2)?),
        slots: count(3)?,
        busy: count(4)?,
        version: row.try_get::<_, &str>(5)?.into(),
        gpus: all(row.try_get(9)?),
        started_at: Timestamp(row.try_get(6)?),
        seen_at: Timestamp(row.try_get(7)?),
        is_draining: row.try_get(8)?,
    })
}
