//! Tells the store the ends of the logs of runs: for those who ask on another machine, or when the file is gone.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use swifthook_core::{Job, RunKey, RunLog};
use swifthook_launch::Looks;
use swifthook_runner::Moment;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{MissedTickBehavior, interval};

use super::store::Store;
use crate::api::{self, Hidden};

/// What happens to runs, for whoever keeps the ends of their logs.
#[derive(Clone)]
pub(super) struct Notes(UnboundedSender<Note>);

enum Note {
    Begun(RunKey),
    Ended(RunKey),
    Left(RunKey),
}

/// Keeps the ends of the logs of this machine's runs.
pub(super) struct LogKeeper {
    pub(super) store: Arc<dyn Store>,
    pub(super) state_dir: PathBuf,
    pub(super) host: Arc<str>,
    pub(super) hidden: Hidden,
    pub(super) looks: Looks,
    /// Whether others look while a run goes on. Otherwise only how it ended is kept.
    pub(super) is_shared: bool,
}

/// What was told of a log.
#[derive(Default)]
struct Told {
    length: Option<u64>,
    has_ended: bool,
}

impl Notes {
    pub(super) fn new() -> (Self, Arrivals) {
        let (sender, receiver) = unbounded_channel();
        (Self(sender), Arrivals(receiver))
    }

    pub(super) fn take(&self, job: &Job, moment: &Moment) {
        let run = RunKey { job: job.id, attempt: job.state.attempt };
        let note = match moment {
            Moment::Submitted | Moment::Adopted => Note::Begun(run),
            Moment::Ended => Note::Ended(run),
            Moment::Released | Moment::Lost => Note::Left(run),
            _ => return,
        };
        // When nobody keeps logs any more there is nothing to do.
        let _ = self.0.send(note);
    }
}

/// What [`Notes`] were taken.
pub(super) struct Arrivals(UnboundedReceiver<Note>);

impl LogKeeper {
    /// Keeps them until it is `over`, and then what has ended by then.
    pub(super) async fn run(self, mut notes: Arrivals, over: impl Future<Output = ()>) {
        let mut runs: BTreeMap<RunKey, Told> = BTreeMap::new();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut over = pin!(over);
        loop {
            tokio::select! {
                () = &mut over => break,
                Some(note) = notes.0.recv() => self.take(note, &mut runs).await,
                _ = look.tick() => {
                    let due = runs.iter().filter(|(_, told)| self.is_shared || told.has_ended);
                    for run in due.map(|(run, _)| *run).collect::<Vec<_>>() {
                        self.look_at(run, &mut runs).await;
                    }
                }
            }
        }
        notes.0.close();
        while let Ok(note) = notes.0.try_recv() {
            self.take(note, &mut runs).await;
        }
    }

    async fn take(&self, note: Note, runs: &mut BTreeMap<RunKey, Told>) {
        match note {
            Note::Begun(run) => drop(runs.insert(run, Told::default())),
            Note::Left(run) => drop(runs.remove(&run)),
            Note::Ended(run) => {
                runs.entry(run).or_default().has_ended = true;
                self.look_at(run, runs).await;
            }
        }
    }

    /// Tells the end of a log, if there is more of it than was told. A store that does not answer is told later.
    async fn look_at(&self, run: RunKey, runs: &mut BTreeMap<RunKey, Told>) {
        let Some(told) = runs.get_mut(&run) else { return };
        let read = self.read(run, told.length).await;
        let is_told = match read {
            Some(log) => {
                let is_told = self.store.keep_log(&log).await.is_ok();
                if is_told {
                    told.length = Some(log.length);
                }
                is_told
            }
            None => true,
        };
        if told.has_ended && is_told {
            runs.remove(&run);
        }
    }

    /// The end of a log; `None` if there is none, or no more of it.
    async fn read(&self, run: RunKey, known: Option<u64>) -> Option<RunLog> {
        let directory = self.state_dir.join("runs").join(run.to_string());
        let (host, hidden) = (self.host.clone(), self.hidden.clone());
        let reading = self.looks.look(&run, move || {
            let file = api::open_log(&directory).ok()?;
            let length = file.metadata().ok()?.len();
            if known == Some(length) {
                return None;
            }
            let tail = api::log_tail(file, RunLog::MOST, &hidden()).ok()?;
            let file = directory.join("log").display().to_string().into();
            Some(RunLog { run, host, file, length, tail })
        });
        reading.await.ok().flatten()
    }
}

/// Limit of looks at the log of one run that may hang, and how long one is waited for: others wait behind it.
pub(super) const MOST_LOOKS: usize = 1;
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How often a run's log is looked at while others may ask for it.
const LOOK: Duration = Duration::from_secs(5);
