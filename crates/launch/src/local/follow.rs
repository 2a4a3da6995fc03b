//! How far runs are: each look reads only what was written since the last one.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use swifthook_core::{Progress, RunKey, Traces};

use super::checkpoints::Shelf;
use super::tail::Tail;

/// The runs that are being followed, by whoever asks.
#[derive(Clone)]
pub(crate) struct Follows {
    traces: Option<Arc<dyn Traces>>,
    runs: Arc<Mutex<HashMap<RunKey, Arc<Mutex<Following>>>>>,
}

/// What is known of one run.
struct Following {
    tails: [Tail; 2],
    shelf: Shelf,
}

impl Follows {
    pub(crate) fn new(traces: Option<Arc<dyn Traces>>) -> Self {
        Self { traces, runs: Arc::default() }
    }

    pub(crate) fn traces(&self) -> Option<&dyn Traces> {
        self.traces.as_deref()
    }

    /// How far the run in `dir` is. Says nothing where nobody told how to read what it writes.
    pub(crate) fn look(&self, key: &RunKey, dir: &Path) -> Progress {
        let Some(traces) = self.traces.as_deref() else { return Progress::default() };
        let run = self.runs().entry(*key).or_insert_with(|| Following::new(traces)).clone();
        let mut run = run.lock().unwrap_or_else(PoisonError::into_inner);
        run.look(dir, traces)
    }

    /// The place and the step of the last checkpoint that the run in `dir` itself calls whole.
    pub(crate) fn told(&self, key: &RunKey, dir: &Path) -> Option<(String, Option<u64>)> {
        self.look(key, dir);
        let run = self.runs().get(key)?.clone();
        let run = run.lock().unwrap_or_else(PoisonError::into_inner);
        let told = run.tails[0].checkpoint()?.to_owned();
        Some((told, run.tails[0].checkpoint_step()))
    }

    /// Nobody will look again: the run has ended.
    pub(crate) fn forget(&self, key: &RunKey) {
        self.runs().remove(key);
    }

    fn runs(&self) -> std::sync::MutexGuard<'_, HashMap<RunKey, Arc<Mutex<Following>>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Following {
    fn new(traces: &dyn Traces) -> Arc<Mutex<Self>> {
        let tails = FILES.map(|name| Tail::new(name, traces.reader()));
        Arc::new(Mutex::new(Self { tails, shelf: Shelf::default() }))
    }

    /// As the file says that was written last, and of what it does not mention as the other one says.
    fn look(&mut self, dir: &Path, traces: &dyn Traces) -> Progress {
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
            None => self.shelf.last_step(&dir.join("output"), traces),
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
