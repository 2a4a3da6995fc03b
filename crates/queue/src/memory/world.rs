use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use swifthook_core::{
    Change, CommitSha, Delivery, DeliveryId, GpuGrant, GpuLease, Identity, Job, JobId, Progress, QueueError,
    RepoName, RunKey, RunLog, Stage, TimelineEntry, Timestamp,
};

use crate::chain::{Chains, Place};
use crate::ids::{join, number_at};
use crate::store::{
    Decisions, Entry, HEAD_START, Latest, OldDeliveries, Owner, Rival, Seeker, Store, is_rival,
    waits_for_gpus,
};
use crate::tips::{MOVES, Move, Tips};

/// Everything that a queue in memory knows.
#[derive(Default)]
pub(super) struct World {
    pub(super) jobs: BTreeMap<JobId, Entry>,
    pub(super) lines: HashMap<JobId, Vec<TimelineEntry>>,
    pub(super) logs: BTreeMap<RunKey, RunLog>,
    pub(super) deliveries: BTreeMap<DeliveryId, Delivery>,
    pub(super) changes: HashMap<Change, Latest>,
    decisions: HashMap<Change, Decisions>,
    /// Who has which GPU, by machine and GPU.
    pub(super) gpus: BTreeMap<(Arc<str>, Arc<str>), RunKey>,
    /// Who has which port, by machine and port.
    ports: BTreeMap<(Arc<str>, u16), JobId>,
    pub(super) tips: HashMap<RepoName, Tips>,
    pub(super) identities: BTreeSet<Identity>,
    chains: Chains,
    /// Jobs that have not ended, by stage, in the order in which they are claimed.
    open: HashMap<Stage, BTreeSet<(i64, JobId)>>,
    /// Jobs that count in a contest, by group.
    rivals: HashMap<Arc<str>, BTreeSet<JobId>>,
}

impl World {
    fn open(&self, stage: Stage) -> impl Iterator<Item = &Entry> {
        self.open.get(&stage).into_iter().flatten().map(|(_, id)| &self.jobs[id])
    }

    fn index(&mut self, job: &Job) {
        let place = (job.turn(), job.id);
        if !job.state.stage.is_final() {
            self.open.entry(job.state.stage).or_default().insert(place);
        }
        if is_rival(job) {
            self.rivals.entry(job.spec.group.clone()).or_default().insert(job.id);
        }
    }

    fn unindex(&mut self, id: JobId) {
        let job = &self.jobs[&id].job;
        let place = (job.turn(), job.id);
        if let Some(open) = self.open.get_mut(&job.state.stage) {
            open.remove(&place);
        }
        if let Some(rivals) = self.rivals.get_mut(&job.spec.group) {
            rivals.remove(&id);
            if rivals.is_empty() {
                self.rivals.remove(&job.spec.group);
            }
        }
    }

    fn is_group_free(&self, group: &str, now: Timestamp) -> bool {
        let members = self.rivals.get(group).into_iter().flatten().map(|id| &self.jobs[id]);
        !members.into_iter().any(|entry| match entry.job.state.stage {
            Stage::Queued => is_owned(entry, now),
            stage => stage.is_active(),
        })
    }

    fn is_group_active(&self, group: &str) -> bool {
        let mut members = self.rivals.get(group).into_iter().flatten();
        members.any(|id| self.jobs[id].job.state.stage.is_active())
    }

    fn existing(&mut self, id: JobId) -> Result<&mut Entry, QueueError> {
        self.jobs.get_mut(&id).ok_or(QueueError::NotFound(id))
    }
}

impl Store for World {
    fn latest(&mut self, change: &Change) -> Result<Option<Latest>, QueueError> {
        Ok(self.changes.get(&key(change)).cloned())
    }

    fn set_latest(&mut self, change: &Change, latest: &Latest) -> Result<(), QueueError> {
        self.changes.insert(key(change), latest.clone());
        Ok(())
    }

    fn decision(
        &mut self,
        change: &Change,
        before: Option<&CommitSha>,
    ) -> Result<Option<Latest>, QueueError> {
        let mut decided = self.decisions.get(&key(change)).into_iter().flatten();
        Ok(decided.find(|(its_before, _)| its_before.as_ref() == before).map(|(_, latest)| latest.clone()))
    }

    fn set_decision(
        &mut self,
        change: &Change,
        before: Option<&CommitSha>,
        decided: &Latest,
    ) -> Result<(), QueueError> {
        let all = self.decisions.entry(key(change)).or_default();
        all.retain(|(its_before, _)| its_before.as_ref() != before);
        all.push((before.cloned(), decided.clone()));
        Ok(())
    }

    fn decisions(&mut self, change: &Change) -> Result<Decisions, QueueError> {
        Ok(self.decisions.get(&key(change)).cloned().unwrap_or_default())
    }

