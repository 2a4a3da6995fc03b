//! What is next, and who is in the way.

use swifthook_core::Timestamp;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::rows::{self, RowError, readable, rivals};
use super::transaction::{Transaction, plain};
use crate::store::{Entry, HEAD_START, Rival, Seeker};

/// The oldest active job without a living lease that a worker on `host` can answer for.
pub(super) fn orphan(
    transaction: &mut Transaction<'_>,
    now: Timestamp,
    host: &str,
) -> Result<Option<Entry>, RowError> {
    first(transaction, &ORPHANS, now, &[&plain(host)])
}

/// The first queued job that a worker may have.
pub(super) fn queued(
    transaction: &mut Transaction<'_>,
    now: Timestamp,
    seeker: Seeker<'_>,
) -> Result<Option<Entry>, RowError> {
    let labels: Vec<String> = seeker.labels.iter().map(|label| plain(label)).collect();
    let candidates = if seeker.has_gpus { &QUEUED } else { &QUEUED_FOR_THOSE_WITHOUT };
    first(transaction, candidates, now, &[&labels, &plain(seeker.host)])
}

/// The first job that waits for a diff.
pub(super) fn undiffed(transaction: &mut Transaction<'_>, now: Timestamp) -> Result<Option<Entry>, RowError> {
    first(transaction, &UNDIFFED, now, &[&true])
}

/// Jobs whose lease has run out and that nobody has said so of yet. Those that somebody works on are left for the next
/// time.
pub(super) fn overdue(transaction: &mut Transaction<'_>, now: Timestamp) -> Result<Vec<Entry>, RowError> {
    let mut overdue = Vec::new();
    for row in transaction.query(OVERDUE, &[&now.0])? {
        let entry = transaction.find_entry(rows::id(&row, 0)?);
        let is_overdue =
            |entry: &Entry| entry.owner.as_ref().is_some_and(|owner| owner.is_lost(now) && !owner.is_overdue);
        overdue.extend(readable(entry)?.flatten().filter(is_overdue));
    }
    Ok(overdue)
}

/// The others of a group. Older ones are all there, since they may have to give way; of newer ones a few are enough,
/// since one that counts is, and of those whose order only the chain can tell, the last ones.
pub(super) fn rivals(
    transaction: &mut Transaction<'_>,
    group: i64,
    pushed_at: Option<i64>,
    is_chained: bool,
) -> Result<Vec<Rival>, RowError> {
    let with: &[&(dyn ToSql + Sync)] = &[&group, &pushed_at];
    let chained: &[&str] = if is_chained { &[CHAINED, CHAINED_THAT_RAN] } else { &[] };
    let asked: Vec<_> =
        [OLDER, NEWER, NEWER_THAT_RAN].iter().chain(chained).map(|sql| (*sql, with)).collect();
    let mut found = Vec::new();
    for row in transaction.pipeline(&asked)?.iter().flatten() {
        found.extend(readable(rows::rival(row))?);
    }
    Ok(found)
}

/// A statement that finds the first candidate: one that keeps others from it and passes by those that another
/// transaction has, and one that only looks.
struct Candidates {
    take: &'static str,
    look: &'static str,
}

/// Takes the first candidate that can be had. Its row and its group are kept from others first, and what is then found
/// still to be true counts.
fn first(
    transaction: &mut Transaction<'_>,
    candidates: &Candidates,
    now: Timestamp,
    extra: &[&(dyn ToSql + Sync)],
) -> Result<Option<Entry>, RowError> {
    let mut passed_by: Vec<Uuid> = Vec::new();
    let any = None::<Uuid>;
    loop {
        let taken = transaction.query(candidates.take, &with(&[&now.0, &passed_by, &any], extra))?;
        let Some(row) = taken.first() else {
            let left = transaction.query(candidates.look, &with(&[&now.0, &passed_by, &any], extra))?;
            transaction.has_passed_by |= !left.is_empty();
            return Ok(None);
        };
        let (id, group): (Uuid, i64) = (row.try_get(0)?, row.try_get(1)?);
        passed_by.push(id);
        let is_mine = transaction.query(TRY_GROUP, &[&group])?.iter().any(|row| row.get(0));
        if !is_mine
            || transaction.query(candidates.look, &with(&[&now.0, &NOBODY, &Some(id)], extra))?.is_empty()
        {
            transaction.has_passed_by = true;
            continue;
        }
        let entry = transaction.find_entry(rows::id(row, 0)?);
        if let Some(entry) = readable(entry)?.flatten() {
            return Ok(Some(entry));
        }
    }
}

