use swifthook_core::{
    CommitSha, Delivery, DeliveryId, Fingerprint, Identity, Job, JobId, MemoryEstimate, PastFailure,
    RecipeVerdict, Stage, Stats, TimelineEntry, Timestamp, Workload,
};
use uuid::Uuid;

use super::pool::Session;
use super::rows::{self, RowError, deliveries, entries, readable};
use super::transaction::{plain, uuid};
use crate::codec;
use crate::known;
use crate::rules::{with_beginning, with_specs};

pub(super) async fn job(session: &mut Session, id: JobId) -> Result<Option<Job>, RowError> {
    let found = session.query(entries!("WHERE j.id = $1"), &[&uuid(id)]).await?;
    found.first().map(|row| Ok(rows::entry(row)?.job)).transpose()
}

/// Those that the machine failed stand between the others, so a few more than are wanted are looked at.
pub(super) async fn known_failures(
    session: &mut Session,
    of: Fingerprint,
) -> Result<Vec<PastFailure>, RowError> {
    let sql = entries!("WHERE j.fingerprint = $1 AND j.stage IN (4, 5) ORDER BY j.id DESC LIMIT 32");
    let mut jobs = Vec::new();
    for row in &session.query(sql, &[&of.0.to_vec()]).await? {
        jobs.extend(readable(rows::entry(row))?.map(|entry| entry.job));
    }
    Ok(PastFailure::among(&jobs))
}

pub(super) async fn known_heads(session: &mut Session, of: &Job) -> Result<Vec<CommitSha>, RowError> {
    // Places are named `acme/models refs/heads/main`.
    let (place, job) = (format!("{} ", of.change.repository), uuid(of.id));
    let recipe = of.change.recipe.to_string();
    let sql = "SELECT c.head, j.stage, j.ran FROM names place JOIN changes c ON c.place = place.id \
               JOIN names recipe ON recipe.id = c.recipe LEFT JOIN jobs j ON j.id = c.job \
               WHERE starts_with(place.name, $1) AND recipe.name = $2 AND c.job < $3 \
               ORDER BY c.job DESC LIMIT $4";
    let mut commits = Vec::new();
    for row in &session.query(sql, &[&place, &recipe, &job, &known::MOST_CHANGES]).await? {
        let stage = row.try_get::<_, Option<i64>>(1)?.map(codec::stage).transpose()?;
        let has_run = row.try_get::<_, Option<bool>>(2)?.unwrap_or(true);
        if !stage.is_some_and(|stage| known::came_to_nothing(stage, has_run)) {
            commits.push(codec::commit(row.try_get(0)?)?);
        }
    }
    let sql = "SELECT d.head, d.verdicts FROM deliveries d JOIN names place ON place.id = d.place \
               WHERE starts_with(place.name, $1) AND d.head IS NOT NULL ORDER BY d.id DESC LIMIT $2";
    for row in &session.query(sql, &[&place, &known::MOST_DELIVERIES]).await? {
        let verdicts: Vec<RecipeVerdict> = codec::read("list of verdicts", row.try_get(1)?)?;
        if known::has_looked(&of.change.recipe, &verdicts) {
            commits.push(codec::commit(row.try_get(0)?)?);
        }
    }
    Ok(known::once(commits))
}

pub(super) async fn identities(session: &mut Session) -> Result<Vec<Identity>, RowError> {
    let sql = "SELECT name FROM names WHERE starts_with(name, $1) ORDER BY id";
    let mut identities = Vec::new();
    for row in &session.query(sql, &[&codec::IDENTITIES]).await? {
        identities.extend(codec::identity(row.try_get(0)?));
    }
    Ok(identities)
}

/// Those that told nothing stand between the others, so more than are wanted are looked at.
pub(super) async fn memory_estimate(
    session: &mut Session,
    of: &Workload,
) -> Result<Option<MemoryEstimate>, RowError> {
    let sql = entries!("WHERE j.workload = $1 AND j.stage >= 4 ORDER BY j.id DESC LIMIT 32");
    let mut jobs = Vec::new();
    for row in &session.query(sql, &[&of.alike.0.to_vec()]).await? {
        jobs.extend(readable(rows::entry(row))?.map(|entry| entry.job));
    }
    Ok(MemoryEstimate::among(of, &jobs))
}

pub(super) async fn open_jobs(session: &mut Session) -> Result<Vec<(Stage, u64)>, RowError> {
    let sql = "SELECT stage, count(*) FROM jobs WHERE stage < 4 GROUP BY stage";
    let mut counts = Vec::new();
    for row in session.query(sql, &[]).await? {
        counts.push((codec::stage(row.try_get(0)?)?, row.try_get::<_, i64>(1)?.unsigned_abs()));
    }
    let count = |stage| counts.iter().find(|(of, _)| *of == stage).map_or(0, |(_, count)| *count);
    let open = Stage::ALL.into_iter().filter(|stage| !stage.is_final());
    Ok(open.map(|stage| (stage, count(stage))).collect())
}

