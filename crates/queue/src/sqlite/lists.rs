//! Lists of jobs, newest first. Each is read from an index in its order, so that a page costs as much as it has jobs,
//! however many others there are.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use swifthook_core::{Job, JobFilter, Stage};

use super::names;
use super::rows::{self, RowError, entries, readable};
use crate::codec;

pub(super) fn jobs(connection: &Connection, filter: &JobFilter) -> Result<Vec<Job>, RowError> {
    let Some(wanted) = Wanted::new(connection, filter)? else { return Ok(Vec::new()) };
    let mut ids = Vec::new();
    match wanted.has_conditions(filter) {
        false => ids = wanted.ids(connection, "1", wanted.limit)?,
        true => {
            let stages: &[Stage] = if filter.stages.is_empty() { &Stage::ALL } else { &filter.stages };
            for stage in stages {
                let which = if stage.is_final() { "stage >= 4" } else { "stage < 4" };
                let of_stage = format!("stage = {} AND {which}", codec::stage_code(*stage));
                ids.extend(wanted.ids(connection, &of_stage, wanted.limit)?);
            }
            ids.sort_unstable_by(|a, b| b.cmp(a));
            ids.dedup();
            ids.truncate(wanted.limit);
        }
    }
    let mut statement = connection.prepare_cached(entries!("WHERE j.id = ?1"))?;
    let mut jobs = Vec::with_capacity(ids.len());
    for id in ids {
        let mut found = statement.query((id,))?;
        if let Some(row) = found.next()? {
            jobs.extend(readable(rows::entry(row).map(|entry| entry.job))?);
        }
    }
    Ok(jobs)
}

/// A filter with the numbers of its names.
struct Wanted {
    before: i64,
    recipe: Option<i64>,
    repository: Option<i64>,
    limit: usize,
}

impl Wanted {
    /// `None` where nothing has such a name.
    fn new(connection: &Connection, filter: &JobFilter) -> Result<Option<Self>, RowError> {
        let mut numbers = [None; 2];
        for (number, name) in numbers.iter_mut().zip([&filter.recipe, &filter.repository]) {
            let Some(name) = name else { continue };
            match names::find(connection, name)? {
                Some(found) => *number = Some(found),
                None => return Ok(None),
            }
        }
        let [recipe, repository] = numbers;
        let before = filter.before.map_or(i64::MAX, |id| codec::halves(id.0).0);
        let limit = if filter.limit == 0 { DEFAULT_LIMIT } else { filter.limit };
        Ok(Some(Self { before, recipe, repository, limit }))
    }

    fn has_conditions(&self, filter: &JobFilter) -> bool {
        !filter.stages.is_empty() || self.recipe.is_some() || self.repository.is_some()
    }

    /// The newest of those for which `condition` holds.
    fn ids(&self, connection: &Connection, condition: &str, limit: usize) -> Result<Vec<i64>, RowError> {
        let mut values: Vec<Value> = vec![self.before.into()];
        values.extend([self.recipe, self.repository].into_iter().flatten().map(Value::from));
        let sql = select(condition, self.recipe.is_some(), self.repository.is_some());
        values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
        let mut statement = connection.prepare_cached(&sql)?;
        let ids = statement.query_map(params_from_iter(values), |row| row.get(0))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }
}

fn select(condition: &str, has_recipe: bool, has_repository: bool) -> String {
    let names = match (has_recipe, has_repository) {
        (false, false) => "",
        (true, false) => " AND recipe = ?",
        (false, true) => " AND repository = ?",
        // A recipe is of one repository, which may have many: its index is the one to walk, and the `+` keeps SQLite
        // from the other (https://www.sqlite.org/optoverview.html#disqualifying_where_clause_terms_using_unary_).
        (true, true) => " AND recipe = ? AND +repository = ?",
    };
    format!("SELECT id FROM jobs WHERE {condition} AND id < ?{names} ORDER BY id DESC LIMIT ?")
}

/// How many jobs are listed unless it is said.
const DEFAULT_LIMIT: usize = 50;

#[cfg(test)]
mod tests {
    use super::select;
    use crate::sqlite::{Options, schema};

    #[test]
    fn no_list_looks_at_jobs_that_have_ended_and_are_not_on_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = schema::open(&directory.path().join("swifthook.db"), &Options::default()).unwrap();
        for (recipe, repository, index) in [
            (false, false, "jobs_ended (stage=? AND rowid<?)"),
            (true, false, "jobs_ended_recipe (recipe=? AND stage=? AND rowid<?)"),
            (false, true, "jobs_ended_repository (repository=? AND stage=? AND rowid<?)"),
            (true, true, "jobs_ended_recipe (recipe=? AND stage=? AND rowid<?)"),
        ] {
            let select = select("stage = 5 AND stage >= 4", recipe, repository);
            let mut statement = store.prepare(&format!("EXPLAIN QUERY PLAN {select}")).unwrap();
            for parameter in 1..=statement.parameter_count() {
                statement.raw_bind_parameter(parameter, 1).unwrap();
            }
            let mut rows = statement.raw_query();
            let mut plan = Vec::new();
            while let Some(row) = rows.next().unwrap() {
                plan.push(row.get::<_, String>(3).unwrap());
            }
            assert_eq!(plan.len(), 1, "no sorting: {plan:?}");
            assert!(plan[0].contains("SEARCH") && plan[0].contains(index), "{plan:?}");
        }
    }
}
