//! A launcher whose runs are tasks of this process. Yours would ask your scheduler instead; what it has to answer is
//! the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use swifthook_core::{
    Capabilities, Exit, LaunchError, Progress, RunHandle, RunKey, RunSpec, RunStatus, Stop, TrainingLauncher,
};
use tokio::sync::watch;

#[derive(Default)]
pub(crate) struct Tasks {
    runs: Mutex<HashMap<RunKey, Run>>,
}

/// The two ends that are ours of a run's channels.
struct Run {
    stop: watch::Sender<bool>,
    news: watch::Receiver<News>,
}

/// How far it is, and how it ended.
type News = (Progress, Option<Exit>);

#[async_trait]
impl TrainingLauncher for Tasks {
    /// Nothing of what it could do for runs that outlive this process.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// The key is looked up and taken under one lock: submitted twice, it runs once.
    async fn submit(&self, key: &RunKey, _run: &RunSpec) -> Result<RunHandle, LaunchError> {
        if let Entry::Vacant(entry) = self.runs.lock().expect("nothing panics under this lock").entry(*key) {
            let (stop, is_stopped) = watch::channel(false);
            let (tell, news) = watch::channel(News::default());
            tokio::spawn(train(is_stopped, tell));
            entry.insert(Run { stop, news });
        }
        Ok(handle(key))
    }

    async fn find(&self, key: &RunKey) -> Result<Option<RunHandle>, LaunchError> {
        Ok(self.with(key, |_| handle(key)))
    }

    /// A run of which this process knows nothing ended with the process before: it has vanished.
    async fn poll(&self, run: &RunHandle) -> Result<RunStatus, LaunchError> {
        let news = self.with(&key(run)?, |run| run.news.borrow().clone());
        Ok(match news {
            Some((_, Some(exit))) => RunStatus::Ended(exit),
            Some((progress, None)) => RunStatus::Running(progress),
            None => RunStatus::Vanished,
        })
    }

    /// Only asks. That the run is over is for `poll` to say.
    async fn stop(&self, run: &RunHandle, _how: Stop) -> Result<(), LaunchError> {
        self.with(&key(run)?, |run| run.stop.send_replace(true));
        Ok(())
    }

    /// Whether all steps were done decides what an exit code of 0 means.
    async fn progress(&self, run: &RunHandle) -> Result<Progress, LaunchError> {
        Ok(self.with(&key(run)?, |run| run.news.borrow().0).unwrap_or_default())
    }
}

impl Tasks {
    fn with<T>(&self, key: &RunKey, look: impl FnOnce(&Run) -> T) -> Option<T> {
        self.runs.lock().expect("nothing panics under this lock").get(key).map(look)
    }
}

/// The training: ten steps, and a look at whether it is to stop between them.
async fn train(mut is_stopped: watch::Receiver<bool>, tell: watch::Sender<News>) {
    for step in 1..=STEPS {
        tokio::select! {
            () = tokio::time::sleep(A_STEP) => {}
            _ = is_stopped.wait_for(|is_stopped| *is_stopped) => {
                let message = Some(format!("stopped at step {step}").into());
                tell.send_modify(|news| news.1 = Some(Exit { code: Some(1), message, ..Exit::default() }));
                return;
            }
        }
        let loss = Some(1.0 / f64::from(step));
        let progress =
            Progress { step: Some(step.into()), max_steps: Some(STEPS.into()), loss, ..Progress::default() };
        tell.send_modify(|news| news.0 = progress);
    }
    tell.send_modify(|news| news.1 = Some(Exit { code: Some(0), ..Exit::default() }));
}

fn handle(key: &RunKey) -> RunHandle {
    let data = serde_json::json!({ "job": key.job, "attempt": key.attempt });
    RunHandle { launcher: "tasks".into(), host: None, version: 1, data }
}

fn key(run: &RunHandle) -> Result<RunKey, LaunchError> {
    serde_json::from_value(run.data.clone())
        .map_err(|error| LaunchError::permanent("not a handle of this launcher").because(error))
}

const STEPS: u32 = 10;
const A_STEP: Duration = Duration::from_millis(100);
