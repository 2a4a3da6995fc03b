use std::collections::HashMap;
use std::sync::Mutex;

use swifthook_core::{
    Change, CommitSha, Delivery, DeliveryId, GpuGrant, GpuLease, Identity, Job, JobId, Progress, QueueError,
    RepoName, RunKey, Stage, State, TimelineEntry, Timestamp,
};
use tokio::runtime::Handle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

use super::pool::{Parameters, Session, Write, given};
use super::rows::{self, RowError, entries};
use super::{due, gpus, old, ports, tips};
use crate::chain::{Chains, Place};
use crate::codec;
use crate::store::{
    Decisions, Entry, Latest, OldDeliveries, Owner, Rival, Seeker, Store, is_rival, waits_for_gpus,
};
use crate::tips::{Move, Tips};

/// A transaction that is open on a connection. Its methods wait for the database: they are for a thread that may.
pub(super) struct Transaction<'a> {
    pub(super) session: &'a mut Session,
    pub(super) runtime: &'a Handle,
    /// The numbers of names that are durable.
    pub(super) names: &'a Mutex<HashMap<String, i64>>,
    /// Those that this transaction has met, which are durable when it is.
    pub(super) met: HashMap<String, i64>,
    pub(super) chains: Chains,
    /// Whether a job was passed by that another transaction works on.
    pub(super) has_passed_by: bool,
    /// What is written before the next thing is read, or with the commit: in one round trip.
    pub(super) later: Vec<Write>,
}

