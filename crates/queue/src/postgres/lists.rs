//! Lists of jobs, newest first. Each is read from an index in its order, so that a page costs as much as it has jobs,
//! however many others there are.

use swifthook_core::{Job, JobFilter, Stage};
use uuid::Uuid;

use super::pool::Session;
use super::rows::{self, RowError, entries, readable};
use super::transaction::{plain, uuid};
use crate::codec;

pub(super) async fn jobs(session: &mut Session, filter: &JobFilter) -> Result<Vec<Job>, RowError> {
    let before = filter.before.map_or(Uuid::max(), uuid);
    let limit = if filter.limit == 0 { DEFAULT_LIMIT } else { filter.limit };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let stages: &[Stage] = if filter.stages.is_empty() { &Stage::ALL } else { &filter.stages };
    let mut codes: Vec<i64> = stages.iter().map(|stage| codec::stage_code(*stage)).collect();
    codes.sort_unstable();
    codes.dedup();
    let recipe = name(session, filter.recipe.as_deref()).await?;
    let repository = name(session, filter.repository.as_deref()).await?;
    let found = match (recipe, repository) {
        (Name::None, _) | (_, Name::None) => return Ok(Vec::new()),
        (Name::Any, Name::Any) if filter.stages.is_empty() => session.query(ALL, &[&before, &limit]).await?,
        (Name::Any, Name::Any) => session.query(BY_STAGE, &[&before, &limit, &codes]).await?,
        (Name::Of(recipe), Name::Any) => {
            session.query(BY_RECIPE, &[&before, &limit, &codes, &recipe]).await?
        }
        (Name::Any, Name::Of(repository)) => {
            session.query(BY_REPOSITORY, &[&before, &limit, &codes, &repository]).await?
        }
        (Name::Of(recipe), Name::Of(repository)) => {
            session.query(BY_BOTH, &[&before, &limit, &codes, &recipe, &repository]).await?
        }
    };
    let mut jobs = Vec::with_capacity(found.len());
    for row in &found {
        jobs.extend(readable(rows::entry(row).map(|entry| entry.job))?);
    }
    Ok(jobs)
}

/// A name that jobs are wanted of.
enum Name {
    Any,
    Of(i64),
    /// Nothing has it.
    None,
}

async fn name(session: &mut Session, name: Option<&str>) -> Result<Name, RowError> {
    let Some(name) = name else { return Ok(Name::Any) };
    let sql = "SELECT id FROM names WHERE digest = sha256(convert_to($1, 'UTF8'))";
    let found = session.query(sql, &[&plain(name)]).await?;
    Ok(match found.first() {
        Some(row) => Name::Of(row.try_get(0)?),
        None => Name::None,
    })
}

/// The newest of each stage, and of those the newest. The stages that have ended have an index of their own.
macro_rules! by {
    ($conditions:literal) => {
        entries!(
            "WHERE j.id IN (SELECT f.id FROM unnest($3::bigint[]) s (stage), LATERAL ( \
                 (SELECT o.id FROM jobs o WHERE o.stage < 4 AND o.stage = s.stage AND o.id < $1",
            $conditions,
            "     ORDER BY o.id DESC LIMIT $2) UNION ALL \
                 (SELECT o.id FROM jobs o WHERE o.stage >= 4 AND o.stage = s.stage AND o.id < $1",
            $conditions,
            "     ORDER BY o.id DESC LIMIT $2)) f ORDER BY f.id DESC LIMIT $2) ORDER BY j.id DESC"
        )
    };
}

const ALL: &str = entries!("WHERE j.id < $1 ORDER BY j.id DESC LIMIT $2");
const BY_STAGE: &str = by!("");
const BY_RECIPE: &str = by!(" AND o.recipe = $4");
const BY_REPOSITORY: &str = by!(" AND o.repository = $4");
/// A recipe is of one repository, which may have many: its index is the one to walk, and the `+ 0` keeps the planner from
/// the other.
const BY_BOTH: &str = by!(" AND o.recipe = $4 AND o.repository + 0 = $5");
/// How many jobs are listed unless it is said.
const DEFAULT_LIMIT: usize = 50;
