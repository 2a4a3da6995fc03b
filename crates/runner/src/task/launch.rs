use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use swifthook_core::{Event, LaunchError, Problem, Reason, RunSpec, WorkspaceError};
use tokio::time::Instant;

use super::{End, Task};
use crate::catalog::Terms;
use crate::compose::{Compose, Composed, Uncomposed};
use crate::guard::guarded;
use crate::observer::Moment;
use crate::orders::until;
use crate::spec::NotUtf8;

impl Task {
    /// Brings an attempt that this task began to its launcher. Whatever is not settled afterwards (a stop that came, a
    /// commit that cannot be had, a launcher that gave no clear answer) is settled by looking for the run.
    pub(super) async fn launch(&mut self, terms: &Terms) -> Result<(), End> {
        let Some(command) = self.command(terms).await? else { return Ok(()) };
        let Some(working_dir) = self.working_dir(terms).await? else { return Ok(()) };
        let Ok(spec) = self.places().spec(&self.job, terms, command, working_dir) else {
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

    /// The command of the run; `None` if there is none, and why is settled or told already.
    async fn command(&mut self, terms: &Terms) -> Result<Option<Composed>, End> {
        let (job, places) = (self.job.clone(), self.places());
        let command = match (&job.spec.file, terms.compose.clone()) {
            (None, None) => places.command(&job, terms).map_err(|NotUtf8| Refusal::for_good(NOT_UTF8)),
            (Some(path), Some(compose)) => {
                let Some(answer) = self.unless_told_otherwise(self.compose(path, terms, &*compose)).await?
                else {
                    return Ok(None);
                };
                answer
            }
            _ => Err(Refusal::unfit(Reason::new(CONFIG, "its recipe is of another kind by now"))),
        };
        match command {
            Ok(command) => Ok(Some(command)),
            // A worker that was asleep may have submitted this attempt meanwhile: that is looked for first.
            Err(refusal) => {
                self.refusal = Some(refusal);
                Ok(None)
            }
        }
    }

    /// Reads the file of the commit that the job names, and has the command made of it.
    async fn compose(&self, path: &str, terms: &Terms, compose: &dyn Compose) -> Result<Composed, Refusal> {
        let change = &self.job.change;
        let (workspace, most) = (&self.shared.workspace, compose.most_bytes());
        let read = guarded::<_, WorkspaceError>(async {
            workspace.read_file(&change.repository, &change.ref_name, &change.head, path, most).await
        });
        let file = read.await.map_err(|error| match error.is_permanent() {
            true => Refusal::unfit(Reason::new(CONFIG, told(&error))),
            false => Refusal::new(&error),
        })?;
        let places = self.places();
        let draft = places.draft(&self.job, terms, file).map_err(|NotUtf8| Refusal::for_good(NOT_UTF8))?;
        let made = guarded::<_, LaunchError>(async { Ok(compose.compose(&self.job, draft).await) });
        match made.await {
            Ok(Ok(composed)) => Ok(composed),
            Ok(Err(Uncomposed::Unfit(why))) => Err(Refusal::unfit(why)),
            Ok(Err(Uncomposed::NotNow(why))) => Err(Refusal::new(&LaunchError::passing(why))),
            Err(panicked) => Err(Refusal::new(&panicked)),
        }
    }

    /// The answer of a call before the launch, unless the task is told to leave or the job to stop first.
    async fn unless_told_otherwise<T>(&self, call: impl Future<Output = T>) -> Result<Option<T>, End> {
        Ok(tokio::select! {
            biased;
            answer = call => Some(answer),
            () = until(&self.orders, |orders| orders.leave || orders.stop.is_some()) => None,
        })
    }

    async fn working_dir(&mut self, terms: &Terms) -> Result<Option<PathBuf>, End> {
        let tree = self.places().tree;
        if !terms.checkout {
            return Ok(Some(tree));
        }
        let change = self.job.change.clone();
        let workspace = self.shared.workspace.clone();
        let checkout = guarded::<_, WorkspaceError>(async {
            workspace.checkout(&change.repository, &change.ref_name, &change.head, &tree).await
        });
        let answer = tokio::select! {
            biased;
            answer = checkout => Some(answer),
            () = until(&self.orders, |orders| orders.leave || orders.stop.is_some()) => None,
        };
        match answer {
            Some(Ok(directory)) => {
                self.tell(&Moment::CheckedOut);
                return Ok(Some(directory));
            }
            // A worker that was asleep may have submitted this attempt meanwhile: that is looked for first.
            Some(Err(error)) => self.refusal = Some(Refusal::new(&error)),
            // Nothing was submitted: it is as if the attempt had not begun.
            None if self.orders.borrow().leave => {
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
            orders.leave || orders.stop.is_some() || orders.valid_until > Instant::now()
        })
        .await;
        let orders = *self.orders.borrow();
        if orders.leave {
            self.give_back("the worker shut down before the launch").await?;
        }
        Ok(!orders.leave && orders.stop.is_none())
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

/// Why an attempt has no run.
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

    fn for_good(message: &str) -> Self {
        Self { is_permanent: true, message: message.to_owned(), wait: None, word: None }
    }

    /// What it is to run cannot be run as it stands.
    fn unfit(why: Reason) -> Self {
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
    text
}

/// The word for a job whose configuration in the repository cannot be run.
const CONFIG: &str = "config";
const NOT_UTF8: &str = "the path of state_dir is not UTF-8";
