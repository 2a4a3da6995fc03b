//! What a job waits for that has not been looked at: its turn.

use std::collections::HashSet;
use std::sync::Arc;

use swifthook_core::{Job, JobFilter, KnownWorker, QueueError, Stage, Timestamp};

use super::job::JobView;
use super::router::Api;
use super::workers::is_missing;

/// What is at work, as far as it keeps others from beginning.
#[derive(Default)]
pub(super) struct AtWork {
    workers: Vec<KnownWorker>,
    /// Groups of jobs that have a run.
    groups: HashSet<Arc<str>>,
}

/// Views of jobs, with what each waits for.
pub(super) async fn views(api: &Api, jobs: &[Job], now: Timestamp) -> Result<Vec<JobView>, QueueError> {
    let is_waiting = |job: &Job| is_due(job, now) && !api.changes.is_in_hand(job.id);
    let at_work = match jobs.iter().any(is_waiting) {
        true => AtWork::of(api, now).await?,
        false => AtWork::default(),
    };
    let view = |job: &Job| match is_waiting(job) {
        true => at_work.view(job),
        false => JobView::from(job),
    };
    Ok(jobs.iter().map(view).collect())
}

/// The view of one job, with what it waits for.
pub(super) async fn view(api: &Api, job: &Job, now: Timestamp) -> Result<JobView, QueueError> {
    let mut views = views(api, std::slice::from_ref(job), now).await?;
    Ok(views.pop().expect("there is one for each job"))
}

impl AtWork {
    async fn of(api: &Api, now: Timestamp) -> Result<Self, QueueError> {
        let active = JobFilter {
            stages: vec![Stage::Running, Stage::Finishing],
            limit: MOST_RUNS,
            ..JobFilter::default()
        };
        let runs = api.store.jobs(&active).await?;
        let mut workers = api.store.workers().await?;
        workers.retain(|worker| !is_missing(worker, now) && !worker.is_draining);
        Ok(Self { workers, groups: runs.into_iter().map(|job| job.spec.group).collect() })
    }

    fn view(&self, job: &Job) -> JobView {
        let view = JobView::from(job);
        if view.waits_for.is_some() || self.may_be_claimed(job) {
            return view;
        }
        let (word, detail) = self.turn(job);
        JobView { waits_for: Some(word.to_owned()), detail: view.detail.or(Some(detail)), ..view }
    }

    /// Tells whether a worker of another process may be looking at it.
    fn may_be_claimed(&self, job: &Job) -> bool {
        self.workers.len() > 1 && job.state.epoch > 0 && !job.state.is_released
    }

    /// Why its turn has not come, as a word and for people.
    fn turn(&self, job: &Job) -> (&'static str, String) {
        let labels = &job.spec.labels;
        let fits = |worker: &&KnownWorker| labels.iter().all(|label| worker.labels.contains(label));
        let fitting: Vec<_> = self.workers.iter().filter(fits).collect();
        if self.groups.contains(&job.spec.group) {
            return ("group", format!("another job of its group `{}` has a run", job.spec.group));
        }
        if self.workers.is_empty() {
            return ("worker", "no worker is there".to_owned());
        }
        if fitting.is_empty() {
            return ("labels", format!("no worker has the labels {}", labels.join(", ")));
        }
        let count = |of: fn(&KnownWorker) -> usize| fitting.iter().map(|worker| of(worker)).sum::<usize>();
        let (busy, slots) = (count(|worker| worker.busy), count(|worker| worker.slots));
        ("slot", format!("its turn has not come: {busy} of {slots} slots are taken"))
    }
}

/// Tells whether it waits for nothing but its turn.
fn is_due(job: &Job, now: Timestamp) -> bool {
    let state = &job.state;
    let is_time = state.not_before.is_none_or(|at| at <= now);
    state.stage == Stage::Queued && is_time && state.waits_for.is_none()
}

/// More than any number of machines has.
const MOST_RUNS: usize = 10_000;
