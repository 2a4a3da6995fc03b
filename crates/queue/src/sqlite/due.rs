//! What is next, and who is in the way.

use rusqlite::{Connection, Params, params};
use swifthook_core::Timestamp;

use super::rows::{self, RowError, entries, readable, rivals};
use crate::store::{Entry, HEAD_START, Rival, Seeker};

/// The oldest active job without a living lease that a worker on `host` can answer for.
pub(super) fn orphan(connection: &Connection, now: Timestamp, host: &str) -> Result<Option<Entry>, RowError> {
    first(connection, ORPHANS, params![now.0, host], |_| true)
}

/// The first queued job that a worker may have. Whether a group is busy is asked once, of the few
/// jobs that are active or claimed, and not again for each job that waits.
pub(super) fn queued(
    connection: &Connection,
    now: Timestamp,
    seeker: Seeker<'_>,
) -> Result<Option<Entry>, RowError> {
    // What waits for GPUs is looked at by those without as of a while ago.
    let of_others = if seeker.has_gpus { now } else { now.before(HEAD_START) };
    first(connection, QUEUED, params![now.0, of_others.0, seeker.host], |entry| {
        entry.job.spec.labels.iter().all(|label| seeker.labels.contains(label))
    })
}

/// The first job that waits for a diff.
pub(super) fn undiffed(connection: &Connection, now: Timestamp) -> Result<Option<Entry>, RowError> {
    first(connection, UNDIFFED, params![now.0], |_| true)
}

/// Jobs whose lease has run out and that nobody has said so of yet.
pub(super) fn overdue(connection: &Connection, now: Timestamp) -> Result<Vec<Entry>, RowError> {
    let ids = "SELECT job FROM leases WHERE until <= ?1 AND overdue = 0 ORDER BY job";
    let mut statement = connection.prepare_cached(ids)?;
    let ids: Vec<i64> = statement.query_map((now.0,), |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut overdue = Vec::new();
    for id in ids {
        overdue.extend(first(connection, entries!("WHERE j.id = ?1"), (id,), |_| true)?);
    }
    Ok(overdue)
}

/// The others of a group. Older ones are all there, since they may have to give way; of newer ones a few are
/// enough, since one that counts is, and of those whose order only the chain can tell, the last ones.
pub(super) fn rivals(
    connection: &Connection,
    group: i64,
    pushed_at: Option<i64>,
    is_chained: bool,
) -> Result<Vec<Rival>, RowError> {
    let mut found = Vec::new();
    let mut add = |sql| -> Result<(), RowError> {
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![group, pushed_at])?;
        while let Some(row) = rows.next()? {
            found.extend(readable(rows::rival(row))?);
        }
        Ok(())
    };
    add(OLDER)?;
    add(NEWER)?;
    add(NEWER_THAT_RAN)?;
    if is_chained {
        add(CHAINED)?;
        add(CHAINED_THAT_RAN)?;
    }
    Ok(found)
}

/// The first row that can be read and is wanted.
fn first(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    is_wanted: impl Fn(&Entry) -> bool,
) -> Result<Option<Entry>, RowError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    while let Some(row) = rows.next()? {
        if let Some(entry) = readable(rows::entry(row))?.filter(&is_wanted) {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

const ORPHANS: &str = entries!(
    "WHERE j.stage < 4 AND j.stage IN (2, 3) AND (l.until IS NULL OR l.until <= ?1) \
     AND (j.host IS NULL OR j.host = ?2) ORDER BY j.id"
);
const QUEUED: &str = entries!(
    "WHERE j.stage < 4 AND j.stage = 0 AND (j.not_before IS NULL OR j.not_before <= ?1) \
     AND (j.waits_for_gpus = 0 OR j.not_before <= ?2) AND (j.host IS NULL OR j.host = ?3) \
     AND (l.until IS NULL OR l.until <= ?1) AND j.group_id NOT IN ( \
         SELECT a.group_id FROM jobs a WHERE a.stage < 4 AND a.stage IN (2, 3) UNION ALL \
         SELECT c.group_id FROM leases k CROSS JOIN jobs c ON c.id = k.job \
         WHERE k.until > ?1 AND c.stage = 0) \
     ORDER BY j.turn, j.id"
);
const UNDIFFED: &str = entries!(
    "WHERE j.stage < 4 AND j.stage = 1 AND j.needs_diff = 1 \
     AND (j.not_before IS NULL OR j.not_before <= ?1) AND (l.until IS NULL OR l.until <= ?1) \
     ORDER BY j.turn, j.id"
);
const OLDER: &str = rivals!("WHERE group_id = ?1 AND stage < 4 AND pushed_at < ?2");
const NEWER: &str = rivals!("WHERE group_id = ?1 AND stage < 4 AND pushed_at > ?2 LIMIT 64");
const NEWER_THAT_RAN: &str = rivals!("WHERE group_id = ?1 AND ran = 1 AND pushed_at > ?2 LIMIT 64");
const CHAINED: &str = rivals!(
    "WHERE group_id = ?1 AND stage < 4 AND (?2 IS NULL OR pushed_at IS NULL OR pushed_at = ?2) \
    ORDER BY jobs.pushed_at DESC, jobs.id DESC LIMIT 64"
);
const CHAINED_THAT_RAN: &str = rivals!(
    "WHERE group_id = ?1 AND ran = 1 AND (?2 IS NULL OR pushed_at IS NULL OR pushed_at <= ?2) \
    ORDER BY jobs.pushed_at DESC, jobs.id DESC LIMIT 64"
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::{Options, schema};

    #[test]
    fn what_has_ended_is_never_looked_at_to_find_what_is_next() {
        let directory = tempfile::tempdir().unwrap();
        let store = schema::open(&directory.path().join("swifthook.db"), &Options::default()).unwrap();
        for (sql, index) in [
            (ORPHANS, "jobs_open"),
            (QUEUED, "jobs_open"),
            (UNDIFFED, "jobs_open"),
            (OLDER, "jobs_rivals"),
            (NEWER, "jobs_rivals"),
            (NEWER_THAT_RAN, "jobs_ran"),
            (CHAINED, "jobs_rivals"),
            (CHAINED_THAT_RAN, "jobs_ran"),
        ] {
            let mut plan = store.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let nothing: Vec<Option<i64>> = vec![None; plan.parameter_count()];
            let steps: Vec<String> = plan
                .query_map(rusqlite::params_from_iter(nothing), |row| row.get(3))
                .unwrap()
                .collect::<Result<_, _>>()
                .unwrap();
            assert!(steps[0].contains(&format!("USING INDEX {index} ")), "{sql}: {steps:#?}");
            assert!(!steps.iter().any(|step| step.starts_with("SCAN j")), "{sql}: {steps:#?}");
        }
    }
}
