use std::time::Duration;

use swifthook_core::{Checkpoint, Event, LaunchError, Progress, Reason, Renewal, WorkspaceError};
use tokio::time::timeout;

use super::launch::told;
use super::{End, Task};
use crate::guard::guarded;
use crate::observer::Moment;
use crate::pace::Backoff;
use crate::watchdog::Then;

impl Task {
    /// Takes in what an ended run left: how far it came, and its working tree.
    pub(super) async fn collect(&mut self) -> Result<(), End> {
        let tree = self.places().tree;
        let polled = *self.progress.borrow();
        let progress = self.last_progress().await?;
        let (steps_done, step) =
            (progress.and_then(|last| last.is_done()), progress.and_then(|last| last.step));
        let checkpoint = self.last_checkpoint().await?;
        let told = [polled, progress].into_iter().flatten().filter_map(|progress| progress.memory_gib);
        let peak_memory = told.filter_map(bytes).max();
        let fails = self.what_fails(progress.or(polled)).await?;
        let at = self.now();
        let retry_at = at.after(self.wait(self.job.state.retries + 1));
        self.apply(Event::Collected { steps_done, step, checkpoint, peak_memory, fails, retry_at, at })
            .await?;
        let reason = self.job.state.reason.as_ref().map(ToString::to_string);
        tracing::info!(stage = %self.job.state.stage, reason, "finished");
        self.tell(&Moment::Finished);
        self.discard(&tree).await;
        Ok(())
    }

    /// Why a training fails that exited well: it had no step to do, or it diverged and its watchdog stops such a run. Of
    /// another that diverged it is warned.
    async fn what_fails(&mut self, last: Option<Progress>) -> Result<Option<Reason>, End> {
        if last.is_some_and(|last| last.is_idle()) {
            return Ok(Some(Reason::new("training", "it trained nothing: it had 0 of 0 steps to do")));
        }
        let Some(why) = last.and_then(|last| last.divergence()) else { return Ok(None) };
        let why = Reason::new("diverged", format!("the training has diverged: {why}"));
        let watch = self.terms().ok().flatten().and_then(|terms| terms.watch);
        if watch.is_some_and(|watch| watch.then == Then::Stop) {
            return Ok(Some(why));
        }
        let others = self.job.state.warnings.iter().filter(|warning| warning.word != why.word);
        let warnings: Vec<_> = others.cloned().chain([why.clone()]).collect();
        if warnings != self.job.state.warnings {
            self.apply(Event::Warned(warnings)).await?;
        }
        Ok(None)
    }

    /// Stores how far the run came.
    async fn last_progress(&self) -> Result<Option<Progress>, End> {
        let polled = *self.progress.borrow();
        let Some(last) = self.ask_for_progress().await else {
            // What a poll saw may be older than the last step, so that it tells only that it was all.
            return Ok(polled.filter(|progress| progress.is_done() == Some(true)));
        };
        if polled != Some(last) {
            self.tell(&Moment::Progressed(last));
        }
        match self.shared.store.renew(&[(self.lease, Some(last))]).await {
            // Whoever has the job now sees to its end.
            Ok(renewals) if renewals.contains(&Renewal::Lost) => Err(End::Lost),
            Ok(_) => Ok(Some(last)),
            Err(error) => {
                tracing::debug!(%error, "the last progress was not stored");
                Ok(Some(last))
            }
        }
    }

    /// The checkpoint that another attempt would go on from. Where it cannot be told it is asked again, since to begin
    /// anew would throw away what was saved.
    async fn last_checkpoint(&self) -> Result<Option<Checkpoint>, End> {
        let mut backoff = Backoff::of_a_launcher(self.shared.options.poll_most);
        for _ in 0..TRIES {
            let (Some(launcher), Some(run)) = (self.launcher(), self.job.state.handle.as_ref()) else {
                break;
            };
            let ask = guarded::<_, LaunchError>(async { launcher.checkpoint(run).await });
            match timeout(PATIENCE, ask).await {
                Ok(Ok(checkpoint)) => return Ok(checkpoint),
                Ok(Err(error)) => tracing::warn!(error = told(&error), "its checkpoint cannot be told"),
                Err(_) => tracing::warn!("it takes too long to tell its checkpoint"),
            }
            self.pause(backoff.pause()).await?;
        }
        Ok(None)
    }

    async fn ask_for_progress(&self) -> Option<Progress> {
        let (launcher, run) = (self.launcher()?, self.job.state.handle.as_ref()?);
        let ask = guarded::<_, LaunchError>(async { launcher.progress(run).await });
        let progress = timeout(PATIENCE, ask).await.ok()?.ok()?;
        (progress != Progress::default()).then_some(progress)
    }

    /// Removes the working tree of an attempt. What cannot be removed is no reason to keep the job from its end.
    pub(super) async fn discard(&self, tree: &std::path::Path) {
        if self.shared.options.keep_trees {
            return;
        }
        let repository = &self.job.change.repository;
        let discard =
            guarded::<_, WorkspaceError>(async { self.shared.workspace.discard(repository, tree).await });
        match timeout(PATIENCE, discard).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = told(&error), "the working tree could not be removed"),
            Err(_) => tracing::warn!("the working tree takes too long to remove"),
        }
    }
}

/// An amount of memory that a run told; none where that is no amount.
fn bytes(gib: f64) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the bounds just checked"
    )]
    (gib > 0.0 && gib < MOST_GIB).then(|| (gib * f64::from(1 << 30)) as u64)
}

/// More than any machine has: whoever tells more has told nothing.
const MOST_GIB: f64 = 1e6;
/// How often a launcher is asked for a checkpoint that cannot tell.
const TRIES: u32 = 5;
/// How long the end of a job waits for something that it can do without.
const PATIENCE: Duration = Duration::from_secs(30);
