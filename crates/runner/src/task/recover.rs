use swifthook_core::{Event, LaunchError, RunHandle, Timestamp};

use super::launch::told;
use super::{End, Task};
use crate::guard::guarded;
use crate::observer::Moment;
use crate::pace::Backoff;

impl Task {
    /// Settles whether a begun attempt has a run: somebody was lost between launching and recording, or the launcher
    /// gave no clear answer, or the job is to end before it was launched. Nothing is submitted before that is known.
    pub(super) async fn recover(&mut self) -> Result<(), End> {
        let mut backoff = Backoff::of_a_launcher(self.shared.options.poll_most);
        loop {
            match self.look().await {
                Ok(Some(run)) => {
                    self.apply(Event::Submitted(run)).await?;
                    self.tell(&Moment::Submitted);
                    return Ok(());
                }
                Ok(None) => return self.nothing_runs().await,
                Err(error) => {
                    self.out_of_reach(self.now(), &told(&error)).await?;
                    if self.orders.borrow().drain {
                        return Err(End::Left);
                    }
                    self.pause_unless_stopped(backoff.pause()).await?;
                }
            }
        }
    }

    /// The run of this attempt. Unless it is this worker's own and may be tried again under the same key, there will be
    /// none either: the worker that began it may only be asleep, and still about to submit it.
    async fn look(&self) -> Result<Option<RunHandle>, LaunchError> {
        let launcher =
            self.launcher().ok_or_else(|| LaunchError::passing("the configuration has no such launcher"))?;
        let key = self.key();
        let may_try_again = self.refusal.as_ref().is_some_and(|refusal| !refusal.is_permanent);
        if may_try_again && !self.is_stop_wanted() {
            return guarded(async { launcher.find(&key).await }).await;
        }
        guarded(async { launcher.forbid(&key).await }).await
    }

    async fn nothing_runs(&mut self) -> Result<(), End> {
        if self.is_stop_wanted() {
            return self.apply(Event::NeverRan).await;
        }
        if let Some(refusal) = self.refusal.take() {
            return self.refuse(refusal).await;
        }
        tracing::info!("its worker was lost before the launch");
        let tree = self.places().tree;
        self.apply(Event::NeverRan).await?;
        self.tell(&Moment::Refused);
        self.discard(&tree).await;
        Ok(())
    }

    /// Records that nobody can tell how the run is, once: a thousand runs of a cluster that is away would be as many
    /// writes at each poll. Again if the job is over, for a person has given it up then: the answer tells the task.
    pub(super) async fn out_of_reach(&mut self, since: Timestamp, why: &str) -> Result<(), End> {
        if self.job.state.unreachable_since.is_some() {
            let is_over = self.orders.borrow().is_over;
            return if is_over { self.apply(Event::Unreachable { since }).await } else { Ok(()) };
        }
        tracing::warn!(why, "the run cannot be reached; it is waited for");
        self.apply(Event::Unreachable { since }).await?;
        self.tell(&Moment::Unreachable);
        Ok(())
    }
}
