//! How far runs are: each look reads only what was written since the last one.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use swifthook_core::{Checkpoint, LaunchError, Progress, Pulse, RunKey, Traces};

use super::checkpoints::{Shelf, last_checkpoint};
use super::evidence;
use super::tail::Tail;
use crate::beneath::{Beneath, Looks};

/// The runs that are being followed, by whoever asks.
///
/// Nobody waits long for what a run has written: where it cannot be read in time, the run is as far as it was.
#[derive(Clone)]
pub(crate) struct Follows {
    traces: Option<Arc<dyn Traces>>,
    runs: Arc<Mutex<HashMap<RunKey, Arc<Followed>>>>,
    looks: Looks,
}

/// One run.
struct Followed {
    /// Whoever looks has it, which may be for ever.
    following: Mutex<Following>,
    last: Mutex<Progress>,
}

/// What is known of one run.
struct Following {
    tails: [Tail; 2],
    shelf: Shelf,
}

impl Follows {
    pub(crate) fn new(traces: Option<Arc<dyn Traces>>) -> Self {
        Self { traces, runs: Arc::default(), looks: Looks::new(MOST_LOOKS, PATIENCE) }
    }

    pub(crate) fn traces(&self) -> Option<&dyn Traces> {
        self.traces.as_deref()
    }

    /// How far the run in `dir` is. Says nothing where nobody told how to read what it writes.
    pub(crate) async fn look(&self, key: &RunKey, dir: &Path) -> Progress {
        let Some(traces) = self.traces.as_deref() else { return Progress::default() };
        let run = self.followed(key, traces);
        let (this, of, dir) = (self.clone(), run.clone(), dir.to_owned());
        let looked = self.looks.look(key, move || of.look(&dir, this.traces())).await;
        looked.unwrap_or_else(|late| {
            tracing::warn!(run = %key, %late, "how far a run is could not be looked at");
            *run.last.lock().unwrap_or_else(PoisonError::into_inner)
        })
    }

    /// Progress of a run that is over: from the beginning, so that what was written after the last look counts in any
    /// case.
    pub(crate) async fn look_again(&self, key: &RunKey, dir: &Path) -> Progress {
        let last =
            self.runs().remove(key).map(|run| *run.last.lock().unwrap_or_else(PoisonError::into_inner));
        if let (Some(last), Some(traces)) = (last, self.traces.as_deref()) {
            *self.followed(key, traces).last.lock().unwrap_or_else(PoisonError::into_inner) = last;
        }
        let progress = self.look(key, dir).await;
        self.forget(key);
        progress
    }

    /// The checkpoint from which another run can go on after the one in `dir`, which has ended. `host` is who alone has it.
    pub(crate) async fn checkpoint(
        &self,
        key: &RunKey,
        dir: &Path,
        host: Option<Arc<str>>,
    ) -> Result<Option<Checkpoint>, LaunchError> {
        let (this, run, dir) = (self.clone(), *key, dir.to_owned());
        Ok(self.looks.look(key, move || last_checkpoint(&this, &run, &dir, host)).await?)
    }

    /// Time at which the run in `dir` last gave a sign of itself.
    pub(crate) async fn pulse(&self, key: &RunKey, dir: &Path) -> Result<Pulse, LaunchError> {
        let dir = dir.to_owned();
        Ok(self.looks.look(key, move || evidence::pulse(&dir)).await?)
    }

    /// Looks at anything else that a run wrote.
    pub(crate) async fn look_at<T: Send + 'static>(
        &self,
        key: &RunKey,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, LaunchError> {
        Ok(self.looks.look(key, work).await?)
    }

    /// The place and the step of the last checkpoint that the run in `dir` itself calls whole.
    pub(super) fn told(&self, key: &RunKey, dir: &Path) -> Option<(String, Option<u64>)> {
        let traces = self.traces.as_deref()?;
        let run = self.followed(key, traces);
        run.look(dir, Some(traces));
        let run = run.following.lock().unwrap_or_else(PoisonError::into_inner);
        let told = run.tails[0].checkpoint()?.to_owned();
        Some((told, run.tails[0].checkpoint_step()))
    }

    /// Nobody will look again: the run has ended.
    pub(crate) fn forget(&self, key: &RunKey) {
        self.runs().remove(key);
    }

    fn followed(&self, key: &RunKey, traces: &dyn Traces) -> Arc<Followed> {
        self.runs().entry(*key).or_insert_with(|| Followed::new(traces)).clone()
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<RunKey, Arc<Followed>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Followed {
    fn new(traces: &dyn Traces) -> Arc<Self> {
        let tails = FILES.map(|name| Tail::new(name, traces.reader()));
        let following = Mutex::new(Following { tails, shelf: Shelf::default() });
        Arc::new(Self { following, last: Mutex::default() })
    }

    fn look(&self, dir: &Path, traces: Option<&dyn Traces>) -> Progress {
        let mut following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        let last = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(traces), Ok(dir)) = (traces, Beneath::at(dir)) else { return *last() };
        let progress = following.look(&dir, traces);
        *last() = progress;
        progress
    }
}

impl Following {
    /// As the file says that was written last, and of what it does not mention as the other one says.
    fn look(&mut self, dir: &Beneath, traces: &dyn Traces) -> Progress {
        for tail in &mut self.tails {
            tail.look(dir, traces);
        }
        let [one, other] = &self.tails;
        let last = match one.written() > other.written() {
            true => merged(one.progress(), other.progress()),
            false => merged(other.progress(), one.progress()),
        };
        // By the contract alone: a log of ms-swift holds what it likes.
        let checkpoint = match self.tails[0].checkpoint_step() {
            Some(step) => Some(step),
            None => dir.folder(OUTPUT).ok().and_then(|output| self.shelf.last_step(&output, traces)),
        };
        Progress { checkpoint, ..last }
    }
}

fn merged(last: Progress, other: Progress) -> Progress {
    let is_told = last.loss_is_nan || last.loss.is_some();
    Progress {
        step: last.step.or(other.step),
        max_steps: last.max_steps.or(other.max_steps),
        loss: if is_told { last.loss } else { other.loss },
        loss_is_nan: if is_told { last.loss_is_nan } else { other.loss_is_nan },
        diverged: last.diverged.or(other.diverged),
        eta_s: last.eta_s.or(other.eta_s),
        eval_loss: last.eval_loss.or(other.eval_loss),
        learning_rate: last.learning_rate.or(other.learning_rate),
        grad_norm: last.grad_norm.or(other.grad_norm),
        memory_gib: last.memory_gib.or(other.memory_gib),
        seconds_per_step: last.seconds_per_step.or(other.seconds_per_step),
        checkpoint: None,
    }
}

impl fmt::Debug for Follows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follows").field("can_read", &self.traces.is_some()).finish_non_exhaustive()
    }
}

/// Where a run tells how far it is: by the contract of `SWIFTHOOK_PROGRESS`, or as ms-swift does.
const FILES: [&str; 2] = ["progress.jsonl", "output/logging.jsonl"];
const OUTPUT: &str = "output";
/// Limit of looks at what one run wrote that may hang.
const MOST_LOOKS: usize = 2;
/// Time for which one is waited for: so long a poll may take.
const PATIENCE: Duration = Duration::from_secs(10);
