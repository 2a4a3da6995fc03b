//! Owns what the runner knows: its jobs, their leases, and what is due. Whatever waits is a task of its own.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use swifthook_core::{Claimed, Duty, Event, Job, Lease, Progress, QueueError, Renewal};
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tracing::Instrument;

use crate::guard::{caught, caught_now};
use crate::observer::Moment;
use crate::options::Drain;
use crate::orders::Orders;
use crate::pace::Backoff;
use crate::runner::Status;
use crate::stranded;
use crate::task::{End, Shared, Task};
use crate::timer::Timer;

pub(crate) struct Dispatcher {
    shared: Arc<Shared>,
    wake: Arc<Notify>,
    status: watch::Sender<Status>,
    jobs: BTreeMap<Lease, Entry>,
    tasks: JoinSet<Done>,
    claim: Timer,
    renew: Timer,
    sweep: Timer,
    beat: Timer,
    /// What is told of this runner next.
    duty: Duty,
    /// How many heartbeats are on their way.
    telling: usize,
    /// How many runs the last heartbeat told of.
    told_runs: usize,
    /// Whether it claims nothing more and waits for its runs to make way.
    is_draining: bool,
    /// Jobs whose tasks left by themselves: they are still ours, and are released at the end.
    left: Vec<(Lease, Job)>,
    claim_backoff: Backoff,
}

/// A job that has a task.
struct Entry {
    job: Job,
    orders: watch::Sender<Orders>,
    progress: watch::Receiver<Option<Progress>>,
    takes_slot: bool,
    task: AbortHandle,
}

/// What a task comes back with.
enum Done {
    Claimed(Result<Option<Box<Claimed>>, QueueError>),
    Renewed(Vec<Lease>, Result<Vec<Renewal>, QueueError>),
    Swept,
    Told(Result<(), QueueError>),
    Job(Lease, End),
    Released,
}

impl Dispatcher {
    pub(crate) fn new(shared: Arc<Shared>, wake: Arc<Notify>, status: watch::Sender<Status>) -> Self {
        Self {
            shared,
            wake,
            status,
            jobs: BTreeMap::new(),
            tasks: JoinSet::new(),
            claim: Timer::new(CLAIM_PAUSE),
            renew: Timer::new(RENEW_PAUSE),
            sweep: Timer::new(Duration::ZERO),
            beat: Timer::new(BEAT_PAUSE),
            duty: Duty::Begins,
            telling: 0,
            told_runs: 0,
            is_draining: false,
            left: Vec::new(),
            claim_backoff: Backoff::of_the_store(),
        }
    }