    fn entry(&mut self, id: JobId) -> Result<Option<Entry>, QueueError> {
        Ok(self.jobs.get(&id).cloned())
    }

    fn insert(&mut self, job: &Job) -> Result<(), QueueError> {
        self.index(job);
        self.jobs.insert(job.id, Entry { job: job.clone(), owner: None });
        Ok(())
    }

    fn update(&mut self, job: &Job) -> Result<(), QueueError> {
        self.unindex(job.id);
        self.index(job);
        self.existing(job.id)?.job = job.clone();
        Ok(())
    }

    fn set_progress(&mut self, id: JobId, progress: Progress) -> Result<(), QueueError> {
        self.existing(id)?.job.progress = Some(progress);
        Ok(())
    }

    fn set_owner(&mut self, id: JobId, owner: Option<&Owner>) -> Result<(), QueueError> {
        self.existing(id)?.owner = owner.cloned();
        Ok(())
    }

    fn note(&mut self, id: JobId, entry: TimelineEntry) -> Result<(), QueueError> {
        self.lines.entry(id).or_default().push(entry);
        Ok(())
    }

    fn free_id(&mut self, id: DeliveryId) -> Result<Option<DeliveryId>, QueueError> {
        Ok((!self.deliveries.contains_key(&id)).then_some(id))
    }

    fn record(&mut self, delivery: &Delivery, jobs: &[JobId], known: &[JobId]) -> Result<(), QueueError> {
        let (jobs, known) = (jobs.into(), known.into());
        self.deliveries.insert(delivery.id, Delivery { jobs, known, ..delivery.clone() });
        Ok(())
    }

    fn identify(&mut self, identity: &Identity) -> Result<(), QueueError> {
        self.identities.insert(identity.clone());
        Ok(())
    }

    fn chains(&mut self) -> &mut Chains {
        &mut self.chains
    }

    fn rivals(
        &mut self,
        group: &str,
        _pushed_at: Option<Timestamp>,
        _is_chained: bool,
    ) -> Result<Vec<Rival>, QueueError> {
        let members = self.rivals.get(group).into_iter().flatten();
        Ok(members.map(|id| Rival::from(&self.jobs[id].job)).collect())
    }

    fn tips(&mut self, repository: &RepoName) -> Result<Option<Tips>, QueueError> {
        Ok(self.tips.get(repository).cloned())
    }

    fn set_tips(&mut self, repository: &RepoName, tips: &Tips) -> Result<(), QueueError> {
        self.tips.insert(repository.clone(), tips.clone());
        Ok(())
    }

    fn moves(&mut self, place: &Place) -> Result<Vec<Move>, QueueError> {
        let is_there = |delivery: &&Delivery| delivery.repository == place.0 && delivery.ref_name == place.1;
        let step = |delivery: &Delivery| {
            let pushed_at = delivery.facts.and_then(|facts| facts.pushed_at);
            Some(Move {
                before: delivery.before.clone(),
                head: delivery.head.clone()?,
                at: pushed_at.unwrap_or(delivery.received_at),
            })
        };
        Ok(self.deliveries.values().rev().filter(is_there).filter_map(step).take(MOVES).collect())
    }

    fn orphan(&mut self, now: Timestamp, host: &str) -> Result<Option<Entry>, QueueError> {
        let active = self.open(Stage::Running).chain(self.open(Stage::Finishing));
        let orphans = active.filter(|entry| {
            !is_owned(entry, now) && entry.job.state.host().is_none_or(|its_host| its_host == host)
        });
        Ok(orphans.min_by_key(|entry| entry.job.id).cloned())
    }

    fn due(&mut self, now: Timestamp, seeker: Seeker<'_>) -> Result<Option<Entry>, QueueError> {
        let of_others = if seeker.has_gpus { now } else { now.before(HEAD_START) };
        let due = self.open(Stage::Queued).find(|entry| {
            let spec = &entry.job.spec;
            is_due(entry, now)
                && (!waits_for_gpus(&entry.job) || entry.job.state.not_before <= Some(of_others))
                && spec.labels.iter().all(|label| seeker.labels.contains(label))
                && entry.job.state.host().is_none_or(|host| host == seeker.host)
                && self.is_group_free(&spec.group, now)
        });
        Ok(due.cloned())
    }

    fn undiffed(&mut self, now: Timestamp) -> Result<Option<Entry>, QueueError> {
        let waiting = self.open(Stage::Held);
        let mut undiffed = waiting.filter(|entry| entry.job.state.needs_diff() && is_due(entry, now));
        Ok(undiffed.next().cloned())
    }

    fn overdue(&mut self, now: Timestamp) -> Result<Vec<Entry>, QueueError> {
        let open =
            Stage::ALL.into_iter().filter(|stage| !stage.is_final()).flat_map(|stage| self.open(stage));
        let is_overdue = |owner: &Owner| owner.is_lost(now) && !owner.is_overdue;
        Ok(open.filter(|entry| entry.owner.as_ref().is_some_and(is_overdue)).cloned().collect())
    }

