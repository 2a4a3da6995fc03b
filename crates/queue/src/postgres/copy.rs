//! All of a store on PostgreSQL, one after the other.

use std::collections::HashMap;
use std::sync::Mutex;

use swifthook_core::{
    Change, Delivery, DeliveryId, Job, JobId, QueueError, RepoName, RunKey, RunLog, TimelineEntry,
};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::config::OpenError;
use super::pool::Pool;
use super::rows::{self, RowError, deliveries, entries};
use super::target::Target;
use super::transaction::{Transaction, uuid};
use super::{logs, schema, tips};
use crate::chain::Chains;
use crate::codec;
use crate::copy::{ChangeKey, Copied, CopyError, Copying, KeptChange};
use crate::tips::Tips;

/// Does something in a transaction that has the store to itself.
pub(crate) fn alone(
    url: &str,
    runtime: &Handle,
    what: &mut dyn FnMut(&mut dyn Copying) -> Result<Copied, CopyError>,
) -> Result<Copied, CopyError> {
    let target = Target::parse(url).map_err(OpenError::from)?;
    let mut session = runtime.block_on(async {
        schema::migrate(&mut target.connect().await?).await?;
        Ok::<_, OpenError>(Pool::new(target, 1).open().await?)
    })?;
    let names = Mutex::new(HashMap::new());
    let mut transaction = Transaction {
        session: &mut session,
        runtime,
        names: &names,
        met: HashMap::new(),
        chains: Chains::default(),
        has_passed_by: false,
        later: Vec::new(),
    };
    let run = |transaction: &Transaction<'_>, sql| {
        runtime
            .block_on(transaction.session.run(sql))
            .map_err(|error| QueueError::from(RowError::from(error)))
    };
    let is_alone = transaction.query(TAKE, &[]).map(|rows| rows.iter().any(|row| row.get(0)));
    if !is_alone.map_err(QueueError::from)? {
        return Err(CopyError::InUse);
    }
    run(&transaction, "BEGIN ISOLATION LEVEL REPEATABLE READ")?;
    run(&transaction, LOCK)?;
    // Without a commit nothing of it is kept, however this ends: the connection ends with it.
    let done = what(&mut transaction)?;
    transaction.flush().map_err(QueueError::from)?;
    run(&transaction, "COMMIT")?;
    Ok(done)
}

impl Copying for Transaction<'_> {
    fn jobs_after(&mut self, after: Option<JobId>) -> Result<Vec<(Job, Vec<TimelineEntry>)>, QueueError> {
        Ok(jobs_after(self, after)?)
    }

    fn logs_after(&mut self, after: Option<RunKey>) -> Result<Vec<RunLog>, QueueError> {
        Ok(logs::after(self, after)?)
    }

    fn keep_log(&mut self, log: &RunLog) -> Result<(), QueueError> {
        Ok(logs::keep(self, log)?)
    }

    fn deliveries_after(&mut self, after: Option<DeliveryId>) -> Result<Vec<Delivery>, QueueError> {
        let sql = deliveries!("WHERE d.id > $1 ORDER BY d.id LIMIT 200");
        let after = after.map_or(Uuid::nil(), |id| Uuid::from_bytes(id.0));
        let found = self.query(sql, &[&after])?;
        Ok(found.iter().map(rows::delivery).collect::<Result<_, RowError>>()?)
    }

    fn changes_after(&mut self, after: Option<ChangeKey>) -> Result<Vec<KeptChange>, QueueError> {
        Ok(changes_after(self, CHANGES, after)?)
    }

    fn decisions_after(&mut self, after: Option<ChangeKey>) -> Result<Vec<KeptChange>, QueueError> {
        Ok(changes_after(self, DECISIONS, after)?)
    }

    fn all_tips(&mut self) -> Result<Vec<(RepoName, Tips)>, QueueError> {
        Ok(tips::all(self)?)
    }
}

