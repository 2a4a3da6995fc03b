use std::path::PathBuf;
use std::sync::Mutex;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use swifthook_core::{Delivery, DeliveryId, Job, JobFilter, JobId, QueueError, Stage, TimelineEntry};

use super::rows::{self, LINES, RowError, deliveries, entries, readable};
use super::{names, schema};
use crate::codec;
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

pub(super) fn jobs(connection: &Connection, filter: &JobFilter) -> Result<Vec<Job>, RowError> {
    let mut sql = entries!("WHERE 1").to_owned();
    let mut values: Vec<Value> = Vec::new();
    if let Some(before) = filter.before {
        sql.push_str(" AND j.id < ?");
        values.push(codec::halves(before.0).0.into());
    }
    if !filter.stages.is_empty() {
        let codes: Vec<_> = filter.stages.iter().map(|stage| codec::stage_code(*stage).to_string()).collect();
        sql.push_str(&format!(" AND j.stage IN ({})", codes.join(", ")));
        if filter.stages.iter().all(|stage| !stage.is_final()) {
            sql.push_str(" AND j.stage < 4");
        }
    }
    if let Some(recipe) = &filter.recipe {
        let Some(recipe) = names::find(connection, recipe)? else { return Ok(Vec::new()) };
        sql.push_str(" AND j.recipe = ?");
        values.push(recipe.into());
    }
    if let Some(repository) = &filter.repository {
        // The places of a repository are all that follows its name and a space.
        sql.push_str(" AND j.place IN (SELECT id FROM names WHERE name >= ? AND name < ?)");
        values.push(format!("{repository} ").into());
        values.push(format!("{repository}!").into());
    }
    sql.push_str(" ORDER BY j.id DESC LIMIT ?");
    let limit = if filter.limit == 0 { DEFAULT_LIMIT } else { filter.limit };
    values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params_from_iter(values))?;
    let mut jobs = Vec::new();
    while let Some(row) = found.next()? {
        jobs.extend(readable(rows::entry(row).map(|entry| entry.job))?);
    }
    Ok(jobs)
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

fn dressed(connection: &Connection, delivery: Delivery) -> Result<Delivery, RowError> {
    let mut jobs = Vec::new();
    for id in &delivery.jobs {
        jobs.extend(readable(job(connection, *id))?.flatten());
    }
    Ok(with_specs(delivery, &jobs))
}

/// How many jobs are listed unless it is said.
const DEFAULT_LIMIT: usize = 50;
/// How many connections are kept for the next readers.
const KEPT: usize = 4;
