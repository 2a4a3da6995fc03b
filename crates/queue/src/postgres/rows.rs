use std::sync::Arc;
use std::time::Duration;

use swifthook_core::{Change, Delivery, DeliveryId, Job, JobId, QueueError, TimelineEntry, Timestamp};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::chain::Place;
use crate::codec::{self, Corrupt, FORMAT, SpecColumns};
use crate::store::{Entry, Latest, Owner, Removed, Rival};

/// A row could not be had, or not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowError {
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    #[error("the database did not answer a moment ago, and will be asked again in a moment")]
    Away,
}

impl From<RowError> for QueueError {
    fn from(error: RowError) -> Self {
        let is_permanent = matches!(error, RowError::Corrupt(_));
        Self::Store { source: error.into(), is_permanent }
    }
}

/// Selects everything of a job, and whose it is, by conditions on `j` and `l`.
macro_rules! entries {
    ($($conditions:literal),+) => {
        concat!(
            "SELECT j.id, j.format, place.name, recipe.name, groups.name, hook.name, j.config, j.run, j.head, \
             j.before, j.pushed_at, j.created_at, j.source, j.guid, j.sender, j.labels, j.priority, j.rerun_of, \
             j.superseded_by, j.spec, j.state, j.progress, l.worker, l.until, l.lasts, l.overdue \
             FROM jobs j LEFT JOIN names place ON place.id = j.place LEFT JOIN names recipe ON recipe.id = j.recipe \
             LEFT JOIN names groups ON groups.id = j.group_id LEFT JOIN names hook ON hook.id = j.hook \
             LEFT JOIN leases l ON l.job = j.id",
            " ",
            $($conditions),+
        )
    };
}
pub(super) use entries;

pub(super) fn entry(row: &Row) -> Result<Entry, RowError> {
    check_format(row.try_get(1)?)?;
    let (repository, ref_name) = place(row, 2)?;
    let recipe: Arc<str> = row.try_get::<_, &str>(3)?.into();
    let config = text(row, 6)?;
    let labels: Vec<&str> = row.try_get(15)?;
    let columns = SpecColumns {
        recipe: recipe.clone(),
        config: config.clone(),
        group: row.try_get::<_, &str>(4)?.into(),
        priority: row.try_get(16)?,
        labels: labels.into_iter().map(Into::into).collect(),
    };
    let progress: Option<&[u8]> = row.try_get(21)?;
    let job = Job {
        id: id(row, 0)?,
        change: Change {
            repository,
            ref_name,
            head: codec::commit(row.try_get(8)?)?,
            recipe,
            config: config.unwrap_or_default(),
            run: number(row, 7)?,
        },
        before: commit(row, 9)?,
        sender: text(row, 14)?,
        pushed_at: timestamp(row, 10)?,
        source: codec::source(row.try_get(12)?, text(row, 5)?, text(row, 13)?)?,
        spec: codec::spec(columns, row.try_get(19)?)?,
        state: codec::state(row.try_get(20)?)?,
        created_at: Timestamp(row.try_get(11)?),
        rerun_of: optional_id(row, 17)?,
        superseded_by: optional_id(row, 18)?,
        progress: progress.map(|blob| codec::read("progress", blob)).transpose()?,
    };
    Ok(Entry { job, owner: owner(row)? })
}

fn owner(row: &Row) -> Result<Option<Owner>, RowError> {
    let Some(worker) = text(row, 22)? else { return Ok(None) };
    Ok(Some(Owner {
        worker,
        until: Timestamp(row.try_get(23)?),
        lasts: Duration::from_millis(row.try_get::<_, i64>(24)?.try_into().unwrap_or(0)),
        is_overdue: row.try_get(25)?,
    }))
}

/// Selects what decides between jobs of a group.
macro_rules! rivals {
    ($conditions:literal) => {
        concat!(
            "SELECT jobs.id, names.name, jobs.before, jobs.head, jobs.pushed_at, jobs.stage, jobs.debounce_since \
             FROM jobs LEFT JOIN names ON names.id = jobs.place",
            " ",
            $conditions
        )
    };
}
pub(super) use rivals;

pub(super) fn rival(row: &Row) -> Result<Rival, RowError> {
    Ok(Rival {
        id: id(row, 0)?,
        place: place(row, 1)?,
        before: commit(row, 2)?,
        head: codec::commit(row.try_get(3)?)?,
        pushed_at: timestamp(row, 4)?,
        stage: codec::stage(row.try_get(5)?)?,
        debounce_since: timestamp(row, 6)?,
    })
}

