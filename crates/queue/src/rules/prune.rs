use swifthook_core::{DeliveryId, Job, JobId, PruneFrom, Pruned, QueueError, Retention, Stage, Timestamp};

use super::Rules;
use crate::store::{Entry, Latest, Removed, Store};

impl<S: Store> Rules<'_, S> {
    /// Removes what is older than `retention` says, of the next few from where the last step ended.
    pub(crate) fn prune(
        &mut self,
        retention: Retention,
        from: PruneFrom,
        is_dry: bool,
    ) -> Result<Pruned, QueueError> {
        match from {
            PruneFrom::Jobs(stage, after) => self.prune_jobs(retention, stage, after, is_dry),
            PruneFrom::Deliveries(after) => self.prune_deliveries(retention, after, is_dry),
        }
    }

    fn prune_jobs(
        &mut self,
        retention: Retention,
        stage: Stage,
        after: Option<JobId>,
        is_dry: bool,
    ) -> Result<Pruned, QueueError> {
        let mut pruned = Pruned::default();
        let Some(keep) = retention.of(stage) else {
            return Ok(Pruned { next: Some(after_stage(stage)), ..pruned });
        };
        let ended = self.store.ended(stage, after, after_all_of(self.now.before(keep)), JOBS_A_STEP)?;
        pruned.next = Some(match ended.last() {
            Some(last) if ended.len() == JOBS_A_STEP => PruneFrom::Jobs(stage, Some(*last)),
            _ => after_stage(stage),
        });
        for id in ended {
            if let Some(latest) = self.leaves(id, retention)? {
                pruned.jobs += 1;
                if !is_dry {
                    self.remove(&latest)?;
                }
            }
        }
        Ok(pruned)
    }

    fn prune_deliveries(
        &mut self,
        retention: Retention,
        after: Option<DeliveryId>,
        is_dry: bool,
    ) -> Result<Pruned, QueueError> {
        let mut pruned = Pruned::default();
        // One without jobs goes by `keep`; one with jobs is younger than they are old.
        let Some(youngest) = retention.shortest() else { return Ok(pruned) };
        let old =
            self.store.old_deliveries(after, after_all_of(self.now.before(youngest)), DELIVERIES_A_STEP)?;
        if let Some((last, _)) = old.last().filter(|_| old.len() == DELIVERIES_A_STEP) {
            pruned.next = Some(PruneFrom::Deliveries(Some(*last)));
        }
        for (id, jobs) in old {
            let Some(jobs) = jobs else { continue };
            if self.delivery_leaves(id, &jobs, retention, is_dry)? {
                pruned.deliveries += 1;
                if !is_dry {
                    self.store.remove_delivery(id)?;
                }
            }
        }
        Ok(pruned)
    }

    fn delivery_leaves(
        &mut self,
        id: DeliveryId,
        jobs: &[JobId],
        retention: Retention,
        is_dry: bool,
    ) -> Result<bool, QueueError> {
        if jobs.is_empty() {
            return Ok(retention.keep.is_some_and(|keep| made_at(id) <= self.now.before(keep)));
        }
        for job in jobs {
            let stays = self.store.has_job(*job)? && !(is_dry && self.leaves(*job, retention)?.is_some());
            if stays {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a job is old enough, and nothing that goes on came of it: then what is left of it. One that cannot be
    /// read stays, for whoever repairs it.
    fn leaves(&mut self, id: JobId, retention: Retention) -> Result<Option<Leaving>, QueueError> {
        let job = match self.store.entry(id) {
            Ok(Some(Entry { job, .. })) => job,
            Ok(None) | Err(QueueError::Store { is_permanent: true, .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let (stage, ended) = (job.state.stage, job.state.finished_at.unwrap_or(job.created_at));
        if retention.of(stage).is_none_or(|keep| ended > self.now.before(keep)) {
            return Ok(None);
        }
        // Nobody else could tell whose they are.
        if job.state.gpus.is_some() && self.store.has_gpus(id)? {
            return Ok(None);
        }
        let removed = Some(Removed { stage, source: job.source.clone(), before: job.before.clone() });
        let has_run = job.state.attempt > 0;
        let latest = match self.store.latest(&job.change)? {
            Some(latest) if latest.job != id => {
                let later = self.known_training(&job.change, latest)?;
                if !later.stage.is_final() {
                    return Ok(None);
                }
                None
            }
            Some(latest) => Some(Latest { removed, has_trained: latest.has_trained || has_run, ..latest }),
            None => Some(Latest { removed, has_trained: has_run, ..Latest::first(&job) }),
        };
        Ok(Some(Leaving { job, latest }))
    }

    fn remove(&mut self, leaving: &Leaving) -> Result<(), QueueError> {
        let Leaving { job, latest } = leaving;
        if let Some(latest) = latest {
            self.store.set_latest(&job.change, latest)?;
        }
        if latest.as_ref().is_none_or(|latest| latest.run > 0) {
            self.leave_decision(job)?;
        }
        self.store.remove(job.id)
    }

    /// Keeps how a job ended that another push of its commit has taken the place of.
    fn leave_decision(&mut self, job: &Job) -> Result<(), QueueError> {
        let before = job.before.as_ref();
        let Some(decided) = self.store.decision(&job.change, before)?.filter(|decided| decided.job == job.id)
        else {
            return Ok(());
        };
        let removed =
            Removed { stage: job.state.stage, source: job.source.clone(), before: job.before.clone() };
        self.store.set_decision(&job.change, before, &Latest { removed: Some(removed), ..decided })
    }
}

/// A job that is to go.
struct Leaving {
    job: Job,
    /// What stays of it with its change, if it was the last training of that.
    latest: Option<Latest>,
}

/// The next final stage, or the deliveries.
fn after_stage(stage: Stage) -> PruneFrom {
    let mut later = Stage::ALL.into_iter().skip_while(|other| *other != stage).skip(1);
    later
        .find(|stage| stage.is_final())
        .map_or(PruneFrom::Deliveries(None), |stage| PruneFrom::Jobs(stage, None))
}

/// The first moment that is not this one any more.
fn after_all_of(at: Timestamp) -> Timestamp {
    at.after(std::time::Duration::from_millis(1))
}

fn made_at(id: DeliveryId) -> Timestamp {
    let (number, _) = crate::ids::split(id.0);
    crate::ids::time_of(number)
}

/// How many jobs a step looks at: few enough that a push never waits long behind it.
const JOBS_A_STEP: usize = 64;
/// The same for deliveries, which may have as many paths as are kept.
const DELIVERIES_A_STEP: usize = 128;