impl Transaction<'_> {
    pub(super) fn query(&mut self, sql: &'static str, with: Parameters<'_>) -> Result<Vec<Row>, RowError> {
        Ok(self.pipeline(&[(sql, with)])?.pop().unwrap_or_default())
    }

    /// Several statements in one round trip, behind what is to be written before.
    pub(super) fn pipeline(
        &mut self,
        asked: &[(&'static str, Parameters<'_>)],
    ) -> Result<Vec<Vec<Row>>, RowError> {
        let before = std::mem::take(&mut self.later);
        let mut answers =
            self.runtime.block_on(run(self.session, &before, asked)).map_err(|(_, error)| error)?;
        Ok(answers.split_off(before.len()))
    }

    /// Writes what is to be written.
    pub(super) fn flush(&mut self) -> Result<(), RowError> {
        self.pipeline(&[]).map(drop)
    }

    pub(super) fn later(
        &mut self,
        sql: &'static str,
        with: Vec<Box<dyn ToSql + Sync + Send>>,
    ) -> Result<(), RowError> {
        self.later.push(Write { sql, with });
        if self.later.len() < MOST_AT_ONCE { Ok(()) } else { self.flush() }
    }

    pub(super) fn execute(&mut self, sql: &'static str, with: Parameters<'_>) -> Result<(), RowError> {
        self.query(sql, with).map(drop)
    }

    /// The number of a name, which is given one if it has none.
    fn name(&mut self, name: &str) -> Result<i64, RowError> {
        let name = plain(name);
        let known = self.names.lock().expect("nothing panics under this lock").get(&name).copied();
        if let Some(id) = known.or_else(|| self.met.get(&name).copied()) {
            return Ok(id);
        }
        let rows = self.query(NAME, &[&name])?;
        let id = rows.first().ok_or(codec::Corrupt::new("name"))?.try_get(0)?;
        self.met.insert(name, id);
        Ok(id)
    }

    fn place(&mut self, change: &Change) -> Result<i64, RowError> {
        self.name(&format!("{} {}", change.repository, change.ref_name))
    }

    fn hook(&mut self, name: Option<&str>) -> Result<Option<i64>, RowError> {
        name.map(|name| self.name(name)).transpose()
    }

    fn find_latest(&mut self, change: &Change) -> Result<Option<Latest>, RowError> {
        let (place, recipe) = (self.place(change)?, self.name(&change.recipe)?);
        let sql = "SELECT c.job, c.run, c.redeliveries, c.stage, c.source, names.name, c.guid, c.trained, c.before \
                   FROM changes c LEFT JOIN names ON names.id = c.hook \
                   WHERE c.place = $1 AND c.head = $2 AND c.recipe = $3 AND c.config = sha256(convert_to($4, 'UTF8'))";
        let head = codec::commit_bytes(&change.head);
        let found = self.query(sql, &[&place, &head, &recipe, &plain(&change.config)])?;
        found.first().map(rows::latest).transpose()
    }

    fn put_latest(&mut self, change: &Change, latest: &Latest) -> Result<(), RowError> {
        let (place, recipe) = (self.place(change)?, self.name(&change.recipe)?);
        let sql = "INSERT INTO changes VALUES ($1, $2, $3, sha256(convert_to($4, 'UTF8')), $5, $6, $7, $8, $9, $10, \
                   $11, $12, $13, $14) ON CONFLICT (place, head, recipe, config) DO UPDATE \
                   SET job = excluded.job, run = excluded.run, redeliveries = excluded.redeliveries, \
                   stage = excluded.stage, source = excluded.source, hook = excluded.hook, guid = excluded.guid, path = excluded.path, \
                   trained = excluded.trained, before = excluded.before";
        let removed = latest.removed.as_ref();
        let source = removed.map(|removed| codec::source_parts(&removed.source));
        let hook = self.hook(source.and_then(|(_, hook, _)| hook))?;
        self.later(
            sql,
            given![
                place,
                codec::commit_bytes(&change.head),
                recipe,
                plain(&change.config),
                uuid(latest.job),
                i64::from(latest.run),
                i64::from(latest.redeliveries),
                removed.map(|removed| codec::stage_code(removed.stage)),
                source.map(|(kind, ..)| kind),
                hook,
                source.and_then(|(.., guid)| guid).map(plain),
                removed.map(|_| plain(&change.config)),
                latest.has_trained,
                removed.and_then(|removed| removed.before.as_ref()).map(codec::commit_bytes),
            ],
        )
    }

    fn find_decisions(&mut self, change: &Change) -> Result<Decisions, RowError> {
        let (place, recipe) = (self.place(change)?, self.name(&change.recipe)?);
        let sql = "SELECT d.job, d.run, d.redeliveries, d.stage, d.source, names.name, d.guid, d.trained, \
                   nullif(d.before, '') FROM decisions d LEFT JOIN names ON names.id = d.hook \
                   WHERE d.place = $1 AND d.head = $2 AND d.recipe = $3 AND d.config = sha256(convert_to($4, 'UTF8'))";
        let head = codec::commit_bytes(&change.head);
        let found = self.query(sql, &[&place, &head, &recipe, &plain(&change.config)])?;
        found.iter().map(|row| Ok((rows::commit(row, 8)?, rows::latest(row)?))).collect()
    }

    fn put_decision(
        &mut self,
        change: &Change,
        before: Option<&CommitSha>,
        decided: &Latest,
    ) -> Result<(), RowError> {
        let (place, recipe) = (self.place(change)?, self.name(&change.recipe)?);
        let sql = "INSERT INTO decisions VALUES ($1, $2, $3, sha256(convert_to($4, 'UTF8')), $5, $6, $7, $8, $9, $10, \
                   $11, $12, $13, $4) ON CONFLICT (place, head, recipe, config, before) DO UPDATE \
                   SET job = excluded.job, run = excluded.run, redeliveries = excluded.redeliveries, \
                   stage = excluded.stage, source = excluded.source, hook = excluded.hook, guid = excluded.guid, \
                   trained = excluded.trained";
        let removed = decided.removed.as_ref();
        let source = removed.map(|removed| codec::source_parts(&removed.source));
        let hook = self.hook(source.and_then(|(_, hook, _)| hook))?;
        self.later(
            sql,
            given![
                place,
                codec::commit_bytes(&change.head),
                recipe,
                plain(&change.config),
                before.map(codec::commit_bytes).unwrap_or_default(),
                uuid(decided.job),
                i64::from(decided.run),
                i64::from(decided.redeliveries),
                removed.map(|removed| codec::stage_code(removed.stage)),
                source.map(|(kind, ..)| kind),
                hook,
                source.and_then(|(.., guid)| guid).map(plain),
                decided.has_trained,
            ],
        )
    }

    fn put_job(&mut self, job: &Job) -> Result<(), RowError> {
        let (source, hook, guid) = codec::source_parts(&job.source);
        let (spec, state) = (&job.spec, &job.state);
        let hook = self.hook(hook)?;
        let (group, place, recipe) =
            (self.name(&spec.group)?, self.place(&job.change)?, self.name(&spec.recipe)?);
        let repository = self.name(job.change.repository.as_str())?;
        let labels: Vec<String> = spec.labels.iter().map(|label| plain(label)).collect();
        let sql = "INSERT INTO jobs (id, format, stage, ran, needs_diff, priority, group_id, place, recipe, config, \
                   run, head, before, pushed_at, not_before, debounce_since, created_at, source, hook, guid, \
                   sender, labels, host, rerun_of, superseded_by, spec, state, turn, repository, waits_for_gpus, fingerprint, \
                   given_up, workload) \
                   VALUES ($1, $2, $3, \
                   $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, \
                   $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33)";
        self.later(
            sql,
            given![
                uuid(job.id),
                codec::FORMAT,
                codec::stage_code(state.stage),
                ran(job),
                state.needs_diff(),
                spec.priority,
                group,
                place,
                recipe,
                spec.config.as_deref().map(plain),
                i64::from(job.change.run),
                codec::commit_bytes(&job.change.head),
                job.before.as_ref().map(codec::commit_bytes),
                millis(job.pushed_at),
                millis(state.not_before),
                millis(state.debounce_since),
                job.created_at.0,
                source,
                hook,
                guid.map(plain),
                job.sender.as_deref().map(plain),
                labels,
                host(state),
                job.rerun_of.map(uuid),
                job.superseded_by.map(uuid),
                codec::spec_blob(spec),
                codec::state_blob(state),
                job.turn(),
                repository,
                waits_for_gpus(job),
                state.fingerprint.map(|fingerprint| fingerprint.0.to_vec()),
                state.is_given_up,
                alike(state),
            ],
        )
    }

    fn put_state(&mut self, job: &Job) -> Result<(), RowError> {
        let state = &job.state;
        let sql = "UPDATE jobs SET stage = $2, ran = $3, needs_diff = $4, not_before = $5, debounce_since = $6, \
                   host = $7, superseded_by = $8, state = $9, waits_for_gpus = $10, fingerprint = $11, \
                   given_up = $12, workload = $13 WHERE id = $1";
        self.later(
            sql,
            given![
                uuid(job.id),
                codec::stage_code(state.stage),
                ran(job),
                state.needs_diff(),
                millis(state.not_before),
                millis(state.debounce_since),
                host(state),
                job.superseded_by.map(uuid),
                codec::state_blob(state),
                waits_for_gpus(job),
                state.fingerprint.map(|fingerprint| fingerprint.0.to_vec()),
                state.is_given_up,
                alike(state),
            ],
        )
    }

    fn put_owner(&mut self, id: JobId, owner: Option<&Owner>) -> Result<(), RowError> {
        let Some(owner) = owner else {
            return self.later("DELETE FROM leases WHERE job = $1", given![uuid(id)]);
        };
        let lasts = i64::try_from(owner.lasts.as_millis()).unwrap_or(i64::MAX);
        let sql = "INSERT INTO leases VALUES ($1, $2, $3, $4, $5) ON CONFLICT (job) DO UPDATE SET \
                   worker = excluded.worker, until = excluded.until, lasts = excluded.lasts, overdue = excluded.overdue";
        self.later(sql, given![uuid(id), plain(&owner.worker), owner.until.0, lasts, owner.is_overdue])
    }

    fn put_line(&mut self, id: JobId, line: &TimelineEntry) -> Result<(), RowError> {
        let sql = "INSERT INTO timeline SELECT $1, coalesce(max(line) + 1, 0), $2, $3, $4, $5, $6 \
                   FROM timeline WHERE job = $1";
        let stage = codec::stage_code(line.stage);
        let why = line.why.as_deref().map(plain);
        self.later(sql, given![uuid(id), line.at.0, plain(&line.who), plain(&line.what), stage, why])
    }

    fn put_delivery(&mut self, delivery: &Delivery, jobs: &[JobId], known: &[JobId]) -> Result<(), RowError> {
        let (source, hook, guid) = codec::source_parts(&delivery.source);
        let hook = self.hook(hook)?;
        let place = self.name(&format!("{} {}", delivery.repository, delivery.ref_name))?;
        let config = self.name(&codec::config_name(delivery.config))?;
        let bytes = |ids: &[JobId]| ids.iter().flat_map(|id| id.0).collect::<Vec<u8>>();
        let (jobs, known) = (bytes(jobs), bytes(known));
        let has_jobs = !jobs.is_empty();
        let sql = "INSERT INTO deliveries VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, \
                   $16, $17, $18)";
        self.later(
            sql,
            given![
                Uuid::from_bytes(delivery.id.0),
                codec::FORMAT,
                delivery.received_at.0,
                place,
                delivery.before.as_ref().map(codec::commit_bytes),
                delivery.head.as_ref().map(codec::commit_bytes),
                source,
                hook,
                guid.map(plain),
                delivery.sender.as_deref().map(plain),
                config,
                has_jobs.then_some(jobs),
                codec::json(&delivery.verdicts),
                i64::try_from(delivery.path_count).unwrap_or(i64::MAX),
                codec::paths_blob(&delivery.paths),
                delivery.facts.and_then(|facts| millis(facts.pushed_at)),
                delivery.facts.as_ref().map(codec::facts_code),
                has_jobs.then_some(known),
            ],
        )
    }

    /// Keeps others from a job first and looks at it then, so that what is read is what they have left.
    pub(super) fn find_entry(&mut self, id: JobId) -> Result<Option<Entry>, RowError> {
        self.later("SELECT FROM jobs WHERE id = $1 FOR UPDATE", given![uuid(id)])?;
        let found = self.query(entries!("WHERE j.id = $1"), &[&uuid(id)])?;
        found.first().map(rows::entry).transpose()
    }
}