    pub(crate) async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let wake = self.wake.clone();
        loop {
            self.begin_what_is_due();
            self.publish(true);
            let due = self.next_due();
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(done) = self.tasks.join_next() => self.take(done),
                () = wake.notified() => self.hinted(),
                () = sleep_until(due) => {}
            }
        }
        if self.shared.options.drain == Drain::Yield {
            self.drain().await;
        }
        self.leave().await;
        self.publish(false);
    }

    /// Lets every run save and make way, and waits for that. What a claim still brings is let go by its task.
    async fn drain(&mut self) {
        self.is_draining = true;
        self.duty = Duty::Drains;
        self.tell_of_itself();
        tracing::info!(runs = self.slots_taken(), "runs are to save and make way");
        for entry in self.jobs.values() {
            entry.orders.send_modify(|orders| orders.drain = true);
        }
        while self.claim.is_under_way || !self.jobs.is_empty() {
            self.begin_what_is_due();
            self.publish(true);
            let due = self.next_due();
            tokio::select! {
                biased;
                Some(done) = self.tasks.join_next() => self.take(done),
                () = sleep_until(due) => {}
            }
        }
    }

    fn begin_what_is_due(&mut self) {
        let now = Instant::now();
        if !self.is_draining && self.claim.begin(now) {
            let (shared, slots_free) = (self.shared.clone(), self.slots_free());
            self.tasks.spawn(async move {
                let worker = shared.options.worker(slots_free);
                let claimed = in_time(shared.options.lease, shared.store.claim(&worker)).await;
                Done::Claimed(claimed.map(|claimed| claimed.map(Box::new)))
            });
        }
        if !self.jobs.is_empty() && self.renew.begin(now) {
            let shared = self.shared.clone();
            let leases: Vec<_> =
                self.jobs.iter().map(|(lease, entry)| (*lease, *entry.progress.borrow())).collect();
            self.tasks.spawn(async move {
                let answer = in_time(shared.options.lease, shared.store.renew(&leases)).await;
                Done::Renewed(leases.into_iter().map(|(lease, _)| lease).collect(), answer)
            });
        }
        if self.sweep.begin(now) {
            let shared = self.shared.clone();
            self.tasks.spawn(async move {
                if let Ok(swept) = in_time(shared.options.sweep, shared.store.sweep()).await {
                    tracing::debug!(expired = swept.expired, removed = swept.removed, "swept");
                }
                // As many as there are, and as long as they take: this is no reason to sweep later.
                let _ = timeout(shared.options.sweep, stranded::clear(&shared)).await;
                Done::Swept
            });
        }
        if self.slots_taken() != self.told_runs {
            self.beat.hint();
        }
        if self.beat.begin(now) {
            self.tell_of_itself();
        }
    }

    /// Lets others know that this runner is there. Nothing hangs on it, so nobody waits for it.
    fn tell_of_itself(&mut self) {
        let (shared, beat) =
            (self.shared.clone(), self.shared.options.heartbeat(self.slots_taken(), self.duty));
        self.telling += 1;
        self.told_runs = beat.busy;
        self.tasks.spawn(async move {
            Done::Told(in_time(shared.options.lease, shared.store.heartbeat(&beat)).await)
        });
    }

    fn next_due(&self) -> Instant {
        let claim = (!self.is_draining).then_some(&self.claim);
        let renew = (!self.jobs.is_empty()).then_some(&self.renew);
        [claim, renew, Some(&self.sweep), Some(&self.beat)]
            .into_iter()
            .flatten()
            .filter(|timer| !timer.is_under_way)
            .map(|timer| timer.due)
            .min()
            // Everything is under way, and one of the answers comes first.
            .unwrap_or_else(|| Instant::now() + self.shared.options.sweep)
    }

    fn hinted(&mut self) {
        self.claim.hint();
        self.renew.hint();
    }

    fn take(&mut self, done: Result<Done, JoinError>) {
        match done {
            Ok(Done::Claimed(answer)) => self.claimed(answer),
            Ok(Done::Renewed(leases, answer)) => self.renewed(&leases, answer),
            Ok(Done::Swept) => self.sweep.end(self.shared.options.sweep),
            Ok(Done::Told(answer)) => {
                self.telling -= 1;
                if answer.is_ok() && self.duty == Duty::Begins {
                    self.duty = Duty::Works;
                }
                self.beat.end(self.shared.options.lease / 3);
            }
            Ok(Done::Job(lease, end)) => self.ended(lease, end),
            Ok(Done::Released) => {}
            // Cancelled by us: the job was lost. Nothing else can be, since panics are caught in the task.
            Err(_) => {}
        }
    }

    fn claimed(&mut self, answer: Result<Option<Box<Claimed>>, QueueError>) {
        match answer {
            Ok(Some(claimed)) => {
                self.claim.end(Duration::ZERO);
                self.begin_job(*claimed);
            }
            Ok(None) => self.claim.end(self.shared.options.idle),
            Err(_) => {
                self.claim.end(self.claim_backoff.pause());
                return;
            }
        }
        self.claim_backoff = Backoff::of_the_store();
    }

    fn begin_job(&mut self, claimed: Claimed) {
        let (lease, job) = (claimed.lease, claimed.job.clone());
        let takes_slot = !job.state.needs_diff();
        // The lease began after the question for it was sent.
        let valid_until = self.claim.asked_at + self.shared.options.lease;
        let (orders, told) = watch::channel(Orders {
            valid_until,
            stop: job.state.stop,
            leave: false,
            drain: self.is_draining,
            is_over: false,
        });
        let (reports, progress) = watch::channel(None);
        let task = Task::new(self.shared.clone(), claimed, self.slots_taken(), told, reports);
        let attempt = tracing::field::Empty;
        let span = tracing::info_span!("job", id = %job.id, recipe = &*job.spec.recipe, attempt);
        if job.state.stage.is_active() {
            span.record("attempt", job.state.attempt);
        }
        // Boxed since it is moved several times until it is spawned, and large.
        let work = Box::pin(async move {
            let end = caught(task.run()).await.unwrap_or_else(|panicked| {
                tracing::error!(%panicked, "the task of a job failed; its lease is left to run out");
                End::Panicked
            });
            Done::Job(lease, end)
        });
        let task = self.tasks.spawn(work.instrument(span));
        if self.jobs.is_empty() && !self.renew.is_under_way {
            self.renew.end(self.shared.options.lease / 3);
        }
        self.jobs.insert(lease, Entry { job, orders, progress, takes_slot, task });
    }

    fn renewed(&mut self, leases: &[Lease], answer: Result<Vec<Renewal>, QueueError>) {
        let valid_until = self.renew.asked_at + self.shared.options.lease;
        let Ok(renewals) = answer else {
            return self.renew.end(self.shared.options.lease / 10);
        };
        self.renew.end(self.shared.options.lease / 3);
        for (lease, renewal) in leases.iter().zip(renewals) {
            match renewal {
                Renewal::Renewed => self.order(lease, |orders| orders.valid_until = valid_until),
                Renewal::StopWanted(kind) => self.order(lease, |orders| {
                    (orders.valid_until, orders.stop) = (valid_until, Some(kind));
                }),
                // Its task knows, or hears so with its next event; what it cleans up is its own.
                Renewal::Over => self.order(lease, |orders| orders.is_over = true),
                Renewal::Lost => self.lose(lease),
            }
        }
    }

    fn order(&self, lease: &Lease, change: impl FnOnce(&mut Orders)) {
        if let Some(entry) = self.jobs.get(lease) {
            entry.orders.send_modify(change);
        }
    }

    /// The job is another worker's: its task stops where it stands.
    fn lose(&mut self, lease: &Lease) {
        if let Some(entry) = self.jobs.remove(lease) {
            entry.task.abort();
            tracing::info!(job = %lease.job, "its lease was lost to another worker");
            self.tell(&entry.job, &Moment::Lost);
        }
    }

    fn ended(&mut self, lease: Lease, end: End) {
        if end == End::Lost {
            return self.lose(&lease);
        }
        let entry = self.jobs.remove(&lease);
        match end {
            End::Confused => self.release_later(lease),
            // While it drains a task leaves by itself, as when its run cannot make way.
            End::Left => self.left.extend(entry.map(|entry| (lease, entry.job))),
            _ => {}
        }
        // There is room now.
        self.claim.hint();
    }

    /// Gives the job back, so that whoever claims it next sees how it really is. Not at once, since that may well be
    /// this runner, and it may well go wrong again.
    fn release_later(&mut self, lease: Lease) {
        let shared = self.shared.clone();
        self.tasks.spawn(async move {
            sleep(CONFUSION_PAUSE).await;
            let _ = shared.store.apply(&lease, Event::Release).await;
            Done::Released
        });
    }

    /// Lets go of everything. Runs go on.
    async fn leave(&mut self) {
        let deadline = Instant::now() + self.shared.options.patience;
        self.duty = Duty::Drains;
        self.tell_of_itself();
        for entry in self.jobs.values() {
            entry.orders.send_modify(|orders| orders.leave = true);
        }
        let mut held = std::mem::take(&mut self.left);
        // A heartbeat that is on its way might come behind the last one, and be taken for a worker's that is back.
        while self.claim.is_under_way || self.telling > 0 || !self.jobs.is_empty() {
            let Ok(Some(done)) = timeout_at(deadline, self.tasks.join_next()).await else { break };
            match done {
                Ok(Done::Claimed(answer)) => {
                    self.claim.is_under_way = false;
                    held.extend(answer.ok().flatten().map(|claimed| (claimed.lease, claimed.job)));
                }
                Ok(Done::Job(lease, end)) => {
                    let entry = self.jobs.remove(&lease);
                    held.extend(entry.filter(|_| end == End::Left).map(|entry| (lease, entry.job)));
                }
                Ok(Done::Told(_)) => self.telling -= 1,
                _ => {}
            }
        }
        held.extend(std::mem::take(&mut self.jobs).into_iter().map(|(lease, entry)| (lease, entry.job)));
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        self.release(held).await;
        // Where that cannot be told it is seen to be missing, and forgotten after a while.
        if self.telling == 0 && !self.shared.store.is_down() {
            let beat = self.shared.options.heartbeat(0, Duty::Ends);
            let _ = in_time(self.shared.options.patience, self.shared.store.heartbeat(&beat)).await;
        }
    }

    async fn release(&mut self, held: Vec<(Lease, Job)>) {
        for (lease, job) in held {
            let (shared, patience) = (self.shared.clone(), self.shared.options.patience);
            self.tasks.spawn(async move {
                match in_time(patience, shared.store.apply(&lease, Event::Release)).await {
                    Ok(job) => tell(&shared, &job, &Moment::Released),
                    Err(error) => tracing::warn!(job = %job.id, %error, "not released; its lease runs out"),
                }
                Done::Released
            });
        }
        while self.tasks.join_next().await.is_some() {}
    }

    fn slots_taken(&self) -> usize {
        self.jobs.values().filter(|entry| entry.takes_slot).count()
    }

    fn slots_free(&self) -> usize {
        self.shared.options.slots.saturating_sub(self.slots_taken())
    }

    fn tell(&self, job: &Job, moment: &Moment) {
        tell(&self.shared, job, moment);
    }

    fn publish(&self, is_running: bool) {
        let status = Status {
            is_running,
            runs: self.slots_taken(),
            slots: self.shared.options.slots,
            store_is_down: self.shared.store.is_down(),
        };
        self.status.send_if_modified(|last| std::mem::replace(last, status) != status);
    }
}

fn tell(shared: &Shared, job: &Job, moment: &Moment) {
    if let Err(panicked) = caught_now(|| shared.options.observer.observe(job, moment)) {
        tracing::error!(%panicked, "the observer failed");
    }
}

async fn in_time<T>(
    limit: Duration,
    question: impl Future<Output = Result<T, QueueError>>,
) -> Result<T, QueueError> {
    timeout(limit, question).await.unwrap_or_else(|late| Err(QueueError::store(late)))
}

/// The shortest pause between two claims that a hint brings about.
const CLAIM_PAUSE: Duration = Duration::from_millis(5);
/// The shortest pause between two renewals that a hint brings about.
const RENEW_PAUSE: Duration = Duration::from_millis(200);
/// The shortest pause between two heartbeats that a begin or an end of a run brings about.
const BEAT_PAUSE: Duration = Duration::from_secs(1);
/// How long a job rests on which queue and worker disagree.
const CONFUSION_PAUSE: Duration = Duration::from_secs(1);
