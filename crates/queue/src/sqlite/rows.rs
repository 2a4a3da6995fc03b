use std::sync::Arc;
use std::time::Duration;

use rusqlite::Row;
use swifthook_core::{
    Change, CommitSha, Delivery, DeliveryId, Job, JobId, QueueError, RecipeVerdict, TimelineEntry, Timestamp,
};

use crate::codec::{self, Corrupt, FORMAT, SpecColumns};
use crate::store::{Entry, Latest, Owner, Removed, Rival};

/// A row could not be had, or not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowError {
    #[error(transparent)]
    Sqlite(rusqlite::Error),
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
}

impl From<rusqlite::Error> for RowError {
    /// A value that is not what its column holds is damage; anything else may pass.
    fn from(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..) => Self::Corrupt(Corrupt::new("value")),
            error => Self::Sqlite(error),
        }
    }
}

impl From<RowError> for QueueError {
    fn from(error: RowError) -> Self {
        let is_permanent = matches!(error, RowError::Corrupt(_));
        Self::Store { source: error.into(), is_permanent }
    }
}

/// Selects everything of a job, and whose it is, by conditions on `j` and `l`. The joins are outer ones so that jobs
/// lead, in the order that an index gives them.
macro_rules! entries {
    ($conditions:literal) => {
        concat!(
            "SELECT j.id, j.rest, j.format, place.name, recipe.name, groups.name, hook.name, \
             j.config, j.run, j.head, j.before, j.pushed_at, j.created_at, j.source, j.guid, j.sender, j.labels, \
             j.priority, j.rerun_of, j.superseded_by, j.spec, j.state, j.progress, l.worker, l.until, l.lasts, l.overdue \
             FROM jobs j LEFT JOIN names place ON place.id = j.place LEFT JOIN names recipe ON recipe.id = j.recipe \
             LEFT JOIN names groups ON groups.id = j.group_id LEFT JOIN names hook ON hook.id = j.hook \
             LEFT JOIN leases l ON l.job = j.id",
            " ",
            $conditions
        )
    };
}
pub(super) use entries;

pub(super) fn entry(row: &Row<'_>) -> Result<Entry, RowError> {
    check_format(row.get(2)?)?;
    let (repository, ref_name) = place(row, 3)?;
    let recipe: Arc<str> = row.get(4)?;
    let config: Option<Arc<str>> = row.get(7)?;
    let labels = row.get_ref(16)?.as_str_or_null().map_err(rusqlite::Error::from)?;
    let columns = SpecColumns {
        recipe: recipe.clone(),
        config: config.clone(),
        group: row.get(5)?,
        priority: row.get(17)?,
        labels: labels.map_or(Ok(Vec::new()), |labels| codec::read("list of labels", labels.as_bytes()))?,
    };
    let job = Job {
        id: JobId(codec::whole(row.get(0)?, row.get(1)?)),
        change: Change {
            repository,
            ref_name,
            head: codec::commit(blob(row, 9)?)?,
            recipe,
            config: config.unwrap_or_default(),
            run: row.get(8)?,
        },
        before: optional_blob(row, 10)?.map(codec::commit).transpose()?,
        sender: row.get(15)?,
        pushed_at: timestamp(row, 11)?,
        source: codec::source(row.get(13)?, row.get(6)?, row.get(14)?)?,
        spec: codec::spec(columns, blob(row, 20)?)?,
        state: codec::state(optional_blob(row, 21)?)?,
        created_at: Timestamp(row.get(12)?),
        rerun_of: row.get::<_, Option<[u8; 16]>>(18)?.map(JobId),
        superseded_by: row.get::<_, Option<[u8; 16]>>(19)?.map(JobId),
        progress: optional_blob(row, 22)?.map(|blob| codec::read("progress", blob)).transpose()?,
    };
    Ok(Entry { job, owner: owner(row)? })
}

fn owner(row: &Row<'_>) -> Result<Option<Owner>, RowError> {
    let Some(worker) = row.get(23)? else { return Ok(None) };
    Ok(Some(Owner {
        worker,
        until: Timestamp(row.get(24)?),
        lasts: Duration::from_millis(row.get::<_, i64>(25)?.try_into().unwrap_or(0)),
        is_overdue: row.get(26)?,
    }))
}

/// Selects what decides between jobs of a group.
macro_rules! rivals {
    ($conditions:literal) => {
        concat!(
            "SELECT jobs.id, jobs.rest, names.name, jobs.before, jobs.head, jobs.pushed_at, \
             jobs.stage, jobs.debounce_since FROM jobs LEFT JOIN names ON names.id = jobs.place",
            " ",
            $conditions
        )
    };
}
pub(super) use rivals;

