use std::path::PathBuf;
use std::sync::Mutex;

use rusqlite::{Connection, params};
use swifthook_core::{
    CommitSha, Delivery, DeliveryId, Fingerprint, Identity, Job, JobId, MemoryEstimate, PastFailure,
    QueueError, RecipeVerdict, Stage, Stats, TimelineEntry, Timestamp, Workload,
};

use super::rows::{self, LINES, RowError, deliveries, entries, readable};
use super::{names, schema};
use crate::codec;
use crate::known;
use crate::rules::{with_beginning, with_specs};

/// Connections that read. Each reader has one to itself for as long as it reads.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::default() }
    }

    /// Reads in one transaction, on the thread of the caller.
    pub(super) fn read<T>(
        &self,
        what: impl FnOnce(&Connection) -> Result<T, RowError>,
    ) -> Result<T, QueueError> {
        let idle = self.idle.lock().expect("nothing panics under this lock").pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => schema::connect_reader(&self.path).map_err(RowError::from)?,
        };
        let answer = {
            let transaction = connection.transaction().map_err(RowError::from)?;
            what(&transaction)?
        };
        let mut idle = self.idle.lock().expect("nothing panics under this lock");
        if idle.len() < KEPT {
            idle.push(connection);
        }
        Ok(answer)
    }
}

pub(super) fn job(connection: &Connection, id: JobId) -> Result<Option<Job>, RowError> {
    let mut statement = connection.prepare_cached(entries!("WHERE j.id = ?1 AND j.rest = ?2"))?;
    let mut found = statement.query(codec::halves(id.0))?;
    found.next()?.map(|row| Ok(rows::entry(row)?.job)).transpose()
}

/// Those that the machine failed stand between the others, so a few more than are wanted are looked at.
pub(super) fn known_failures(connection: &Connection, of: Fingerprint) -> Result<Vec<PastFailure>, RowError> {
    let sql = entries!("WHERE j.fingerprint = ?1 AND j.stage IN (4, 5) ORDER BY j.id DESC LIMIT 32");
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query((of.0,))?;
    let mut jobs = Vec::new();
    while let Some(row) = found.next()? {
        jobs.extend(readable(rows::entry(row))?.map(|entry| entry.job));
    }
    Ok(PastFailure::among(&jobs))
}

pub(super) fn known_heads(connection: &Connection, of: &Job) -> Result<Vec<CommitSha>, RowError> {
    let Some(recipe) = names::find(connection, &of.change.recipe)? else { return Ok(Vec::new()) };
    // Places are named `acme/models refs/heads/main`, and `!` comes after the space.
    let (first, last) = (format!("{} ", of.change.repository), format!("{}!", of.change.repository));
    let sql = "SELECT c.head, j.stage, j.ran FROM names place JOIN changes c ON c.place = place.id \
               LEFT JOIN jobs j ON j.id = c.job \
               WHERE place.name > ?1 AND place.name < ?2 AND c.recipe = ?3 AND c.job < ?4 \
               ORDER BY c.job DESC LIMIT ?5";
    let mut statement = connection.prepare_cached(sql)?;
    let job = codec::halves(of.id.0).0;
    let mut found = statement.query(params![first, last, recipe, job, known::MOST_CHANGES])?;
    let mut commits = Vec::new();
    while let Some(row) = found.next()? {
        let stage = row.get::<_, Option<i64>>(1)?.map(codec::stage).transpose()?;
        let has_run = row.get::<_, Option<bool>>(2)?.unwrap_or(true);
        if !stage.is_some_and(|stage| known::came_to_nothing(stage, has_run)) {
            commits.push(codec::commit(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)?);
        }
    }
    let sql = "SELECT d.head, d.verdicts FROM deliveries d JOIN names place ON place.id = d.place \
               WHERE place.name > ?1 AND place.name < ?2 AND d.head IS NOT NULL ORDER BY d.id DESC LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query(params![first, last, known::MOST_DELIVERIES])?;
    while let Some(row) = found.next()? {
        let verdicts: Vec<RecipeVerdict> =
            codec::read("list of verdicts", row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)?;
        if known::has_looked(&of.change.recipe, &verdicts) {
            commits.push(codec::commit(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)?);
        }
    }
    Ok(known::once(commits))
}

pub(super) fn identities(connection: &Connection) -> Result<Vec<Identity>, RowError> {
    let mut statement =
        connection.prepare_cached("SELECT name FROM names WHERE name > ?1 AND name < ?2 ORDER BY id")?;
    // What comes after all that begin so: `!` follows the space.
    let last = format!("{}!", codec::IDENTITIES.trim_end());
    let mut found = statement.query((codec::IDENTITIES, last))?;
    let mut identities = Vec::new();
    while let Some(row) = found.next()? {
        identities.extend(codec::identity(&row.get::<_, String>(0)?));
    }
    Ok(identities)
}

