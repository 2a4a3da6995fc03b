use std::sync::Arc;

use swifthook_core::{Diffed, Event, Job, QueueError, Stage, State, TimelineEntry, Timestamp};

use super::enqueue::{Birth, Origin, first_start};
use super::timeline;
use crate::ids::Ids;
use crate::store::{Entry, Store};

/// The rules, for the length of one transaction.
pub(crate) struct Rules<'a, S> {
    pub(crate) store: &'a mut S,
    pub(crate) ids: &'a Ids,
    pub(crate) now: Timestamp,
    /// Whether something came about that a worker would want to look at now.
    pub(crate) has_news: bool,
}

impl<'a, S: Store> Rules<'a, S> {
    pub(crate) fn new(store: &'a mut S, ids: &'a Ids, now: Timestamp) -> Self {
        Self { store, ids, now, has_news: false }
    }

    /// Makes `event` happen to a job, and writes all that follows from it: the state, the end of a lease, the
    /// jobs that give way or come about, the timeline.
    pub(super) fn happen(&mut self, entry: Entry, event: Event, who: &Arc<str>) -> Result<Entry, QueueError> {
        let before = entry.job.state.clone();
        let mut job = entry.job;
        job.state = before.clone().apply(event.clone(), &job.spec.retry)?;
        if job.state == before {
            return Ok(Entry { job, owner: entry.owner });
        }
        if before.stage == Stage::Held && job.state.stage == Stage::Queued {
            self.begin_waiting(&mut job, &event, who)?;
        }
        if job.state.stage.is_final() && job.state.stage != Stage::Superseded {
            job.superseded_by = None;
        }
        self.store.update(&job)?;
        self.keep_gpus(&before, &job, &event)?;
        self.keep_port(&before, &job, &event)?;
        if before.stage == Stage::Held && job.state.stage == Stage::Queued {
            self.train_for_all(&job, who)?;
        }
        let had_owner = entry.owner.is_some();
        let owner = entry.owner.filter(|_| keeps_lease(&job.state, &event));
        if had_owner && owner.is_none() {
            self.store.set_owner(job.id, None)?;
        }
        self.has_news |= owner.is_none() || job.state.stop != before.stop;
        if let Some(line) = timeline::line(&before, &job.state, &event, who, self.now) {
            self.store.note(job.id, line)?;
        }
        if let Event::Diffed { answer: Diffed::Expand { jobs, verdict }, .. } = event {
            let origin = Origin::of(&job);
            for (spec, birth) in jobs.into_iter().filter_map(|spec| Some((spec, Birth::of(&verdict)?))) {
                self.admit(&origin, spec, birth, false, who)?;
            }
        }
        Ok(Entry { job, owner })
    }

    /// Writes a line that no change of state stands behind.
    pub(super) fn remark(&mut self, job: &Job, who: &str, what: &str, why: String) -> Result<(), QueueError> {
        let line = TimelineEntry {
            at: self.now,
            who: who.into(),
            what: what.into(),
            stage: job.state.stage,
            why: Some(why),
        };
        self.store.note(job.id, line)
    }

    /// A held job becomes queued: from now on older ones give way to it, and if it was the diff that it waited
    /// for, it is debounced as if it had been queued when it came.
    fn begin_waiting(&mut self, job: &mut Job, event: &Event, who: &Arc<str>) -> Result<(), QueueError> {
        let older = self.contest(&(&*job).into(), &job.spec)?.older;
        let inherited = older.iter().filter_map(|rival| rival.debounce_since).min();
        if matches!(event, Event::Diffed { .. }) && job.spec.debounce.is_some() {
            let since = job.created_at.min(inherited.unwrap_or(job.created_at));
            let (not_before, waits_for) =
                first_start(job.state.not_before, job.spec.debounce, since, job.created_at);
            job.state.debounce_since = Some(since);
            job.state.not_before = not_before;
            job.state.waits_for = waits_for.filter(|_| not_before > Some(self.now));
        }
        self.give_way(&older, job, who)
    }
}

/// A lease goes on while the job is active, or is about to be; whatever else a job becomes, it waits for nobody or for
/// somebody else.
fn keeps_lease(state: &State, event: &Event) -> bool {
    match event {
        Event::Release => false,
        Event::Prepared(_) | Event::Warned(_) | Event::CheckpointLost { .. } => true,
        _ => state.stage.is_active(),
    }
}
