use std::time::Duration;

use swifthook_core::{Event, LaunchError, Progress, RunHandle, RunStatus, Stop, StopKind};
use tokio::time::{Instant, timeout};

use super::launch::told;
use super::vigil::Vigil;
use super::{End, Task};
use crate::guard::guarded;
use crate::observer::Moment;
use crate::orders::until;
use crate::pace::{Backoff, Pace};

impl Task {
    /// Polls the run until there is evidence of its end, and asks it to end if that is wanted.
    pub(super) async fn follow(&mut self, run: &RunHandle) -> Result<(), End> {
        let options = &self.shared.options;
        let pace = Pace::new(options.poll_first, options.poll_most);
        let mut out_of_reach = Backoff::of_a_launcher(options.poll_most);
        let mut stopping = None;
        let mut vigil = Vigil::default();
        while self.job.state.stage.is_active() && self.job.state.evidence.is_none() {
            self.drain_if_told().await?;
            if self.is_stop_wanted() {
                stopping = self.ask_to_end(run, stopping).await?;
            }
            let pause = match self.poll(run).await? {
                Ok(RunStatus::Running(progress)) => {
                    self.progressed(progress);
                    self.seen().await?;
                    self.look_after(run, &progress, &mut vigil).await?;
                    pace.pause()
                }
                Ok(RunStatus::Pending(_)) => {
                    self.seen().await?;
                    pace.pause()
                }
                Ok(RunStatus::Ended(exit)) => return self.ended(Event::Ended(exit)).await,
                Ok(RunStatus::Vanished) => return self.ended(Event::Vanished).await,
                Ok(RunStatus::Unreachable { since }) => {
                    self.out_of_reach(since, "its launcher says so").await?;
                    out_of_reach.pause()
                }
                Ok(_) => pace.pause(),
                Err(error) => {
                    self.out_of_reach(self.now(), &told(&error)).await?;
                    out_of_reach.pause()
                }
            };
            if self.job.state.unreachable_since.is_none() {
                out_of_reach = Backoff::of_a_launcher(self.shared.options.poll_most);
            }
            self.pause_unless_stopped(pause).await?;
        }
        Ok(())
    }

    /// Lets the run make way if its worker is to go. One that cannot, or that nobody can reach, is left as it is.
    async fn drain_if_told(&mut self) -> Result<(), End> {
        if !self.orders.borrow().drain {
            return Ok(());
        }
        if self.job.state.unreachable_since.is_some() {
            return Err(End::Left);
        }
        if self.is_stop_wanted() {
            return Ok(());
        }
        if !self.can_yield() {
            tracing::warn!(
                "its launcher cannot let it save and go on later, so that it goes on without a worker"
            );
            return Err(End::Left);
        }
        self.apply(Event::StopWanted(StopKind::Yield)).await
    }

    async fn poll(&self, run: &RunHandle) -> Result<Result<RunStatus, LaunchError>, End> {
        let Some(launcher) = self.launcher() else {
            return Ok(Err(LaunchError::passing("the configuration has no such launcher")));
        };
        self.unless_left(in_time(guarded(async { launcher.poll(run).await }))).await
    }

    /// The answer of a call that may be dropped, unless the task is told to leave first.
    pub(super) async fn unless_left<T>(&self, call: impl Future<Output = T>) -> Result<T, End> {
        tokio::select! {
            biased;
            () = until(&self.orders, |orders| orders.leave) => Err(End::Left),
            answer = call => Ok(answer),
        }
    }

    /// Writes that the run was seen only where that changes anything: not at each poll.
    async fn seen(&mut self) -> Result<(), End> {
        let state = &self.job.state;
        if (state.crashes > 0 && !state.is_poison) || state.unreachable_since.is_some() {
            self.apply(Event::Seen).await?;
        }
        Ok(())
    }

    fn progressed(&self, progress: Progress) {
        let is_news = self.progress.send_if_modified(|last| {
            let is_news = *last != Some(progress) && progress != Progress::default();
            if is_news {
                *last = Some(progress);
            }
            is_news
        });
        if is_news {
            self.tell(&Moment::Progressed(progress));
        }
    }

    async fn ended(&mut self, evidence: Event) -> Result<(), End> {
        self.apply(evidence).await?;
        let how = self.job.state.evidence.as_ref().map(ToString::to_string);
        tracing::info!(how, "ended");
        self.tell(&Moment::Ended);
        Ok(())
    }

    /// Asks the run to end, once, and again without mercy when its grace is over. `last` is what it was asked so far.
    async fn ask_to_end(&self, run: &RunHandle, last: Option<Asked>) -> Result<Option<Asked>, End> {
        let kind = self.job.state.stop.or(self.orders.borrow().stop);
        let grace = self.grace();
        let how = match last {
            Some(last) if last.at.elapsed() >= grace + KILL_MARGIN => Stop::Kill,
            Some(last) if last.kind == kind => return Ok(Some(last)),
            _ if matches!(kind, Some(StopKind::Yield | StopKind::CancelSaving)) => Stop::Yield,
            // It would save what went wrong, if it could hear at all.
            _ if matches!(kind, Some(StopKind::Stuck | StopKind::Restart)) => Stop::Kill,
            _ => Stop::Grace(grace),
        };
        let Some(launcher) = self.launcher() else { return Ok(last) };
        let answer = self.unless_left(in_time(guarded(async { launcher.stop(run, how).await }))).await?;
        match answer {
            Ok(()) => {
                tracing::info!(kind = kind.map(StopKind::word), %how, "asked to end");
                self.tell(&Moment::Stopping(kind));
                Ok(Some(Asked { kind, at: Instant::now() }))
            }
            Err(error) => {
                tracing::warn!(error = told(&error), "it could not be asked to end");
                Ok(last)
            }
        }
    }

    fn grace(&self) -> Duration {
        self.terms().ok().flatten().map_or(GRACE, |terms| terms.grace)
    }
}

/// The answer of a launcher, if there is one in time: a run whose launcher hangs is out of reach, can be given up, and keeps
/// no worker from going on.
pub(super) async fn in_time<T>(call: impl Future<Output = Result<T, LaunchError>>) -> Result<T, LaunchError> {
    timeout(PATIENCE, call).await.unwrap_or_else(|_| {
        Err(LaunchError::passing(format!("the launcher did not answer within {} s", PATIENCE.as_secs())))
    })
}

/// What a run was asked, and when.
#[derive(Clone, Copy)]
struct Asked {
    kind: Option<StopKind>,
    at: Instant,
}

/// How long a run may take to end whose recipe is gone.
const GRACE: Duration = Duration::from_secs(30);
/// How much longer than its grace a run may take before it is killed from here: its launcher does so itself.
const KILL_MARGIN: Duration = Duration::from_secs(5);
/// Longer than a launcher waits for whatever it asks itself.
const PATIENCE: Duration = Duration::from_secs(240);