/// Selects everything of a delivery, by conditions on `d`.
macro_rules! deliveries {
    ($conditions:literal) => {
        concat!(
            "SELECT d.id, d.format, d.received_at, place.name, d.before, d.head, d.source, hook.name, d.guid, \
             d.sender, config.name, d.jobs, d.verdicts, d.path_count, d.paths, d.pushed_at, d.facts, \
             d.known \
             FROM deliveries d LEFT JOIN names place ON place.id = d.place LEFT JOIN names hook ON hook.id = d.hook \
             LEFT JOIN names config ON config.id = d.config",
            " ",
            $conditions
        )
    };
}
pub(super) use deliveries;

pub(super) fn delivery(row: &Row) -> Result<Delivery, RowError> {
    check_format(row.try_get(1)?)?;
    let (repository, ref_name) = place(row, 3)?;
    let (pushed_at, facts): (_, Option<i64>) = (timestamp(row, 15)?, row.try_get(16)?);
    let id = DeliveryId(id(row, 0)?.0);
    let jobs = codec::ids(row.try_get::<_, Option<&[u8]>>(11)?.unwrap_or_default())?;
    Ok(Delivery {
        id,
        received_at: Timestamp(row.try_get(2)?),
        source: codec::source(row.try_get(6)?, text(row, 7)?, text(row, 8)?)?,
        repository,
        ref_name,
        before: commit(row, 4)?,
        head: commit(row, 5)?,
        sender: text(row, 9)?,
        facts: facts.map(|code| codec::facts(code, pushed_at)).transpose()?,
        verdicts: codec::read("list of verdicts", row.try_get(12)?)?,
        paths: codec::paths(row.try_get::<_, Option<&[u8]>>(14)?.unwrap_or_default())?,
        path_count: row.try_get::<_, i64>(13)?.try_into().unwrap_or(0),
        config: codec::config(row.try_get(10)?).ok_or(Corrupt::new("digest"))?,
        known: codec::known_jobs(row.try_get(17)?, id, &jobs)?,
        jobs,
    })
}

/// The last training of a change.
pub(super) fn latest(row: &Row) -> Result<Latest, RowError> {
    let removed = match row.try_get::<_, Option<i64>>(3)? {
        Some(stage) => Some(Removed {
            stage: codec::stage(stage)?,
            source: codec::source(row.try_get(4)?, text(row, 5)?, text(row, 6)?)?,
            before: commit(row, 8)?,
        }),
        None => None,
    };
    Ok(Latest {
        job: id(row, 0)?,
        run: number(row, 1)?,
        redeliveries: number(row, 2)?,
        has_trained: row.try_get(7)?,
        removed,
    })
}

pub(super) fn line(row: &Row) -> Result<TimelineEntry, RowError> {
    Ok(TimelineEntry {
        at: Timestamp(row.try_get(0)?),
        who: row.try_get::<_, &str>(1)?.into(),
        what: row.try_get::<_, &str>(2)?.into(),
        stage: codec::stage(row.try_get(3)?)?,
        why: row.try_get(4)?,
    })
}

/// Passes by what cannot be read, and says so: one damaged row must not keep everybody from the others.
pub(super) fn readable<T>(row: Result<T, RowError>) -> Result<Option<T>, RowError> {
    match row {
        Ok(value) => Ok(Some(value)),
        Err(RowError::Corrupt(error)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "passed by a row that cannot be read");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

pub(super) fn place(row: &Row, column: usize) -> Result<Place, RowError> {
    let name: Option<&str> = row.try_get(column)?;
    Ok(name.and_then(codec::place).ok_or(Corrupt::new("ref"))?)
}

pub(super) fn commit(row: &Row, column: usize) -> Result<Option<swifthook_core::CommitSha>, RowError> {
    Ok(row.try_get::<_, Option<&[u8]>>(column)?.map(codec::commit).transpose()?)
}

pub(super) fn id(row: &Row, column: usize) -> Result<JobId, RowError> {
    Ok(JobId(row.try_get::<_, Uuid>(column)?.into_bytes()))
}

fn optional_id(row: &Row, column: usize) -> Result<Option<JobId>, RowError> {
    Ok(row.try_get::<_, Option<Uuid>>(column)?.map(|id| JobId(id.into_bytes())))
}

pub(super) fn number(row: &Row, column: usize) -> Result<u32, RowError> {
    Ok(row.try_get::<_, i64>(column)?.try_into().map_err(|_| Corrupt::new("number"))?)
}

fn timestamp(row: &Row, column: usize) -> Result<Option<Timestamp>, RowError> {
    Ok(row.try_get::<_, Option<i64>>(column)?.map(Timestamp))
}

fn text(row: &Row, column: usize) -> Result<Option<Arc<str>>, RowError> {
    Ok(row.try_get::<_, Option<&str>>(column)?.map(Into::into))
}

fn check_format(format: i64) -> Result<(), Corrupt> {
    if format == FORMAT { Ok(()) } else { Err(Corrupt::new("row of another format")) }
}
