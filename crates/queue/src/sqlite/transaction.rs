use rusqlite::{Connection, OptionalExtension, Params, params};
use swifthook_core::{
    Change, CommitSha, Delivery, DeliveryId, GpuGrant, GpuLease, Identity, Job, JobId, Progress, QueueError,
    RepoName, RunKey, Stage, State, TimelineEntry, Timestamp,
};

use super::names::Names;
use super::rows::{self, RowError, entries};
use super::{due, gpus, old, ports, tips};
use crate::chain::{Chains, Place};
use crate::store::{
    Decisions, Entry, Latest, OldDeliveries, Owner, Rival, Seeker, Store, is_rival, waits_for_gpus,
};
use crate::tips::{Move, Tips};
use crate::{codec, ids};

/// What the thread that writes has at hand.
pub(super) struct Transaction<'a> {
    pub(super) connection: &'a Connection,
    pub(super) names: &'a mut Names,
    pub(super) chains: &'a mut Chains,
}

impl Transaction<'_> {
    fn execute(&self, sql: &str, params: impl Params) -> Result<(), RowError> {
        self.connection.prepare_cached(sql)?.execute(params)?;
        Ok(())
    }

    fn place(&mut self, change: &Change) -> Result<i64, RowError> {
        Ok(self.names.of_place(self.connection, &change.repository, &change.ref_name)?)
    }

    fn name(&mut self, name: &str) -> Result<i64, RowError> {
        Ok(self.names.of(self.connection, name)?)
    }

    fn hook(&mut self, name: Option<&str>) -> Result<Option<i64>, RowError> {
        name.map(|name| self.name(name)).transpose()
    }

    fn find_latest(&mut self, change: &Change) -> Result<Option<Latest>, RowError> {
        let key = (self.place(change)?, codec::commit_bytes(&change.head), self.name(&change.recipe)?);
        let sql = "SELECT c.job, c.rest, c.run, c.redeliveries, c.stage, c.source, names.name, c.guid, c.trained, \
                   c.before FROM changes c LEFT JOIN names ON names.id = c.hook \
                   WHERE c.place = ?1 AND c.head = ?2 AND c.recipe = ?3 AND c.config = ?4";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut found = statement.query(params![key.0, key.1, key.2, &*change.config])?;
        found.next()?.map(rows::latest).transpose()
    }

    fn put_latest(&mut self, change: &Change, latest: &Latest) -> Result<(), RowError> {
        let (place, recipe) = (self.place(change)?, self.name(&change.recipe)?);
        let (job, rest) = codec::halves(latest.job.0);
        let sql = "INSERT OR REPLACE INTO changes VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, \
                   ?14)";
        let removed = latest.removed.as_ref();
        let source = removed.map(|removed| codec::source_parts(&removed.source));
        let hook = self.hook(source.and_then(|(_, hook, _)| hook))?;
        self.execute(
            sql,
            params![
                place,
                codec::commit_bytes(&change.head),
                recipe,
                &*change.config,
                job,
                rest,
                latest.run,
                latest.redeliveries,
                removed.map(|removed| codec::stage_code(removed.stage)),
                source.map(|(kind, ..)| kind),
                hook,
                source.and_then(|(.., guid)| guid),
                latest.has_trained,
                removed.and_then(|removed| removed.before.as_ref()).map(codec::commit_bytes),
            ],
        )
    }

    fn find_decisions(&mut self, change: &Change) -> Result<Decisions, RowError> {
        let key = (self.place(change)?, codec::commit_bytes(&change.head), self.name(&change.recipe)?);
        let sql = "SELECT d.job, d.rest, d.run, d.redeliveries, d.stage, d.source, names.name, d.guid, d.trained, \
                   nullif(d.before, x'') FROM decisions d LEFT JOIN names ON names.id = d.hook \
                   WHERE d.place = ?1 AND d.head = ?2 AND d.recipe = ?3 AND d.config = ?4";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut found = statement.query(params![key.0, key.1, key.2, &*change.config])?;
        let mut decisions = Vec::new();
        while let Some(row) = found.next()? {
            decisions.push((rows::optional_commit(row, 9)?, rows::latest(row)?));
        }
        Ok(decisions)
    }

    fn put_decision(
        &mut self,
        change: &Change,
        before: Option<&CommitSha>,
        decided: &Latest,
    ) -> Result<(), RowError> {
        let (place, recipe) = (self.place(change)?, self.name(&change.recipe)?);
        let (job, rest) = codec::halves(decided.job.0);
        let sql = "INSERT OR REPLACE INTO decisions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, \
                   ?14)";
        let removed = decided.removed.as_ref();
        let source = removed.map(|removed| codec::source_parts(&removed.source));
        let hook = self.hook(source.and_then(|(_, hook, _)| hook))?;
        self.execute(
            sql,
            params![
                place,
                codec::commit_bytes(&change.head),
                recipe,
                &*change.config,
                before.map(codec::commit_bytes).unwrap_or_default(),
                job,
                rest,
                decided.run,
                decided.redeliveries,
                removed.map(|removed| codec::stage_code(removed.stage)),
                source.map(|(kind, ..)| kind),
                hook,
                source.and_then(|(.., guid)| guid),
                decided.has_trained,
            ],
        )
    }

    fn put_job(&mut self, job: &Job) -> Result<(), RowError> {
        let (id, rest) = codec::halves(job.id.0);
        let (source, hook, guid) = codec::source_parts(&job.source);
        let (spec, state) = (&job.spec, &job.state);
        let labels = (!spec.labels.is_empty()).then(|| codec::json(&spec.labels));
        let labels = labels.as_deref().map(|labels| std::str::from_utf8(labels).expect("JSON is UTF-8"));
        let sql = "INSERT INTO jobs (id, rest, format, stage, ran, needs_diff, priority, group_id, place, recipe, \
                   config, run, head, before, pushed_at, not_before, debounce_since, created_at, source, hook, \
                   guid, sender, labels, host, rerun_of, superseded_by, spec, state, turn, repository, waits_for_gpus, fingerprint, \
                   given_up, workload) \
                   VALUES (?1, ?2, ?3, \
                   ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, \
                   ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34)";
        let hook = self.hook(hook)?;
        let (group, place, recipe) =
            (self.name(&spec.group)?, self.place(&job.change)?, self.name(&spec.recipe)?);
        let repository = self.name(job.change.repository.as_str())?;
        self.execute(
            sql,
            params![
                id,
                rest,
                codec::FORMAT,
                codec::stage_code(state.stage),
                ran(job),
                state.needs_diff(),
                spec.priority,
                group,
                place,
                recipe,
                spec.config.as_deref(),
                job.change.run,
                codec::commit_bytes(&job.change.head),
                job.before.as_ref().map(codec::commit_bytes),
                millis(job.pushed_at),
                millis(state.not_before),
                millis(state.debounce_since),
                job.created_at.0,
                source,
                hook,
                guid,
                job.sender.as_deref(),
                labels,
                host(state),
                job.rerun_of.map(|id| id.0),
                job.superseded_by.map(|id| id.0),
                codec::spec_blob(spec),
                codec::state_blob(state),
                job.turn(),
                repository,
                waits_for_gpus(job),
                state.fingerprint.map(|fingerprint| fingerprint.0),
                state.is_given_up,
                alike(state),
            ],
        )
    }

    fn put_state(&mut self, job: &Job) -> Result<(), RowError> {
        let state = &job.state;
        let sql = "UPDATE jobs SET stage = ?2, ran = ?3, needs_diff = ?4, not_before = ?5, debounce_since = ?6, \
                   host = ?7, superseded_by = ?8, state = ?9, waits_for_gpus = ?10, fingerprint = ?11, \
                   given_up = ?12, workload = ?13 WHERE id = ?1";
        self.execute(
            sql,
            params![
                codec::halves(job.id.0).0,
                codec::stage_code(state.stage),
                ran(job),
                state.needs_diff(),
                millis(state.not_before),
                millis(state.debounce_since),
                host(state),
                job.superseded_by.map(|id| id.0),
                codec::state_blob(state),
                waits_for_gpus(job),
                state.fingerprint.map(|fingerprint| fingerprint.0),
                state.is_given_up,
                alike(state),
            ],
        )
    }

    fn put_owner(&mut self, id: JobId, owner: Option<&Owner>) -> Result<(), RowError> {
        let job = codec::halves(id.0).0;
        let Some(owner) = owner else {
            return self.execute("DELETE FROM leases WHERE job = ?1", (job,));
        };
        let lasts = i64::try_from(owner.lasts.as_millis()).unwrap_or(i64::MAX);
        let sql = "INSERT OR REPLACE INTO leases VALUES (?1, ?2, ?3, ?4, ?5)";
        self.execute(sql, params![job, &*owner.worker, owner.until.0, lasts, owner.is_overdue])
    }

    fn put_line(&mut self, id: JobId, line: &TimelineEntry) -> Result<(), RowError> {
        let sql = "INSERT INTO timeline SELECT ?1, ifnull(max(line) + 1, 0), ?2, ?3, ?4, ?5, ?6 \
                   FROM timeline WHERE job = ?1";
        let stage = codec::stage_code(line.stage);
        self.execute(sql, params![codec::halves(id.0).0, line.at.0, &*line.who, &*line.what, stage, line.why])
    }

    fn put_delivery(&mut self, delivery: &Delivery, jobs: &[JobId], known: &[JobId]) -> Result<(), RowError> {
        let (id, rest) = codec::halves(delivery.id.0);
        let (source, hook, guid) = codec::source_parts(&delivery.source);
        let hook = self.hook(hook)?;
        let place = self.names.of_place(self.connection, &delivery.repository, &delivery.ref_name)?;
        let config = self.names.of_config(self.connection, delivery.config)?;
        let bytes = |ids: &[JobId]| ids.iter().flat_map(|id| id.0).collect::<Vec<u8>>();
        let (jobs, known) = (bytes(jobs), bytes(known));
        let has_jobs = !jobs.is_empty();
        let sql = "INSERT INTO deliveries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, \
                   ?15, ?16, ?17, ?18, ?19)";
        self.execute(
            sql,
            params![
                id,
                rest,
                codec::FORMAT,
                delivery.received_at.0,
                place,
                delivery.before.as_ref().map(codec::commit_bytes),
                delivery.head.as_ref().map(codec::commit_bytes),
                source,
                hook,
                guid,
                delivery.sender.as_deref(),
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

    /// Rows are told apart by the number of their id alone. Another process may have given the same number to another
    /// receipt: this one then takes the next that is free, with its own rest, by which it is known again.
    fn find_free_id(&mut self, id: DeliveryId) -> Result<Option<DeliveryId>, RowError> {
        let (number, rest) = ids::split(id.0);
        let mut statement = self.connection.prepare_cached("SELECT rest FROM deliveries WHERE id = ?1")?;
        for number in number.. {
            let found =
                statement.query_row((number.cast_signed(),), |row| row.get::<_, i64>(0)).optional()?;
            match found {
                None => return Ok(Some(DeliveryId(ids::join(number, rest)))),
                Some(found) if found == rest.cast_signed() => break,
                Some(_) => {}
            }
        }
        Ok(None)
    }

    fn find_entry(&mut self, id: JobId) -> Result<Option<Entry>, RowError> {
        let (number, rest) = codec::halves(id.0);
        let sql = entries!("WHERE j.id = ?1 AND j.rest = ?2");
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut found = statement.query((number, rest))?;
        found.next()?.map(rows::entry).transpose()
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
        let sql = "UPDATE jobs SET progress = ?2 WHERE id = ?1";
        Ok(self.execute(sql, params![codec::halves(id.0).0, codec::json(&progress)])?)
    }

    fn set_owner(&mut self, id: JobId, owner: Option<&Owner>) -> Result<(), QueueError> {
        Ok(self.put_owner(id, owner)?)
    }

    fn note(&mut self, id: JobId, entry: TimelineEntry) -> Result<(), QueueError> {
        Ok(self.put_line(id, &entry)?)
    }

    fn free_id(&mut self, id: DeliveryId) -> Result<Option<DeliveryId>, QueueError> {
        Ok(self.find_free_id(id)?)
    }

    fn record(&mut self, delivery: &Delivery, jobs: &[JobId], known: &[JobId]) -> Result<(), QueueError> {
        Ok(self.put_delivery(delivery, jobs, known)?)
    }

    fn identify(&mut self, identity: &Identity) -> Result<(), QueueError> {
        self.name(&codec::identity_name(identity))?;
        Ok(())
    }

    fn chains(&mut self) -> &mut Chains {
        self.chains
    }

    fn rivals(
        &mut self,
        group: &str,
        pushed_at: Option<Timestamp>,
        is_chained: bool,
    ) -> Result<Vec<Rival>, QueueError> {
        let group = self.name(group)?;
        Ok(due::rivals(self.connection, group, millis(pushed_at), is_chained)?)
    }

    fn tips(&mut self, repository: &RepoName) -> Result<Option<Tips>, QueueError> {
        Ok(tips::read(self.connection, repository)?)
    }

    fn set_tips(&mut self, repository: &RepoName, tips: &Tips) -> Result<(), QueueError> {
        Ok(tips::keep(self.connection, repository, tips)?)
    }

    fn moves(&mut self, place: &Place) -> Result<Vec<Move>, QueueError> {
        Ok(tips::moves(self.connection, &place.0, &place.1)?)
    }

    fn orphan(&mut self, now: Timestamp, host: &str) -> Result<Option<Entry>, QueueError> {
        Ok(due::orphan(self.connection, now, host)?)
    }

    fn due(&mut self, now: Timestamp, seeker: Seeker<'_>) -> Result<Option<Entry>, QueueError> {
        Ok(due::queued(self.connection, now, seeker)?)
    }

    fn undiffed(&mut self, now: Timestamp) -> Result<Option<Entry>, QueueError> {
        Ok(due::undiffed(self.connection, now)?)
    }

    fn overdue(&mut self, now: Timestamp) -> Result<Vec<Entry>, QueueError> {
        Ok(due::overdue(self.connection, now)?)
    }

    fn lease_gpus(&mut self, run: RunKey, grant: &GpuGrant) -> Result<(), QueueError> {
        Ok(gpus::lease(self.connection, run, grant)?)
    }

    fn free_gpus(&mut self, job: JobId) -> Result<(), QueueError> {
        Ok(self.execute("DELETE FROM gpus WHERE job = ?1", (codec::halves(job.0).0,))?)
    }

    fn gpu_leases(&mut self, machine: Option<&str>) -> Result<Vec<GpuLease>, QueueError> {
        Ok(gpus::leases(self.connection, machine)?)
    }

    fn has_gpus(&mut self, job: JobId) -> Result<bool, QueueError> {
        Ok(gpus::are_of(self.connection, job)?)
    }

    fn gpu_waiters(&mut self) -> Result<Vec<Job>, QueueError> {
        Ok(gpus::waiters(self.connection)?)
    }

    fn stranded(&mut self, host: &str) -> Result<Vec<Job>, QueueError> {
        Ok(gpus::stranded(self.connection, host)?)
    }

    fn ports(&mut self, machine: &str) -> Result<Vec<u16>, QueueError> {
        Ok(ports::of(self.connection, machine)?)
    }

    fn lease_port(&mut self, machine: &str, port: u16, run: RunKey) -> Result<(), QueueError> {
        Ok(ports::lease(self.connection, machine, port, run)?)
    }

    fn free_ports(&mut self, job: JobId) -> Result<(), QueueError> {
        Ok(ports::free(self.connection, job)?)
    }

    fn ended(
        &mut self,
        stage: Stage,
        after: Option<JobId>,
        made_before: Timestamp,
        limit: usize,
    ) -> Result<Vec<JobId>, QueueError> {
        Ok(old::ended(self.connection, stage, after, made_before, limit)?)
    }

    fn remove(&mut self, id: JobId) -> Result<(), QueueError> {
        Ok(old::remove(self.connection, id)?)
    }

    fn old_deliveries(
        &mut self,
        after: Option<DeliveryId>,
        before: Timestamp,
        limit: usize,
    ) -> Result<OldDeliveries, QueueError> {
        Ok(old::deliveries(self.connection, after, before, limit)?)
    }

    fn remove_delivery(&mut self, id: DeliveryId) -> Result<(), QueueError> {
        Ok(old::remove_delivery(self.connection, id)?)
    }

    fn has_job(&mut self, id: JobId) -> Result<bool, QueueError> {
        Ok(old::has_job(self.connection, id)?)
    }
}

fn ran(job: &Job) -> bool {
    job.state.stage.is_final() && is_rival(job)
}

fn host(state: &State) -> Option<&str> {
    state.host()
}

/// By what a run is found that is like another.
fn alike(state: &State) -> Option<[u8; 32]> {
    state.workload.as_ref().map(|workload| workload.alike.0)
}

fn millis(at: Option<Timestamp>) -> Option<i64> {
    at.map(|at| at.0)
}