    fn lease_gpus(&mut self, run: RunKey, grant: &GpuGrant) -> Result<(), QueueError> {
        let keys = grant.uuids.iter().map(|uuid| (grant.machine.clone(), uuid.clone()));
        self.gpus.extend(keys.map(|key| (key, run)));
        Ok(())
    }

    fn free_gpus(&mut self, job: JobId) -> Result<(), QueueError> {
        self.gpus.retain(|_, run| run.job != job);
        Ok(())
    }

    fn gpu_leases(&mut self, machine: Option<&str>) -> Result<Vec<GpuLease>, QueueError> {
        let leases = self.gpus.iter().filter(|((its, _), _)| machine.is_none_or(|machine| **its == *machine));
        let lease = |((machine, uuid), run): (&(Arc<str>, Arc<str>), &RunKey)| GpuLease {
            machine: machine.clone(),
            uuid: uuid.clone(),
            run: *run,
        };
        Ok(leases.map(lease).collect())
    }

    fn has_gpus(&mut self, job: JobId) -> Result<bool, QueueError> {
        Ok(self.gpus.values().any(|run| run.job == job))
    }

    fn gpu_waiters(&mut self) -> Result<Vec<Job>, QueueError> {
        let waiting = self.open(Stage::Queued).map(|entry| &entry.job).filter(|job| waits_for_gpus(job));
        Ok(waiting.filter(|job| !self.is_group_active(&job.spec.group)).cloned().collect())
    }

    fn stranded(&mut self, host: &str) -> Result<Vec<Job>, QueueError> {
        let with_gpus: BTreeSet<JobId> = self.gpus.values().map(|run| run.job).collect();
        let is_stranded = |job: &&Job| {
            let state = &job.state;
            (state.is_given_up || with_gpus.contains(&job.id))
                && state.stage.is_final()
                && state.host().is_none_or(|its_host| its_host == host)
        };
        Ok(self.jobs.values().map(|entry| &entry.job).filter(is_stranded).cloned().collect())
    }

    fn ports(&mut self, machine: &str) -> Result<Vec<u16>, QueueError> {
        Ok(self.ports.keys().filter(|(its, _)| **its == *machine).map(|(_, port)| *port).collect())
    }

    fn lease_port(&mut self, machine: &str, port: u16, run: RunKey) -> Result<(), QueueError> {
        self.ports.insert((machine.into(), port), run.job);
        Ok(())
    }

    fn free_ports(&mut self, job: JobId) -> Result<(), QueueError> {
        self.ports.retain(|_, its| *its != job);
        Ok(())
    }

    fn ended(
        &mut self,
        stage: Stage,
        after: Option<JobId>,
        made_before: Timestamp,
        limit: usize,
    ) -> Result<Vec<JobId>, QueueError> {
        let end = JobId(join(number_at(made_before), 0));
        let old = self.jobs.iter().skip_while(|(id, _)| Some(**id) <= after).take_while(|(id, _)| **id < end);
        let ended = old.filter(|(_, entry)| entry.job.state.stage == stage);
        Ok(ended.map(|(id, _)| *id).take(limit).collect())
    }

    fn remove(&mut self, id: JobId) -> Result<(), QueueError> {
        self.unindex(id);
        self.jobs.remove(&id);
        self.lines.remove(&id);
        self.logs.retain(|run, _| run.job != id);
        self.gpus.retain(|_, run| run.job != id);
        self.ports.retain(|_, its| *its != id);
        Ok(())
    }

    fn old_deliveries(
        &mut self,
        after: Option<DeliveryId>,
        before: Timestamp,
        limit: usize,
    ) -> Result<OldDeliveries, QueueError> {
        let end = DeliveryId(join(number_at(before), 0));
        let later = self.deliveries.iter().skip_while(|(id, _)| Some(**id) <= after);
        let old = later.take_while(|(id, _)| **id < end);
        Ok(old.map(|(id, delivery)| (*id, Some(delivery.jobs.clone()))).take(limit).collect())
    }

    fn remove_delivery(&mut self, id: DeliveryId) -> Result<(), QueueError> {
        self.deliveries.remove(&id);
        Ok(())
    }

    fn has_job(&mut self, id: JobId) -> Result<bool, QueueError> {
        Ok(self.jobs.contains_key(&id))
    }
}

fn is_owned(entry: &Entry, now: Timestamp) -> bool {
    entry.owner.as_ref().is_some_and(|owner| !owner.is_lost(now))
}

fn is_due(entry: &Entry, now: Timestamp) -> bool {
    !is_owned(entry, now) && entry.job.state.not_before.is_none_or(|at| at <= now)
}

/// A change whatever its run: what is known of it is kept with its last training.
fn key(change: &Change) -> Change {
    Change { run: 0, ..change.clone() }
}