impl Store for Transaction<'_> {
    fn latest(&mut self, change: &Change) -> Result<Option<Latest>, QueueError> {
        Ok(self.find_latest(change)?)
    }

    fn set_latest(&mut self, change: &Change, latest: &Latest) -> Result<(), QueueError> {
        Ok(self.put_latest(change, latest)?)
    }

    fn decision(
        &mut self,
        change: &Change,
        before: Option<&CommitSha>,
    ) -> Result<Option<Latest>, QueueError> {
        let mut decided = self.find_decisions(change)?.into_iter();
        Ok(decided.find(|(its_before, _)| its_before.as_ref() == before).map(|(_, latest)| latest))
    }

    fn set_decision(
        &mut self,
        change: &Change,
        before: Option<&CommitSha>,
        decided: &Latest,
    ) -> Result<(), QueueError> {
        Ok(self.put_decision(change, before, decided)?)
    }

    fn decisions(&mut self, change: &Change) -> Result<Decisions, QueueError> {
        Ok(self.find_decisions(change)?)
    }

    fn entry(&mut self, id: JobId) -> Result<Option<Entry>, QueueError> {
        Ok(self.find_entry(id)?)
    }

    fn insert(&mut self, job: &Job) -> Result<(), QueueError> {
        Ok(self.put_job(job)?)
    }

    fn update(&mut self, job: &Job) -> Result<(), QueueError> {
        Ok(self.put_state(job)?)
    }

    fn set_progress(&mut self, id: JobId, progress: Progress) -> Result<(), QueueError> {
        let sql = "UPDATE jobs SET progress = $2 WHERE id = $1";
        Ok(self.later(sql, given![uuid(id), codec::json(&progress)])?)
    }

    fn set_owner(&mut self, id: JobId, owner: Option<&Owner>) -> Result<(), QueueError> {
        Ok(self.put_owner(id, owner)?)
    }

    fn note(&mut self, id: JobId, entry: TimelineEntry) -> Result<(), QueueError> {
        Ok(self.put_line(id, &entry)?)
    }

    fn free_id(&mut self, id: DeliveryId) -> Result<Option<DeliveryId>, QueueError> {
        let found = self.query("SELECT FROM deliveries WHERE id = $1", &[&Uuid::from_bytes(id.0)])?;
        Ok(found.is_empty().then_some(id))
    }

    fn record(&mut self, delivery: &Delivery, jobs: &[JobId], known: &[JobId]) -> Result<(), QueueError> {
        Ok(self.put_delivery(delivery, jobs, known)?)
    }

    fn identify(&mut self, identity: &Identity) -> Result<(), QueueError> {
        self.name(&codec::identity_name(identity))?;
        Ok(())
    }

    fn chains(&mut self) -> &mut Chains {
        &mut self.chains
    }

    fn rivals(
        &mut self,
        group: &str,
        pushed_at: Option<Timestamp>,
        is_chained: bool,
    ) -> Result<Vec<Rival>, QueueError> {
        let group = self.name(group)?;
        Ok(due::rivals(self, group, millis(pushed_at), is_chained)?)
    }

    fn tips(&mut self, repository: &RepoName) -> Result<Option<Tips>, QueueError> {
        Ok(tips::find(self, repository)?)
    }

    fn set_tips(&mut self, repository: &RepoName, tips: &Tips) -> Result<(), QueueError> {
        Ok(tips::keep(self, repository, tips)?)
    }

    fn moves(&mut self, place: &Place) -> Result<Vec<Move>, QueueError> {
        Ok(tips::moves(self, place)?)
    }

    fn orphan(&mut self, now: Timestamp, host: &str) -> Result<Option<Entry>, QueueError> {
        Ok(due::orphan(self, now, host)?)
    }

    fn due(&mut self, now: Timestamp, seeker: Seeker<'_>) -> Result<Option<Entry>, QueueError> {
        Ok(due::queued(self, now, seeker)?)
    }

    fn undiffed(&mut self, now: Timestamp) -> Result<Option<Entry>, QueueError> {
        Ok(due::undiffed(self, now)?)
    }

    fn overdue(&mut self, now: Timestamp) -> Result<Vec<Entry>, QueueError> {
        Ok(due::overdue(self, now)?)
    }

    fn lease_gpus(&mut self, run: RunKey, grant: &GpuGrant) -> Result<(), QueueError> {
        Ok(gpus::lease(self, run, grant)?)
    }

    fn free_gpus(&mut self, job: JobId) -> Result<(), QueueError> {
        Ok(gpus::free(self, job)?)
    }

    fn gpu_leases(&mut self, machine: Option<&str>) -> Result<Vec<GpuLease>, QueueError> {
        Ok(gpus::leased(self, machine)?)
    }

    fn has_gpus(&mut self, job: JobId) -> Result<bool, QueueError> {
        Ok(gpus::are_of(self, job)?)
    }

    fn gpu_waiters(&mut self) -> Result<Vec<Job>, QueueError> {
        Ok(gpus::waiters(self)?)
    }

    fn stranded(&mut self, host: &str) -> Result<Vec<Job>, QueueError> {
        Ok(gpus::stranded(self, host)?)
    }

    fn ports(&mut self, machine: &str) -> Result<Vec<u16>, QueueError> {
        Ok(ports::of(self, machine)?)
    }

    fn lease_port(&mut self, machine: &str, port: u16, run: RunKey) -> Result<(), QueueError> {
        Ok(ports::lease(self, machine, port, run)?)
    }

    fn free_ports(&mut self, job: JobId) -> Result<(), QueueError> {
        Ok(ports::free(self, job)?)
    }

    fn ended(
        &mut self,
        stage: Stage,
        after: Option<JobId>,
        made_before: Timestamp,
        limit: usize,
    ) -> Result<Vec<JobId>, QueueError> {
        Ok(old::ended(self, stage, after, made_before, limit)?)
    }

    fn remove(&mut self, id: JobId) -> Result<(), QueueError> {
        Ok(old::remove(self, id)?)
    }

    fn old_deliveries(
        &mut self,
        after: Option<DeliveryId>,
        before: Timestamp,
        limit: usize,
    ) -> Result<OldDeliveries, QueueError> {
        Ok(old::deliveries(self, after, before, limit)?)
    }

    fn remove_delivery(&mut self, id: DeliveryId) -> Result<(), QueueError> {
        Ok(old::remove_delivery(self, id)?)
    }

    fn has_job(&mut self, id: JobId) -> Result<bool, QueueError> {
        Ok(old::has_job(self, id)?)
    }
}

