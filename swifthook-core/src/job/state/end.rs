//! What becomes of a job whose run has ended and is collected.

use super::{State, cancelled, newer_known};
use crate::admission::Wait;
use crate::job::{Exit, Retry, Stage, StopKind, exit_code_in_words, signal_in_words};
use crate::policy::Reason;
use crate::time::Timestamp;

/// How far a run came that has ended.
pub(super) struct Remains {
    pub(super) steps_done: Option<bool>,
    pub(super) step: Option<u64>,
    /// Why it fails though it exited as one that is done.
    pub(super) fails: Option<Reason>,
}

impl State {
    pub(super) fn collected(
        self,
        remains: &Remains,
        retry: &Retry,
        retry_at: Timestamp,
        at: Timestamp,
    ) -> Self {
        let exit = self.exit.clone().unwrap_or_default();
        // A trainer that does not count its steps and exits with 0 is done, unless it was asked to end.
        let is_done = exit.is_success() && remains.steps_done.unwrap_or(self.stop.is_none());
        if let Some(why) =
            remains.fails.as_ref().filter(|_| is_done || exit.is_success() && self.stop.is_none())
        {
            return self.into_final(Stage::Failed, Some(why.clone()), at);
        }
        if is_done {
            return self.into_final(Stage::Succeeded, None, at);
        }
        if self.is_poison {
            return self.into_quarantined(at);
        }
        match self.stop {
            Some(StopKind::Cancel) => self.into_final(Stage::Cancelled, Some(cancelled()), at),
            Some(StopKind::CancelSaving) => {
                let why = self.cancelled_after_saving();
                self.into_final(Stage::Cancelled, Some(why), at)
            }
            Some(StopKind::Supersede) => self.into_final(Stage::Superseded, Some(newer_known()), at),
            Some(StopKind::Timeout) => {
                self.into_final(Stage::Failed, Some(Reason::new("timeout", "its time was up")), at)
            }
            Some(StopKind::Limit) => {
                let why = exit.message.as_deref().unwrap_or("it used more than it may");
                self.into_final(Stage::Failed, Some(Reason::new("limit", why)), at)
            }
            Some(StopKind::Yield) => self.yielded(),
            Some(StopKind::Stuck) => {
                let why = Reason::new("watchdog", self.what_was_wrong());
                self.into_final(Stage::Failed, Some(why), at)
            }
            Some(StopKind::Restart) => {
                let why = self.what_was_wrong();
                self.failed_by_machine(why, retry, retry_at, at)
            }
            None if exit.is_success() => self.into_final(Stage::Succeeded, Some(remains.stopped_early()), at),
            None if self.goes_to_another_gpu(&exit) => self.tried_on_another_gpu(retry_at),
            None if self.goes_to_another_port(&exit) => self.tried_on_another_port(),
            None if exit.is_machine_failure(retry) => {
                self.failed_by_machine(describe(&exit), retry, retry_at, at)
            }
            None => {
                let why = Reason::new(if exit.refused { "refused" } else { "training" }, describe(&exit));
                self.into_final(Stage::Failed, Some(why), at)
            }
        }
    }

    /// Neither a retry nor a new change: it goes on when its turn comes again.
    fn yielded(self) -> Self {
        let why = match &self.checkpoint {
            Some(checkpoint) => format!("it made way, and goes on from {checkpoint}"),
            None => "it made way, and has no checkpoint to go on from".to_owned(),
        };
        Self { reason: Some(Reason::new("yielded", why)), ..self.into_queued(None, None) }
    }

    fn cancelled_after_saving(&self) -> Reason {
        let attempt = self.attempt;
        let saved = self.checkpoint.as_ref().filter(|checkpoint| checkpoint.attempt == attempt);
        let left = match saved {
            Some(checkpoint) => format!("it left {checkpoint}"),
            None => "it left no checkpoint".to_owned(),
        };
        Reason::new("cancelled", format!("a person cancelled it; {left}"))
    }

    /// Whether somebody else took the memory of its GPUs between the look at them and its first use, for the first time.
    pub(super) fn goes_to_another_gpu(&self, exit: &Exit) -> bool {
        exit.found_gpu_full() && self.gpus.is_some() && !self.found_gpu_full
    }

    fn tried_on_another_gpu(self, retry_at: Timestamp) -> Self {
        let queued = self.into_queued(Some(retry_at), Some(Wait::Gpu));
        let why = "it found a GPU without free memory right after its start; it is tried once more";
        Self { found_gpu_full: true, reason: Some(Reason::new(Wait::Gpu.word(), why)), ..queued }
    }

    /// Tells whether somebody who leases no ports had its own. A few times: a command may want a port that it is not told.
    pub(super) fn goes_to_another_port(&self, exit: &Exit) -> bool {
        exit.port_taken && !exit.is_success() && self.ports_taken < MOST_PORTS
    }

    /// At once, since the next attempt has another one.
    fn tried_on_another_port(self) -> Self {
        let queued = self.into_queued(None, None);
        let why = "another process had the port of its `MASTER_PORT`; it is tried again with another one";
        Self { ports_taken: queued.ports_taken + 1, reason: Some(Reason::new("port", why)), ..queued }
    }

    /// What was told of a run that was ended for it.
    fn what_was_wrong(&self) -> String {
        self.reason.as_ref().map_or("it was stuck".to_owned(), |reason| reason.detail.clone())
    }

    fn failed_by_machine(self, why: String, retry: &Retry, retry_at: Timestamp, at: Timestamp) -> Self {
        let counted = Self { retries: self.retries + 1, ..self };
        if counted.retries < retry.attempts {
            let queued = counted.into_queued(Some(retry_at), Some(Wait::Backoff));
            return Self { reason: Some(Reason::new(Wait::Backoff.word(), why)), ..queued };
        }
        counted.into_final(Stage::Failed, Some(Reason::new("machine", why)), at)
    }
}

impl Remains {
    fn stopped_early(&self) -> Reason {
        let step = self.step.map_or(String::new(), |step| format!(", at step {step}"));
        Reason::new("stopped_early", format!("it ended well before its last step{step}"))
    }
}

/// How often in a row a run is given another port.
const MOST_PORTS: u32 = 3;

fn describe(exit: &Exit) -> String {
    match (&exit.message, exit.code, exit.signal) {
        (Some(message), ..) => message.to_string(),
        (None, _, Some(signal)) => format!("ended by {}", signal_in_words(signal)),
        (None, Some(code), None) => exit_code_in_words(code),
        (None, None, None) => "it ended, and nobody knows how".into(),
    }
}
