use std::sync::Arc;

use swifthook_core::{Actor, Command, Event, Illegal, Job, JobId, QueueError};

use super::Rules;
use super::enqueue::{Birth, Origin, Training};
use crate::store::{Latest, Store};

impl<S: Store> Rules<'_, S> {
    /// Makes a person's command happen.
    pub(crate) fn command(&mut self, id: JobId, what: Command, who: &Actor) -> Result<Job, QueueError> {
        let entry = self.known(id)?;
        match what {
            Command::Retry => self.retry(entry.job, &who.0),
            what => Ok(self.happen(entry, Event::Command { what, at: self.now }, &who.0)?.job),
        }
    }

    /// A new training of a finished job's change. A person wants this very commit, so it is not too late for it.
    fn retry(&mut self, job: Job, who: &Arc<str>) -> Result<Job, QueueError> {
        let latest = self.latest_of(&job)?;
        let (latest, stage) = if latest.job == job.id {
            (latest, job.state.stage)
        } else {
            let known = self.known_training(&job.change, latest)?;
            (known.latest, known.stage)
        };
        if !stage.is_final() {
            return Err(Illegal { stage, event: Command::Retry.words() }.into());
        }
        let training = Training {
            run: latest.run + 1,
            redeliveries: latest.redeliveries,
            rerun_of: Some(job.id),
            may_be_late: false,
        };
        let birth = Birth::Launch { not_before: None };
        self.enqueue(&Origin::of(&job), job.spec, birth, training, who)
    }

    fn latest_of(&mut self, job: &Job) -> Result<Latest, QueueError> {
        let known = self.store.latest(&job.change)?;
        let first = Latest { job: job.id, run: job.change.run, redeliveries: 0, removed: None };
        Ok(known.unwrap_or(first))
    }
}
