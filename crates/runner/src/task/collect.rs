use std::time::Duration;

use swifthook_core::{Event, LaunchError, Progress, WorkspaceError};
use tokio::time::timeout;

use super::launch::told;
use super::{End, Task};
use crate::guard::guarded;
use crate::observer::Moment;

impl Task {
    /// Takes in what an ended run left: how far it came, and its working tree.
    pub(super) async fn collect(&mut self) -> Result<(), End> {
        let tree = self.places().tree;
        let steps_done = self.last_progress().await;
        let at = self.now();
        let retry_at = at.after(self.wait(self.job.state.retries + 1));
        self.apply(Event::Collected { steps_done, retry_at, at }).await?;
        tracing::info!(stage = %self.job.state.stage, reason = ?self.job.state.reason, "finished");
        self.tell(&Moment::Finished);
        self.discard(&tree).await;
        Ok(())
    }

    /// Stores how far the run came, and says whether that was all of it.
    async fn last_progress(&self) -> Option<bool> {
        let polled = *self.progress.borrow();
        let Some(last) = self.ask_for_progress().await else {
            // What a poll saw may be older than the last step, so that it can only be a yes.
            return polled.and_then(|progress| progress.is_done()).filter(|is_done| *is_done);
        };
        if polled != Some(last) {
            self.tell(&Moment::Progressed(last));
        }
        if let Err(error) = self.shared.store.renew(&[(self.lease, Some(last))]).await {
            tracing::debug!(%error, "the last progress was not stored");
        }
        last.is_done()
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

/// How long the end of a job waits for something that it can do without.
const PATIENCE: Duration = Duration::from_secs(30);