/// Runs writes and then other statements, in one round trip.
pub(super) async fn run(
    session: &mut Session,
    writes: &[Write],
    asked: &[(&'static str, Parameters<'_>)],
) -> Result<Vec<Vec<Row>>, (usize, Error)> {
    let with: Vec<Vec<&(dyn ToSql + Sync)>> = writes
        .iter()
        .map(|write| write.with.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect())
        .collect();
    let writes = writes.iter().zip(&with).map(|(write, with)| (write.sql, with.as_slice()));
    let all: Vec<_> = writes.chain(asked.iter().copied()).collect();
    session.pipeline(&all).await
}

pub(super) fn uuid(id: JobId) -> Uuid {
    Uuid::from_bytes(id.0)
}

/// Text as PostgreSQL takes it, which is without NUL.
pub(super) fn plain(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn ran(job: &Job) -> bool {
    job.state.stage.is_final() && is_rival(job)
}

fn host(state: &State) -> Option<String> {
    state.host().map(plain)
}

/// By what a run is found that is like another.
fn alike(state: &State) -> Option<Vec<u8>> {
    state.workload.as_ref().map(|workload| workload.alike.0.to_vec())
}

fn millis(at: Option<Timestamp>) -> Option<i64> {
    at.map(|at| at.0)
}

/// How much is written at once, so that it does not fill the memory.
const MOST_AT_ONCE: usize = 64;
/// Of several that name something at once one gives the number, and the others wait for it.
const NAME: &str = "WITH known AS (SELECT id FROM names WHERE digest = sha256(convert_to($1, 'UTF8'))), \
    made AS (INSERT INTO names (digest, name) SELECT sha256(convert_to($1, 'UTF8')), $1 \
             WHERE NOT EXISTS (SELECT FROM known) \
             ON CONFLICT (digest) DO UPDATE SET name = excluded.name RETURNING id) \
    SELECT id FROM known UNION ALL SELECT id FROM made";