/// What a statement is given: what all of them take, and then what its conditions ask for.
fn with<'p>(all: &[&'p (dyn ToSql + Sync)], extra: &[&'p (dyn ToSql + Sync)]) -> Vec<&'p (dyn ToSql + Sync)> {
    all.iter().chain(extra).copied().collect()
}

/// Both statements for a condition, which has its own parameters from `$4` on.
macro_rules! candidates {
    ($conditions:expr, $order:literal) => {
        Candidates {
            take: concat!(
                "SELECT j.id, j.group_id FROM jobs j WHERE ",
                $conditions,
                " AND j.id <> ALL($2) AND ($3::uuid IS NULL OR j.id = $3) ORDER BY ",
                $order,
                " LIMIT 1 FOR UPDATE OF j SKIP LOCKED"
            ),
            look: concat!(
                "SELECT j.id, j.group_id FROM jobs j WHERE ",
                $conditions,
                " AND j.id <> ALL($2) AND ($3::uuid IS NULL OR j.id = $3) ORDER BY ",
                $order,
                " LIMIT 1"
            ),
        }
    };
}

/// Both statements for what is queued.
macro_rules! queued {
    ($also:literal) => {
        candidates!(
            concat!(
                "j.stage < 4 AND j.stage = 0 AND (j.not_before IS NULL OR j.not_before <= $1) \
                 AND NOT EXISTS (SELECT FROM leases l WHERE l.job = j.id AND l.until > $1) \
                 AND (cardinality(j.labels) = 0 OR j.labels <@ $4) AND (j.host IS NULL OR j.host = $5) AND j.group_id NOT IN ( \
                     SELECT a.group_id FROM jobs a WHERE a.stage < 4 AND a.stage IN (2, 3) UNION ALL \
                     SELECT c.group_id FROM leases k JOIN jobs c ON c.id = k.job \
                     WHERE k.until > $1 AND c.stage = 0)",
                $also
            ),
            "j.turn, j.id"
        )
    };
}

/// Conditions are said so that the planner expects many rows to meet them: then it walks the index in order and stops at
/// the first, and does not sort all that wait.
const ORPHANS: Candidates = candidates!(
    "j.stage < 4 AND j.stage IN (2, 3) AND NOT EXISTS (SELECT FROM leases l WHERE l.job = j.id AND l.until > $1) \
     AND (j.host IS NULL OR j.host = $4)",
    "j.id"
);
const QUEUED: Candidates = queued!("");
/// What waits for GPUs is looked at by those without as of a while ago.
const QUEUED_FOR_THOSE_WITHOUT: Candidates =
    queued!(" AND (NOT j.waits_for_gpus OR j.not_before <= $1 - 30000)");
const _: () = assert!(HEAD_START.as_millis() == 30_000);
const UNDIFFED: Candidates = candidates!(
    "j.stage < 4 AND j.stage = 1 AND j.needs_diff = $4 AND (j.not_before IS NULL OR j.not_before <= $1) \
     AND NOT EXISTS (SELECT FROM leases l WHERE l.job = j.id AND l.until > $1)",
    "j.turn, j.id"
);
const OVERDUE: &str = "SELECT j.id FROM leases l JOIN jobs j ON j.id = l.job \
    WHERE l.until <= $1 AND NOT l.overdue ORDER BY j.id FOR UPDATE OF j SKIP LOCKED";
const TRY_GROUP: &str = "SELECT pg_try_advisory_xact_lock( \
    hashtextextended(current_schema() || ' group ' || name, 0)) FROM names WHERE id = $1";
const OLDER: &str = rivals!("WHERE group_id = $1 AND stage < 4 AND pushed_at < $2");
const NEWER: &str = rivals!("WHERE group_id = $1 AND stage < 4 AND pushed_at > $2 LIMIT 64");
const NEWER_THAT_RAN: &str = rivals!("WHERE group_id = $1 AND ran AND pushed_at > $2 LIMIT 64");
const CHAINED: &str = rivals!(
    "WHERE group_id = $1 AND stage < 4 AND ($2::bigint IS NULL OR pushed_at IS NULL OR pushed_at = $2) \
     ORDER BY jobs.pushed_at DESC NULLS LAST, jobs.id DESC LIMIT 64"
);
const CHAINED_THAT_RAN: &str = rivals!(
    "WHERE group_id = $1 AND ran AND ($2::bigint IS NULL OR pushed_at IS NULL OR pushed_at <= $2) \
     ORDER BY jobs.pushed_at DESC NULLS LAST, jobs.id DESC LIMIT 64"
);
const NOBODY: Vec<Uuid> = Vec::new();