pub(super) fn rival(row: &Row<'_>) -> Result<Rival, RowError> {
    Ok(Rival {
        id: JobId(codec::whole(row.get(0)?, row.get(1)?)),
        place: place(row, 2)?,
        before: optional_blob(row, 3)?.map(codec::commit).transpose()?,
        head: codec::commit(blob(row, 4)?)?,
        pushed_at: timestamp(row, 5)?,
        stage: codec::stage(row.get(6)?)?,
        debounce_since: timestamp(row, 7)?,
    })
}

/// Selects everything of a delivery, by conditions on `d`.
macro_rules! deliveries {
    ($conditions:literal) => {
        concat!(
            "SELECT d.id, d.rest, d.format, d.received_at, place.name, d.before, d.head, \
             d.source, hook.name, d.guid, d.sender, config.name, d.jobs, d.verdicts, d.path_count, d.paths, \
             d.pushed_at, d.facts, d.known \
             FROM deliveries d LEFT JOIN names place ON place.id = d.place LEFT JOIN names hook ON hook.id = d.hook \
             LEFT JOIN names config ON config.id = d.config",
            " ",
            $conditions
        )
    };
}
pub(super) use deliveries;

pub(super) fn delivery(row: &Row<'_>) -> Result<Delivery, RowError> {
    check_format(row.get(2)?)?;
    let (repository, ref_name) = place(row, 4)?;
    let config: String = row.get(11)?;
    let verdicts: Vec<RecipeVerdict> = codec::read("list of verdicts", blob(row, 13)?)?;
    let (pushed_at, facts): (_, Option<i64>) = (timestamp(row, 16)?, row.get(17)?);
    let id = DeliveryId(codec::whole(row.get(0)?, row.get(1)?));
    let jobs = codec::ids(optional_blob(row, 12)?.unwrap_or_default())?;
    Ok(Delivery {
        id,
        received_at: Timestamp(row.get(3)?),
        source: codec::source(row.get(7)?, row.get(8)?, row.get(9)?)?,
        repository,
        ref_name,
        before: optional_blob(row, 5)?.map(codec::commit).transpose()?,
        head: optional_blob(row, 6)?.map(codec::commit).transpose()?,
        sender: row.get(10)?,
        facts: facts.map(|code| codec::facts(code, pushed_at)).transpose()?,
        verdicts,
        paths: codec::paths(optional_blob(row, 15)?.unwrap_or_default())?,
        path_count: row.get::<_, i64>(14)?.try_into().unwrap_or(0),
        config: codec::config(&config).ok_or(Corrupt::new("digest"))?,
        known: codec::known_jobs(optional_blob(row, 18)?, id, &jobs)?,
        jobs,
    })
}

/// The last training of a change.
pub(super) fn latest(row: &Row<'_>) -> Result<Latest, RowError> {
    let removed = match row.get::<_, Option<i64>>(4)? {
        Some(stage) => Some(Removed {
            stage: codec::stage(stage)?,
            source: codec::source(row.get(5)?, row.get(6)?, row.get(7)?)?,
            before: optional_commit(row, 9)?,
        }),
        None => None,
    };
    Ok(Latest {
        job: JobId(codec::whole(row.get(0)?, row.get(1)?)),
        run: row.get(2)?,
        redeliveries: row.get(3)?,
        has_trained: row.get(8)?,
        removed,
    })
}

pub(super) const LINES: &str = "SELECT at, who, what, stage, why FROM timeline WHERE job = ?1 ORDER BY line";

pub(super) fn line(row: &Row<'_>) -> Result<TimelineEntry, RowError> {
    Ok(TimelineEntry {
        at: Timestamp(row.get(0)?),
        who: row.get(1)?,
        what: row.get(2)?,
        stage: codec::stage(row.get(3)?)?,
        why: row.get(4)?,
    })
}

/// Passes by what cannot be read, and says so: one damaged row must not keep everybody from the others. Whoever asks
/// for that very row is told.
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

fn check_format(format: i64) -> Result<(), Corrupt> {
    if format == FORMAT { Ok(()) } else { Err(Corrupt::new("row of another format")) }
}

pub(super) fn place(row: &Row<'_>, column: usize) -> Result<crate::chain::Place, RowError> {
    let name = row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?;
    Ok(codec::place(name).ok_or(Corrupt::new("ref"))?)
}

pub(super) fn optional_commit(row: &Row<'_>, column: usize) -> Result<Option<CommitSha>, RowError> {
    Ok(optional_blob(row, column)?.map(codec::commit).transpose()?)
}

fn timestamp(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, RowError> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp))
}

pub(super) fn blob<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a [u8], RowError> {
    Ok(row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?)
}

pub(super) fn optional_blob<'a>(row: &'a Row<'_>, column: usize) -> Result<Option<&'a [u8]>, RowError> {
    Ok(row.get_ref(column)?.as_blob_or_null().map_err(rusqlite::Error::from)?)
}