pub(super) async fn timeline(session: &mut Session, id: JobId) -> Result<Vec<TimelineEntry>, RowError> {
    let Some(job) = job(session, id).await? else { return Ok(Vec::new()) };
    let sql = "SELECT at, who, what, stage, why FROM timeline WHERE job = $1 ORDER BY line";
    let found = session.query(sql, &[&uuid(id)]).await?;
    let lines = found.iter().map(rows::line).collect::<Result<_, _>>()?;
    Ok(with_beginning(&job, lines))
}

pub(super) async fn deliveries(
    session: &mut Session,
    before: Option<DeliveryId>,
    limit: usize,
) -> Result<Vec<Delivery>, RowError> {
    let before = before.map_or(Uuid::max(), |id| Uuid::from_bytes(id.0));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let sql = deliveries!("WHERE d.id < $1 ORDER BY d.id DESC LIMIT $2");
    let mut deliveries = Vec::new();
    for row in session.query(sql, &[&before, &limit]).await? {
        if let Some(delivery) = readable(rows::delivery(&row))? {
            deliveries.push(dressed(session, delivery).await?);
        }
    }
    Ok(deliveries)
}

pub(super) async fn delivery(session: &mut Session, id: DeliveryId) -> Result<Option<Delivery>, RowError> {
    let found = session.query(deliveries!("WHERE d.id = $1"), &[&Uuid::from_bytes(id.0)]).await?;
    match found.first() {
        Some(row) => dressed(session, rows::delivery(row)?).await.map(Some),
        None => Ok(None),
    }
}

/// Goes through them from the newest on: what a person looks for is most often young, and an index of GUIDs, which come in
/// no order, would cost every push.
pub(super) async fn deliveries_of_guid(
    session: &mut Session,
    guid: &str,
    limit: usize,
) -> Result<Vec<Delivery>, RowError> {
    let sql = deliveries!("WHERE lower(d.guid) = lower($1) ORDER BY d.id DESC LIMIT $2");
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut deliveries = Vec::new();
    for row in session.query(sql, &[&plain(guid), &limit]).await? {
        if let Some(delivery) = readable(rows::delivery(&row))? {
            deliveries.push(dressed(session, delivery).await?);
        }
    }
    Ok(deliveries)
}

pub(super) async fn stats(session: &mut Session) -> Result<Stats, RowError> {
    let mut counts = Vec::new();
    for row in session.query("SELECT stage, count(*) FROM jobs GROUP BY stage", &[]).await? {
        counts.push((codec::stage(row.try_get(0)?)?, row.try_get::<_, i64>(1)?.unsigned_abs()));
    }
    let count = |stage| counts.iter().find(|(of, _)| *of == stage).map_or(0, |(_, count)| *count);
    let sql = "SELECT (SELECT count(*) FROM deliveries), (SELECT count(*) FROM changes), \
               (SELECT received_at FROM deliveries ORDER BY id LIMIT 1), \
               (SELECT received_at FROM deliveries ORDER BY id DESC LIMIT 1), \
               (SELECT sum(pg_total_relation_size(name))::bigint FROM unnest(ARRAY['names', 'jobs', 'changes', 'decisions', \
                   'leases', 'timeline', 'deliveries']::regclass[]) name), \
               (SELECT version FROM swifthook_schema)";
    let rows = session.query(sql, &[]).await?;
    let row = rows.first().ok_or(codec::Corrupt::new("count"))?;
    let number = |column| Ok::<_, RowError>(row.try_get::<_, i64>(column)?.unsigned_abs());
    let time = |column| Ok::<_, RowError>(row.try_get::<_, Option<i64>>(column)?.map(Timestamp));
    Ok(Stats {
        jobs: Stage::ALL.into_iter().map(|stage| (stage, count(stage))).collect(),
        deliveries: number(0)?,
        changes: number(1)?,
        oldest: time(2)?,
        newest: time(3)?,
        bytes: Some(number(4)?),
        schema: row.try_get::<_, i32>(5)?.try_into().ok(),
    })
}

async fn dressed(session: &mut Session, delivery: Delivery) -> Result<Delivery, RowError> {
    let mut jobs = Vec::new();
    for id in &delivery.jobs {
        jobs.extend(readable(job(session, *id).await)?.flatten());
    }
    Ok(with_specs(delivery, &jobs))
}
