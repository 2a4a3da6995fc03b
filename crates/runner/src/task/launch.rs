use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use swifthook_core::text::without_user_info;
use swifthook_core::{Capabilities, Event, LaunchError, Problem, Reason, RunSpec, WorkspaceError};
use tokio::time::Instant;

use super::{End, Task};
use crate::catalog::Terms;
use crate::compose::Composed;
use crate::guard::guarded;
use crate::observer::Moment;
use crate::orders::until;

impl Task {
    /// Brings an attempt that this task began to its launcher. Whatever is not settled afterwards (a stop that came, a
    /// commit that cannot be had, a launcher that gave no clear answer) is settled by looking for the run.
    pub(super) async fn launch(&mut self, terms: &Terms, mut command: Composed) -> Result<(), End> {
        let launcher = self.launcher().map(|launcher| launcher.capabilities()).unwrap_or_default();
        let Some(working_dir) = self.working_dir(terms, launcher).await? else { return Ok(()) };
        self.tell_port(&mut command.env, &terms.shape, launcher).await?;
        let Ok(spec) = self.places().spec(&self.job, terms, command, working_dir, launcher) else {
            return self.refuse(Refusal::for_good(NOT_UTF8)).await;
        };
        if self.is_stop_wanted() || !self.holds_its_lease().await? {
            return Ok(());
        }
        match self.submit(&spec).await {
            Ok(handle) => {
                self.apply(Event::Submitted(handle)).await?;
                tracing::info!("submitted");
                self.tell(&Moment::Submitted);
            }
            Err(error) if error.is_permanent() => self.refuse(Refusal::new(&error)).await?,
            Err(error) => {
                tracing::warn!(error = told(&error), "the submission failed; looking for its run");
                self.refusal = Some(Refusal::new(&error));
            }
        }
        Ok(())
    }

    async fn working_dir(&mut self, terms: &Terms, launcher: Capabilities) -> Result<Option<PathBuf>, End> {
        let tree = self.places().tree;
        let Some(with) = terms.checkout.as_ref().filter(|_| !launcher.checks_out) else {
            return Ok(Some(tree));
        };
        let change = self.job.change.clone();
        let workspace = self.shared.workspace.clone();
        let checkout = guarded::<_, WorkspaceError>(async {
            workspace.checkout(&change.repository, &change.ref_name, &change.head, with, &tree).await
        });
        let answer = tokio::select! {
            biased;
            answer = checkout => Some(answer),
            () = until(&self.orders, |orders| orders.begin_nothing() || orders.stop.is_some()) => None,
        };
        match answer {
            Some(Ok(directory)) => {
                self.tell(&Moment::CheckedOut);
                return Ok(Some(directory));
            }
            // A worker that was asleep may have submitted this attempt meanwhile: that is looked for first.
            Some(Err(error)) => self.refusal = Some(Refusal::new(&error)),
            // Nothing was submitted: it is as if the attempt had not begun.
            None if self.orders.borrow().begin_nothing() => {
                self.give_back("the worker shut down before the launch").await?;
            }
            None => {}
        }
        Ok(None)
    }

    /// Waits until the lease is certainly ours: a worker that was asleep, or whose store is out of reach, must not start
    /// what another one may have ended meanwhile. `false` if the job is to be let go or stopped instead.
    async fn holds_its_lease(&mut self) -> Result<bool, End> {
        until(&self.orders, |orders| {
            orders.begin_nothing() || orders.stop.is_some() || orders.valid_until > Instant::now()
        })
        .await;
        let orders = *self.orders.borrow();
        if orders.begin_nothing() {
            self.give_back("the worker shut down before the launch").await?;
        }
        Ok(!orders.begin_nothing() && orders.stop.is_none())
    }

    async fn submit(&self, spec: &RunSpec) -> Result<swifthook_core::RunHandle, LaunchError> {
        let launcher = self
            .launcher()
            .ok_or_else(|| LaunchError::passing("the configuration has the launcher no more"))?;
        let key = self.key();
        guarded(async { launcher.submit(&key, spec).await }).await
    }

    async fn give_back(&mut self, message: &str) -> Result<(), End> {
        self.refuse(Refusal::for_now(message)).await
    }

    /// Records that the attempt has no run, and why.
    pub(super) async fn refuse(&mut self, refusal: Refusal) -> Result<(), End> {
        let Refusal { is_permanent, message, wait, word } = refusal;
        tracing::warn!(error = message, is_permanent, "refused");
        let (at, tree) = (self.now(), self.places().tree);
        let until = at.after(wait.unwrap_or_else(|| self.wait(self.job.state.refusals + 1)));
        let event = match word {
            Some(word) => Event::Unfit { why: Reason { word, detail: message }, at },
            None => Event::Refused { is_permanent, message, until, at },
        };
        self.apply(event).await?;
        self.tell(&Moment::Refused);
        if self.job.state.stage.is_final() {
            self.discard(&tree).await;
        }
        Ok(())
    }
}

/// Why an attempt has no run, or does not even begin.
pub(super) struct Refusal {
    pub(super) is_permanent: bool,
    message: String,
    wait: Option<Duration>,
    /// The word of what is wrong with the job itself.
    word: Option<Cow<'static, str>>,
}

impl Refusal {
    pub(super) fn new(error: &impl Problem) -> Self {
        let (is_permanent, wait) = (error.is_permanent(), error.retry_after());
        Self { is_permanent, message: told(error), wait, word: None }
    }

    /// It may be tried again at once.
    pub(super) fn for_now(message: &str) -> Self {
        Self { is_permanent: false, message: message.to_owned(), wait: Some(Duration::ZERO), word: None }
    }

    pub(super) fn for_good(message: &str) -> Self {
        Self { is_permanent: true, message: message.to_owned(), wait: None, word: None }
    }

    /// What it is to run cannot be run as it stands.
    pub(super) fn unfit(why: Reason) -> Self {
        Self { is_permanent: true, message: why.detail, wait: None, word: Some(why.word) }
    }
}

/// An error and what caused it, on one line.
pub(super) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    // It stands in the timeline, for everybody who may look at jobs.
    without_user_info(&text).into_owned()
}

pub(super) const NOT_UTF8: &str = "the path of state_dir is not UTF-8";
