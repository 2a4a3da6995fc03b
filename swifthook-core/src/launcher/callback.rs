use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;

use super::{
    Capabilities, LaunchError, Progress, RunHandle, RunKey, RunSpec, RunStatus, Stop, TrainingLauncher,
};
use crate::job::Exit;

/// What [`launch_fn`](super::launch_fn) makes.
pub struct LaunchFn<F> {
    pub(super) name: Arc<str>,
    pub(super) start: F,
    pub(super) runs: Mutex<HashMap<RunKey, Run>>,
}

#[derive(Clone)]
pub(super) enum Run {
    Called,
    Returned(Exit),
}

impl<F> LaunchFn<F> {
    fn runs(&self) -> MutexGuard<'_, HashMap<RunKey, Run>> {
        self.runs.lock().expect("nothing panics under this lock")
    }

    fn handle(&self, key: &RunKey) -> RunHandle {
        let data = serde_json::json!({ "job": key.job, "attempt": key.attempt });
        RunHandle { launcher: self.name.clone(), host: None, version: 1, data }
    }
}

/// Takes the key back if the call does not return, so that the run counts as vanished and not as going on.
struct Call<'a, F> {
    launcher: &'a LaunchFn<F>,
    key: RunKey,
    exit: Option<Exit>,
}

impl<F> Drop for Call<'_, F> {
    fn drop(&mut self) {
        match self.exit.take() {
            Some(exit) => self.launcher.runs().insert(self.key, Run::Returned(exit)),
            None => self.launcher.runs().remove(&self.key),
        };
    }
}

#[async_trait]
impl<F, Fut> TrainingLauncher for LaunchFn<F>
where
    F: Fn(RunKey, RunSpec) -> Fut + Send + Sync,
    Fut: Future<Output = Exit> + Send + 'static,
{
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// Calls, and answers when the call has returned.
    async fn submit(&self, key: &RunKey, run: &RunSpec) -> Result<RunHandle, LaunchError> {
        let is_first = {
            let mut runs = self.runs();
            let is_first = !runs.contains_key(key);
            runs.entry(*key).or_insert(Run::Called);
            is_first
        };
        if is_first {
            let mut call = Call { launcher: self, key: *key, exit: None };
            call.exit = Some((self.start)(*key, run.clone()).await);
        }
        Ok(self.handle(key))
    }

    async fn find(&self, key: &RunKey) -> Result<Option<RunHandle>, LaunchError> {
        Ok(self.runs().contains_key(key).then(|| self.handle(key)))
    }

    async fn poll(&self, run: &RunHandle) -> Result<RunStatus, LaunchError> {
        let key: RunKey = serde_json::from_value(run.data.clone())
            .map_err(|error| LaunchError::permanent("not a handle of this launcher").because(error))?;
        Ok(match self.runs().get(&key) {
            Some(Run::Called) => RunStatus::Running(Progress::default()),
            Some(Run::Returned(exit)) => RunStatus::Ended(exit.clone()),
            None => RunStatus::Vanished,
        })
    }

    /// A call cannot be interrupted: it ends when it returns.
    async fn stop(&self, _run: &RunHandle, _how: Stop) -> Result<(), LaunchError> {
        Ok(())
    }
}