fn jobs_after(
    transaction: &mut Transaction<'_>,
    after: Option<JobId>,
) -> Result<Vec<(Job, Vec<TimelineEntry>)>, RowError> {
    let after = after.map_or(Uuid::nil(), uuid);
    let found = transaction.query(entries!("WHERE j.id > $1 ORDER BY j.id LIMIT 500"), &[&after])?;
    let jobs = found.iter().map(|row| Ok(rows::entry(row)?.job)).collect::<Result<Vec<_>, RowError>>()?;
    let ids: Vec<_> = jobs.iter().map(|job| uuid(job.id)).collect();
    let sql = "SELECT at, who, what, stage, why, job FROM timeline WHERE job = ANY($1) ORDER BY job, line";
    let mut lines: HashMap<JobId, Vec<TimelineEntry>> = HashMap::new();
    for row in transaction.query(sql, &[&ids])? {
        lines.entry(rows::id(&row, 5)?).or_default().push(rows::line(&row)?);
    }
    Ok(jobs
        .into_iter()
        .map(|job| {
            let lines = lines.remove(&job.id).unwrap_or_default();
            (job, lines)
        })
        .collect())
}

fn changes_after(
    transaction: &mut Transaction<'_>,
    sql: &'static str,
    after: Option<ChangeKey>,
) -> Result<Vec<KeptChange>, RowError> {
    let after = after.unwrap_or(ChangeKey { place: -1, ..ChangeKey::default() });
    let mut changes = Vec::new();
    for row in
        transaction.query(sql, &[&after.place, &after.head, &after.recipe, &after.config, &after.before])?
    {
        let latest = rows::latest(&row)?;
        let (repository, ref_name) = rows::place(&row, 13)?;
        let head: Vec<u8> = row.try_get(10)?;
        let recipe: Option<&str> = row.try_get(14)?;
        changes.push(KeptChange {
            change: Change {
                repository,
                ref_name,
                head: codec::commit(&head)?,
                recipe: recipe.ok_or(codec::Corrupt::new("name of a recipe"))?.into(),
                config: row.try_get::<_, &str>(15)?.into(),
                run: latest.run,
            },
            key: ChangeKey {
                place: row.try_get(9)?,
                head,
                recipe: row.try_get(11)?,
                config: row.try_get(12)?,
                before: row.try_get(16)?,
            },
            latest,
        });
    }
    Ok(changes)
}

/// Whoever works on a store has this lock together with others, for as long as it listens.
pub(super) const SHARE: &str =
    "SELECT pg_advisory_lock_shared(hashtextextended(current_schema() || ' in use', 0))";
const TAKE: &str = "SELECT pg_try_advisory_lock(hashtextextended(current_schema() || ' in use', 0))";
/// Whoever comes meanwhile can read, and waits with writing.
const LOCK: &str =
    "LOCK TABLE names, jobs, changes, decisions, leases, timeline, logs, deliveries, tips IN EXCLUSIVE MODE";
/// What is left behind the key is the same for both: the commit before, which decides only among decisions.
const CHANGES: &str = "SELECT c.job, c.run, c.redeliveries, c.stage, c.source, h.name, c.guid, c.trained, c.before, \
    c.place, c.head, c.recipe, c.config, p.name, r.name, coalesce(c.path, j.config, ''), ''::bytea FROM changes c \
    LEFT JOIN names h ON h.id = c.hook LEFT JOIN names p ON p.id = c.place \
    LEFT JOIN names r ON r.id = c.recipe LEFT JOIN jobs j ON j.id = c.job \
    WHERE (c.place, c.head, c.recipe, c.config) > ($1, $2, $3, $4) AND $5 = ''::bytea \
    ORDER BY c.place, c.head, c.recipe, c.config LIMIT 1000";
const DECISIONS: &str = "SELECT c.job, c.run, c.redeliveries, c.stage, c.source, h.name, c.guid, c.trained, \
    nullif(c.before, ''), c.place, c.head, c.recipe, c.config, p.name, r.name, c.path, c.before FROM decisions c \
    LEFT JOIN names h ON h.id = c.hook LEFT JOIN names p ON p.id = c.place LEFT JOIN names r ON r.id = c.recipe \
    WHERE (c.place, c.head, c.recipe, c.config, c.before) > ($1, $2, $3, $4, $5) \
    ORDER BY c.place, c.head, c.recipe, c.config, c.before LIMIT 1000";
