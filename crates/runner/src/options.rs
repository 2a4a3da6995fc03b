use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use swifthook_core::{Duty, Gpus, Heartbeat, NoGpus, Worker};

use crate::clock::Clock;
use crate::observer::Observer;

/// How a runner works. Made with [`Options::new`] and then set up field by field.
#[derive(Clone)]
pub struct Options {
    /// Its name, unique among those that share the queue.
    pub name: Arc<str>,
    /// Its host, by the name that local launchers put into their handles.
    pub host: Arc<str>,
    /// Its labels.
    pub labels: Vec<Arc<str>>,
    /// Its version, for those who look after workers.
    pub version: Arc<str>,
    /// How many runs it has at once.
    pub slots: usize,
    /// Under which the directories of the attempts are: `<state_dir>/runs/<job>-<attempt>/`.
    pub state_dir: PathBuf,
    /// How long a lease lasts; it is renewed after a third of that.
    pub lease: Duration,
    /// How often the queue is asked for work that nobody hinted at.
    pub idle: Duration,
    /// How often the queue is swept.
    pub sweep: Duration,
    /// The pause between two polls of a run that has just begun. It grows with the age of the run.
    pub poll_first: Duration,
    /// The longest pause between two polls; where it is longer than half a minute, also between two tries to reach a
    /// launcher that does not answer.
    pub poll_most: Duration,
    /// How many diffs are made at once.
    pub diffs: usize,
    /// How long a shutdown waits for what is under way, such as a submission, and then as long for the store to take
    /// the jobs back.
    pub patience: Duration,
    /// What becomes of runs at a shutdown.
    pub drain: Drain,
    /// The GPUs of this machine.
    pub gpus: Arc<dyn Gpus>,
    /// Whether working trees stay when their run has ended. Log, output and `exit.json` stay in any case.
    pub keep_trees: bool,
    /// What time it is.
    pub clock: Clock,
    /// Who watches.
    pub observer: Arc<dyn Observer>,
}

/// What becomes of runs when their runner is shut down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drain {
    /// They go on, and whoever claims their jobs next adopts them: for a restart.
    #[default]
    Leave,
    /// They save and end, and their jobs go on later from what they saved: for a machine that goes down. What cannot save,
    /// or cannot be reached, is left. The shutdown waits for them: for each at most its grace, and a little.
    Yield,
}

impl Options {
    /// One slot, no labels, and times that suit a server.
    pub fn new(name: &str, host: &str, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            host: host.into(),
            labels: Vec::new(),
            version: env!("CARGO_PKG_VERSION").into(),
            slots: 1,
            state_dir: state_dir.into(),
            lease: Duration::from_secs(30),
            idle: Duration::from_secs(1),
            sweep: Duration::from_secs(60),
            poll_first: Duration::from_millis(25),
            poll_most: Duration::from_secs(2),
            diffs: 4,
            patience: Duration::from_secs(5),
            drain: Drain::default(),
            gpus: Arc::new(NoGpus),
            keep_trees: false,
            clock: Clock::default(),
            observer: Arc::new(()),
        }
    }

    pub(crate) fn worker(&self, slots_free: usize) -> Worker {
        Worker {
            name: self.name.clone(),
            host: self.host.clone(),
            labels: self.labels.clone(),
            slots_free,
            has_gpus: self.gpus.are_there(),
            lease: self.lease,
        }
    }

    pub(crate) fn heartbeat(&self, busy: usize, duty: Duty) -> Heartbeat {
        Heartbeat {
            name: self.name.clone(),
            host: self.host.clone(),
            labels: self.labels.clone(),
            slots: self.slots,
            busy,
            version: self.version.clone(),
            gpus: self.gpus.models(),
            duty,
        }
    }
}
