use swifthook_core::{Event, Illegal, Job, JobId, Lease, Progress, QueueError, Renewal, Swept, Timestamp};

use super::Rules;
use crate::store::{Entry, Owner, Store};

impl<S: Store> Rules<'_, S> {
    /// Makes a worker's event happen, if the job is still its own.
    pub(crate) fn apply(&mut self, lease: &Lease, event: Event) -> Result<Job, QueueError> {
        let entry = self.known(lease.job)?;
        let state = &entry.job.state;
        if state.epoch != lease.epoch {
            return Err(QueueError::StaleLease { job: lease.job });
        }
        if state.stage.is_final() {
            return Ok(entry.job);
        }
        let Some(owner) = &entry.owner else { return Err(QueueError::StaleLease { job: lease.job }) };
        if matches!(event, Event::Claim { .. } | Event::Takeover { .. } | Event::Command { .. }) {
            return Err(Illegal { stage: state.stage, event: event.words() }.into());
        }
        // While it had no lease, another job of its group may have been handed out.
        if matches!(event, Event::Start { .. }) && owner.until <= self.now {
            return Err(QueueError::StaleLease { job: lease.job });
        }
        let who = owner.worker.clone();
        self.check_gpus(lease.job, &event)?;
        Ok(self.happen(entry, event, &who)?.job)
    }

    /// Prolongs the leases that are still their workers' own.
    pub(crate) fn renew(&mut self, lease: &Lease, progress: Option<Progress>) -> Result<Renewal, QueueError> {
        let Some(Entry { job, owner }) = self.store.entry(lease.job)? else { return Ok(Renewal::Lost) };
        if job.state.epoch != lease.epoch {
            return Ok(Renewal::Lost);
        }
        let Some(owner) = owner else { return Ok(Renewal::Over) };
        let owner = Owner { until: self.now.after(owner.lasts), is_overdue: false, ..owner };
        self.store.set_owner(job.id, Some(&owner))?;
        if let Some(progress) = progress.filter(|progress| job.progress.as_ref() != Some(progress)) {
            self.store.set_progress(job.id, progress)?;
        }
        Ok(match job.state.stop.filter(|_| job.state.evidence.is_none()) {
            Some(kind) => Renewal::StopWanted(kind),
            None => Renewal::Renewed,
        })
    }

    /// Says in the timelines whose leases have run out. The leases themselves stay: a worker that comes back
    /// before anybody else has taken its job goes on with it.
    pub(crate) fn sweep(&mut self) -> Result<Swept, QueueError> {
        let overdue = self.store.overdue(self.now)?;
        let expired = overdue.len() as u64;
        for Entry { job, owner } in overdue {
            let Some(owner) = owner else { continue };
            let why = silence(&owner, self.now);
            self.remark(&job, "queue", "lease_expired", why)?;
            self.store.set_owner(job.id, Some(&Owner { is_overdue: true, ..owner }))?;
            self.has_news = true;
        }
        Ok(Swept { expired, removed: 0 })
    }

    pub(super) fn known(&mut self, id: JobId) -> Result<Entry, QueueError> {
        self.store.entry(id)?.ok_or(QueueError::NotFound(id))
    }
}

/// Since when nothing was heard of a worker. A store that one process has ends every lease when it is opened.
fn silence(owner: &Owner, now: Timestamp) -> String {
    let Owner { worker, until, lasts, .. } = owner;
    if until.0 == 0 {
        return format!("{worker} ended without giving it back, and the store was opened again");
    }
    let heard_at = Timestamp(until.0.saturating_sub(i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX)));
    format!("nothing was heard of {worker} for {} s", now.since(heard_at).as_secs())
}
