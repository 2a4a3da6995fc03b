use std::sync::Arc;

use swifthook_core::{Actor, Command, Event, Illegal, Job, JobId, QueueError, Rerun};

use super::Rules;
use super::enqueue::{Birth, Origin, Training};
use crate::store::{Entry, Latest, Store};

impl<S: Store> Rules<'_, S> {
    /// Makes a person's command happen.
    pub(crate) fn command(&mut self, id: JobId, what: Command, who: &Actor) -> Result<Job, QueueError> {
        let entry = self.known(id)?;
        match what {
            Command::Retry => {
                let as_before = Rerun { spec: entry.job.spec.clone(), hold: None };
                self.train_again(entry.job, as_before, &who.0)
            }
            // Once more, of what was given up before: its machine is not coming back to tell.
            Command::Abandon if entry.job.state.stage.is_final() => {
                self.give_back(id, &who.0)?;
                Ok(entry.job)
            }
            Command::Abandon => {
                let entry = self.out_of_sight(entry)?;
                Ok(self.happen(entry, Event::Command { what, at: self.now }, &who.0)?.job)
            }
            // Its end stays: what is trained again is another job.
            Command::BeginAnew if entry.job.state.stage.is_final() => {
                Err(Illegal { stage: entry.job.state.stage, event: what.words() }.into())
            }
            what => Ok(self.happen(entry, Event::Command { what, at: self.now }, &who.0)?.job),
        }
    }

    /// A run that nobody looks after cannot be reached either, though there was nobody to say so: its host may be gone
    /// for good, and a person must be able to give it up.
    fn out_of_sight(&mut self, entry: Entry) -> Result<Entry, QueueError> {
        let since = match &entry.owner {
            Some(owner) if owner.until > self.now => return Ok(entry),
            Some(owner) => owner.until,
            None => self.now,
        };
        if !entry.job.state.may_have_run() {
            return Ok(entry);
        }
        self.happen(entry, Event::Unreachable { since }, &"queue".into())
    }

    /// Trains a finished job's change again, by what the recipe of the moment makes of it.
    pub(crate) fn rerun(&mut self, id: JobId, rerun: Rerun, who: &Actor) -> Result<Job, QueueError> {
        let job = self.known(id)?.job;
        let is_this_change = rerun.spec.recipe == job.change.recipe
            && rerun.spec.config.as_deref().unwrap_or_default() == &*job.change.config;
        if !is_this_change {
            return Err(QueueError::NotThisChange(id));
        }
        self.train_again(job, rerun, &who.0)
    }

    /// A new training of a finished job's change. A person wants this very commit, so it is not too late for it.
    fn train_again(&mut self, job: Job, rerun: Rerun, who: &Arc<str>) -> Result<Job, QueueError> {
        let illegal = |stage| Illegal { stage, event: Command::Retry.words() };
        if !job.state.stage.is_final() {
            return Err(illegal(job.state.stage).into());
        }
        let (mut latest, mut last) = (self.latest_of(&job)?, None);
        if latest.job != job.id {
            let known = self.known_training(&job.change, latest)?;
            // One that is held for what another push was has nothing to wait for when the commit trains.
            if !known.stage.is_final() && known.answers_all() {
                return Err(illegal(known.stage).into());
            }
            latest = known.latest;
            last = self.store.entry(latest.job)?.map(|entry| entry.job);
        }
        let training = Training {
            run: latest.run + 1,
            redeliveries: latest.redeliveries,
            rerun_of: Some(job.id),
            may_be_late: false,
            last: Some(last.map_or((job.id, job.spec.clone()), |last| (last.id, last.spec))),
        };
        let birth = rerun.hold.map_or(Birth::Launch { not_before: None }, Birth::Hold);
        self.enqueue(&Origin::of(&job), rerun.spec, birth, training, who)
    }

    fn latest_of(&mut self, job: &Job) -> Result<Latest, QueueError> {
        let known = self.store.latest(&job.change)?;
        Ok(known.unwrap_or_else(|| Latest::first(job)))
    }
}