/// Those that told nothing stand between the others, so more than are wanted are looked at.
pub(super) fn memory_estimate(
    connection: &Connection,
    of: &Workload,
) -> Result<Option<MemoryEstimate>, RowError> {
    let sql = entries!("WHERE j.workload = ?1 AND j.stage >= 4 ORDER BY j.id DESC LIMIT 32");
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query((of.alike.0,))?;
    let mut jobs = Vec::new();
    while let Some(row) = found.next()? {
        jobs.extend(readable(rows::entry(row))?.map(|entry| entry.job));
    }
    Ok(MemoryEstimate::among(of, &jobs))
}

pub(super) fn open_jobs(connection: &Connection) -> Result<Vec<(Stage, u64)>, RowError> {
    let open = Stage::ALL.into_iter().filter(|stage| !stage.is_final());
    let mut statement =
        connection.prepare_cached("SELECT count(*) FROM jobs WHERE stage = ?1 AND stage < 4")?;
    open.map(|stage| {
        let count: i64 = statement.query_row((codec::stage_code(stage),), |row| row.get(0))?;
        Ok((stage, count.unsigned_abs()))
    })
    .collect()
}

pub(super) fn timeline(connection: &Connection, id: JobId) -> Result<Vec<TimelineEntry>, RowError> {
    let Some(job) = job(connection, id)? else { return Ok(Vec::new()) };
    let mut statement = connection.prepare_cached(LINES)?;
    let mut found = statement.query((codec::halves(id.0).0,))?;
    let mut lines = Vec::new();
    while let Some(row) = found.next()? {
        lines.push(rows::line(row)?);
    }
    Ok(with_beginning(&job, lines))
}

pub(super) fn deliveries(
    connection: &Connection,
    before: Option<DeliveryId>,
    limit: usize,
) -> Result<Vec<Delivery>, RowError> {
    let before = before.map_or(i64::MAX, |id| codec::halves(id.0).0);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement =
        connection.prepare_cached(deliveries!("WHERE d.id < ?1 ORDER BY d.id DESC LIMIT ?2"))?;
    let mut found = statement.query((before, limit))?;
    let mut deliveries = Vec::new();
    while let Some(row) = found.next()? {
        deliveries.extend(readable(rows::delivery(row))?);
    }
    deliveries.into_iter().map(|delivery| dressed(connection, delivery)).collect()
}

pub(super) fn delivery(connection: &Connection, id: DeliveryId) -> Result<Option<Delivery>, RowError> {
    let mut statement = connection.prepare_cached(deliveries!("WHERE d.id = ?1 AND d.rest = ?2"))?;
    let mut found = statement.query(codec::halves(id.0))?;
    found.next()?.map(|row| dressed(connection, rows::delivery(row)?)).transpose()
}

/// Goes through them from the newest on: what a person looks for is most often young, and an index of GUIDs, which come in
/// no order, would cost every push.
pub(super) fn deliveries_of_guid(
    connection: &Connection,
    guid: &str,
    limit: usize,
) -> Result<Vec<Delivery>, RowError> {
    let sql = deliveries!("WHERE d.guid = ?1 COLLATE NOCASE ORDER BY d.id DESC LIMIT ?2");
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query((guid, i64::try_from(limit).unwrap_or(i64::MAX)))?;
    let mut deliveries = Vec::new();
    while let Some(row) = found.next()? {
        deliveries.extend(readable(rows::delivery(row))?);
    }
    deliveries.into_iter().map(|delivery| dressed(connection, delivery)).collect()
}

pub(super) fn stats(connection: &Connection) -> Result<Stats, RowError> {
    let count = |sql: &str| connection.query_row(sql, (), |row| row.get(0)).map(i64::unsigned_abs);
    let jobs = Stage::ALL.into_iter().map(|stage| {
        let which = if stage.is_final() { "stage >= 4" } else { "stage < 4" };
        let code = codec::stage_code(stage);
        Ok((stage, count(&format!("SELECT count(*) FROM jobs WHERE stage = {code} AND {which}"))?))
    });
    let ends = "SELECT (SELECT received_at FROM deliveries ORDER BY id LIMIT 1), \
                (SELECT received_at FROM deliveries ORDER BY id DESC LIMIT 1)";
    let (oldest, newest) = connection
        .query_row(ends, (), |row| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?)))?;
    let jobs = jobs.collect::<Result<_, RowError>>()?;
    Ok(Stats {
        jobs,
        deliveries: count("SELECT count(*) FROM deliveries")?,
        changes: count("SELECT count(*) FROM changes")?,
        oldest: oldest.map(Timestamp),
        newest: newest.map(Timestamp),
        bytes: Some(bytes(connection)),
        schema: Some(connection.pragma_query_value(None, "user_version", |row| row.get(0))?),
    })
}

/// The file and its log.
fn bytes(connection: &Connection) -> u64 {
    let size = |file: String| std::fs::metadata(file).map_or(0, |meta| meta.len());
    connection.path().map_or(0, |path| size(path.to_owned()) + size(format!("{path}-wal")))
}

fn dressed(connection: &Connection, delivery: Delivery) -> Result<Delivery, RowError> {
    let mut jobs = Vec::new();
    for id in &delivery.jobs {
        jobs.extend(readable(job(connection, *id))?.flatten());
    }
    Ok(with_specs(delivery, &jobs))
}

/// How many connections are kept for the next readers.
const KEPT: usize = 4;
