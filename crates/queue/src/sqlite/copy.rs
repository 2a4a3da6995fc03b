//! All of a store on SQLite, one after the other.

use std::path::Path;

use rusqlite::params;
use swifthook_core::{
    Change, Delivery, DeliveryId, Job, JobId, QueueError, RepoName, RunKey, RunLog, TimelineEntry,
};

use super::config::{OpenError, Options};
use super::lock::Lock;
use super::names::Names;
use super::rows::{self, LINES, RowError, deliveries, entries};
use super::transaction::Transaction;
use super::{logs, schema, start, tips};
use crate::codec::{self, Corrupt};
use crate::copy::{ChangeKey, Copied, CopyError, Copying, KeptChange};
use crate::tips::Tips;

/// Does something in a transaction that has the store to itself.
pub(crate) fn alone(
    file: &Path,
    what: &mut dyn FnMut(&mut dyn Copying) -> Result<Copied, CopyError>,
) -> Result<Copied, CopyError> {
    let _lock = Lock::take(file)?;
    let connection = schema::open(file, &Options::default())?;
    let refused = |source| OpenError::Sqlite { path: file.into(), source };
    let mut chains = start::chains(&connection).map_err(refused)?;
    let mut names = Names::default();
    connection.execute_batch("BEGIN IMMEDIATE").map_err(refused)?;
    let mut transaction = Transaction { connection: &connection, names: &mut names, chains: &mut chains };
    // Without a commit nothing of it is kept, however this ends.
    let done = what(&mut transaction)?;
    connection.execute_batch("COMMIT").map_err(refused)?;
    Ok(done)
}

impl Copying for Transaction<'_> {
    fn jobs_after(&mut self, after: Option<JobId>) -> Result<Vec<(Job, Vec<TimelineEntry>)>, QueueError> {
        Ok(jobs_after(self, after)?)
    }

    fn logs_after(&mut self, after: Option<RunKey>) -> Result<Vec<RunLog>, QueueError> {
        Ok(logs::after(self.connection, after)?)
    }

    fn keep_log(&mut self, log: &RunLog) -> Result<(), QueueError> {
        Ok(logs::keep(self.connection, log)?)
    }

    fn deliveries_after(&mut self, after: Option<DeliveryId>) -> Result<Vec<Delivery>, QueueError> {
        Ok(deliveries_after(self, after)?)
    }

    fn changes_after(&mut self, after: Option<ChangeKey>) -> Result<Vec<KeptChange>, QueueError> {
        Ok(changes_after(self, CHANGES, after)?)
    }

    fn decisions_after(&mut self, after: Option<ChangeKey>) -> Result<Vec<KeptChange>, QueueError> {
        Ok(changes_after(self, DECISIONS, after)?)
    }

    fn all_tips(&mut self) -> Result<Vec<(RepoName, Tips)>, QueueError> {
        Ok(tips::all(self.connection)?)
    }
}

fn jobs_after(
    transaction: &Transaction<'_>,
    after: Option<JobId>,
) -> Result<Vec<(Job, Vec<TimelineEntry>)>, RowError> {
    let after = after.map_or(-1, |id| codec::halves(id.0).0);
    let sql = entries!("WHERE j.id > ?1 ORDER BY j.id LIMIT 500");
    let mut statement = transaction.connection.prepare_cached(sql)?;
    let mut lines_of = transaction.connection.prepare_cached(LINES)?;
    let mut found = statement.query((after,))?;
    let mut jobs = Vec::new();
    while let Some(row) = found.next()? {
        let job = rows::entry(row)?.job;
        let mut lines = Vec::new();
        let mut found = lines_of.query((codec::halves(job.id.0).0,))?;
        while let Some(row) = found.next()? {
            lines.push(rows::line(row)?);
        }
        jobs.push((job, lines));
    }
    Ok(jobs)
}

fn deliveries_after(
    transaction: &Transaction<'_>,
    after: Option<DeliveryId>,
) -> Result<Vec<Delivery>, RowError> {
    let after = after.map_or(-1, |id| codec::halves(id.0).0);
    let sql = deliveries!("WHERE d.id > ?1 ORDER BY d.id LIMIT 200");
    let mut statement = transaction.connection.prepare_cached(sql)?;
    let mut found = statement.query((after,))?;
    let mut deliveries = Vec::new();
    while let Some(row) = found.next()? {
        deliveries.push(rows::delivery(row)?);
    }
    Ok(deliveries)
}

fn changes_after(
    transaction: &Transaction<'_>,
    sql: &str,
    after: Option<ChangeKey>,
) -> Result<Vec<KeptChange>, RowError> {
    let after = after.unwrap_or(ChangeKey { place: -1, ..ChangeKey::default() });
    let config = String::from_utf8_lossy(&after.config);
    let mut statement = transaction.connection.prepare_cached(sql)?;
    let mut found = statement.query(params![after.place, after.head, after.recipe, config, after.before])?;
    let mut changes = Vec::new();
    while let Some(row) = found.next()? {
        let latest = rows::latest(row)?;
        let (repository, ref_name) = rows::place(row, 14)?;
        let config: String = row.get(13)?;
        let recipe: Option<String> = row.get(15)?;
        changes.push(KeptChange {
            key: ChangeKey {
                place: row.get(10)?,
                head: rows::blob(row, 11)?.to_vec(),
                recipe: row.get(12)?,
                config: config.clone().into_bytes(),
                before: rows::blob(row, 16)?.to_vec(),
            },
            change: Change {
                repository,
                ref_name,
                head: codec::commit(rows::blob(row, 11)?)?,
                recipe: recipe.ok_or(Corrupt::new("name of a recipe"))?.into(),
                config: config.into(),
                run: latest.run,
            },
            latest,
        });
    }
    Ok(changes)
}

/// What is left behind the key is the same for both: the commit before, which decides only among decisions.
const CHANGES: &str = "SELECT c.job, c.rest, c.run, c.redeliveries, c.stage, c.source, h.name, c.guid, c.trained, \
    c.before, c.place, c.head, c.recipe, c.config, p.name, r.name, x'' FROM changes c \
    LEFT JOIN names h ON h.id = c.hook LEFT JOIN names p ON p.id = c.place LEFT JOIN names r ON r.id = c.recipe \
    WHERE (c.place, c.head, c.recipe, c.config) > (?1, ?2, ?3, ?4) AND ?5 = x'' \
    ORDER BY c.place, c.head, c.recipe, c.config LIMIT 1000";
const DECISIONS: &str = "SELECT c.job, c.rest, c.run, c.redeliveries, c.stage, c.source, h.name, c.guid, c.trained, \
    nullif(c.before, x''), c.place, c.head, c.recipe, c.config, p.name, r.name, c.before FROM decisions c \
    LEFT JOIN names h ON h.id = c.hook LEFT JOIN names p ON p.id = c.place LEFT JOIN names r ON r.id = c.recipe \
    WHERE (c.place, c.head, c.recipe, c.config, c.before) > (?1, ?2, ?3, ?4, ?5) \
    ORDER BY c.place, c.head, c.recipe, c.config, c.before LIMIT 1000";
