//! The task of one job: it does whatever the job's state says is next, until there is nothing more to do.

mod admit;
mod collect;
mod diff;
mod follow;
mod gpus;
mod launch;
mod ports;
mod prepare;
mod recover;
mod vigil;
mod warn;

use std::sync::Arc;
use std::time::Duration;

use swifthook_core::{
    Claimed, Event, Job, Lease, Problem, Progress, QueueError, RunKey, Stage, Timestamp, TrainingLauncher,
    Workspace,
};
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use self::launch::Refusal;
use crate::catalog::{Catalog, Terms};
use crate::guard::{Panicked, caught_now};
use crate::observer::Moment;
use crate::options::Options;
use crate::orders::{Orders, until};
use crate::pace::Backoff;
use crate::spec::Places;
use crate::store::Store;

/// What all tasks of a runner share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) workspace: Arc<dyn Workspace>,
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) options: Options,
    pub(crate) diffs: Semaphore,
}

/// One claimed job.
pub(crate) struct Task {
    shared: Arc<Shared>,
    lease: Lease,
    job: Job,
    /// Runs of this worker that were under way when the job was claimed, itself not among them.
    running: usize,
    orders: watch::Receiver<Orders>,
    /// How far the run is: what the dispatcher stores when it renews the lease.
    progress: watch::Sender<Option<Progress>>,
    /// Why this task's own attempt has no run, as far as this task knows.
    refusal: Option<Refusal>,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing is left to do under this lease, which is over.
    Done,
    /// It was told to leave; the lease is still ours.
    Left,
    /// Another worker has the job.
    Lost,
    /// The queue does not accept what this task knows of the job; the lease may still be ours.
    Confused,
    /// The task itself panicked.
    Panicked,
}

impl Task {
    pub(crate) fn new(
        shared: Arc<Shared>,
        claimed: Claimed,
        running: usize,
        orders: watch::Receiver<Orders>,
        progress: watch::Sender<Option<Progress>>,
    ) -> Self {
        let Claimed { lease, job, .. } = claimed;
        Self { shared, lease, job, running, orders, progress, refusal: None }
    }

    pub(crate) async fn run(mut self) -> End {
        self.drive().await.err().unwrap_or(End::Done)
    }

    async fn drive(&mut self) -> Result<(), End> {
        if self.job.state.needs_diff() {
            return self.diff().await;
        }
        if self.job.state.stage.is_active() {
            self.tell(&Moment::Adopted);
        } else if let Some((terms, command)) = self.admit().await? {
            self.launch(&terms, command).await?;
        }
        while self.job.state.stage.is_active() {
            if self.job.state.evidence.is_some() {
                self.collect().await?;
            } else if let Some(run) = self.job.state.handle.clone() {
                self.follow(&run).await?;
            } else {
                self.recover().await?;
            }
        }
        Ok(())
    }

    /// Makes `event` happen, however long the store takes. The job is as it is afterwards, which need not be what the
    /// event alone would have made of it.
    async fn apply(&mut self, event: Event) -> Result<(), End> {
        match self.try_apply(event).await? {
            true => Ok(()),
            false => Err(End::Confused),
        }
    }

    /// The same for an event that takes GPUs; `false` if another attempt has one of them.
    async fn try_apply(&mut self, event: Event) -> Result<bool, End> {
        let mut backoff = Backoff::of_the_store();
        loop {
            match self.shared.store.apply(&self.lease, event.clone()).await {
                Ok(job) => {
                    self.job = job;
                    return Ok(true);
                }
                Err(QueueError::GpuTaken { .. }) => return Ok(false),
                Err(QueueError::StaleLease { .. }) => return Err(End::Lost),
                Err(error) if error.is_permanent() => {
                    tracing::warn!(%error, "the queue and this worker disagree about the job");
                    return Err(End::Confused);
                }
                Err(_) => self.pause(backoff.pause()).await?,
            }
        }
    }

    /// Waits, unless it is told to leave.
    async fn pause(&self, pause: Duration) -> Result<(), End> {
        tokio::select! {
            biased;
            () = until(&self.orders, |orders| orders.leave) => Err(End::Left),
            () = sleep(pause) => Ok(()),
        }
    }

    /// Waits, unless it is told to leave or, for the first time, to stop or to make way.
    async fn pause_unless_stopped(&self, pause: Duration) -> Result<(), End> {
        let (was_wanted, was_draining) = (self.is_stop_wanted(), self.orders.borrow().drain);
        tokio::select! {
            biased;
            () = until(&self.orders, |orders| orders.leave) => Err(End::Left),
            () = until(&self.orders, |orders| {
                !was_wanted && orders.stop.is_some() || !was_draining && orders.drain
            }) => Ok(()),
            () = sleep(pause) => Ok(()),
        }
    }

    fn is_stop_wanted(&self) -> bool {
        self.job.state.stage == Stage::Finishing || self.orders.borrow().stop.is_some()
    }

    fn tell(&self, moment: &Moment) {
        let job = &self.job;
        tracing::debug!(stage = %job.state.stage, ?moment);
        if let Err(panicked) = caught_now(|| self.shared.options.observer.observe(job, moment)) {
            tracing::error!(%panicked, "the observer failed");
        }
    }

    fn terms(&self) -> Result<Option<Terms>, Panicked> {
        caught_now(|| self.shared.catalog.terms(&self.job))
    }

    /// The launcher that has the job's run, or is to have it. It is looked up each time: a reload may have changed its
    /// settings.
    fn launcher(&self) -> Option<Arc<dyn TrainingLauncher>> {
        let state = &self.job.state;
        let name = state.handle.as_ref().map_or(&self.job.spec.launcher, |run| &run.launcher);
        caught_now(|| self.shared.catalog.launcher(name)).unwrap_or_else(|panicked| {
            tracing::error!(%panicked, launcher = &**name, "the catalog failed");
            None
        })
    }

    fn key(&self) -> RunKey {
        RunKey { job: self.job.id, attempt: self.job.state.attempt }
    }

    fn places(&self) -> Places {
        Places::new(&self.shared.options.state_dir, &self.key())
    }

    fn now(&self) -> Timestamp {
        self.shared.options.clock.now()
    }

    /// The wait before try `number + 1` of something, as the recipe has it, spread by the job's own share so that jobs
    /// that failed together do not come back together.
    fn wait(&self, number: u32) -> Duration {
        let time = u64::from_be_bytes(self.job.id.0[..8].try_into().expect("an id has 16 bytes"));
        let share = (time.wrapping_mul(GOLDEN) >> 56) as f64 / 255.0;
        self.job.spec.retry.wait(number, share)
    }
}

/// 2^64 over the golden ratio: the top bits of a product with it spread numbers that follow one another.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
