use swifthook_core::{Claimed, Event, Lease, QueueError, Worker};

use super::Rules;
use crate::store::{Entry, Owner, Seeker, Store};

impl<S: Store> Rules<'_, S> {
    /// Hands out the next job: an orphaned run, else work whose time has come, else a diff to make.
    pub(crate) fn claim(&mut self, worker: &Worker) -> Result<Option<Claimed>, QueueError> {
        while let Some(entry) = self.store.orphan(self.now, &worker.host)? {
            if let Some(claimed) = self.hand_out(entry, Event::Takeover { at: self.now }, worker)? {
                return Ok(Some(claimed));
            }
        }
        let seeker = Seeker { labels: &worker.labels, host: &worker.host, has_gpus: worker.has_gpus };
        while worker.slots_free > 0
            && let Some(entry) = self.store.due(self.now, seeker)?
        {
            // Whoever had it let his lease run out: what he looked at may be what killed him.
            let event = match &entry.owner {
                Some(_) => Event::Takeover { at: self.now },
                None => Event::Claim { at: self.now },
            };
            if let Some(claimed) = self.hand_out(entry, event, worker)? {
                return Ok(Some(claimed));
            }
        }
        while let Some(entry) = self.store.undiffed(self.now)? {
            if let Some(claimed) = self.hand_out(entry, Event::Claim { at: self.now }, worker)? {
                return Ok(Some(claimed));
            }
        }
        Ok(None)
    }

    /// Nothing is handed out of a job that is quarantined in place of being claimed.
    fn hand_out(
        &mut self,
        entry: Entry,
        event: Event,
        worker: &Worker,
    ) -> Result<Option<Claimed>, QueueError> {
        let had_news = self.has_news;
        let Entry { job, .. } = self.happen(entry, event, &worker.name)?;
        if job.state.stage.is_final() {
            return Ok(None);
        }
        // What was handed out is no news to anybody else.
        self.has_news = had_news;
        let owner = Owner {
            worker: worker.name.clone(),
            until: self.now.after(worker.lease),
            lasts: worker.lease,
            is_overdue: false,
        };
        self.store.set_owner(job.id, Some(&owner))?;
        let lease = Lease { job: job.id, epoch: job.state.epoch, attempt: job.state.attempt };
        Ok(Some(Claimed { lease, run: job.state.handle.clone(), job }))
    }
}
