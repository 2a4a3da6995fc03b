//! Runs that a person gave up while nobody could reach them. When their machine is back they may still train, and hold
//! what the next one needs: whoever works there ends them.

use std::sync::Arc;
use std::time::Duration;

use swifthook_core::{Actor, Job, LaunchError, RunHandle, RunKey, RunStatus, Stop, TrainingLauncher};

use crate::guard::{caught_now, guarded};
use crate::task::Shared;

/// Looks at those of this host, ends what is left of them, and says so of those of which nothing is: their GPUs, if
/// they have any, are free then.
pub(crate) async fn clear(shared: &Shared) {
    let Ok(stranded) = shared.store.stranded(&shared.options.host).await else { return };
    for job in stranded {
        match is_over(shared, &job).await {
            Ok(true) => {
                tracing::info!(job = %job.id, "nothing is left of a run that was given up");
                // If the store does not answer, there is a next time.
                let _ = shared.store.give_back(job.id, &Actor(shared.options.name.clone())).await;
            }
            Ok(false) => {
                tracing::warn!(job = %job.id, "a run that was given up is there, and is asked to end")
            }
            Err(error) => {
                tracing::debug!(job = %job.id, %error, "nothing is known of a run that was given up")
            }
        }
    }
}

/// Whether nothing is left of a run. What is left is asked to end.
async fn is_over(shared: &Shared, job: &Job) -> Result<bool, LaunchError> {
    let name = job.state.handle.as_ref().map_or(&job.spec.launcher, |run| &run.launcher);
    let launcher = caught_now(|| shared.catalog.launcher(name)).ok().flatten();
    let launcher = launcher.ok_or_else(|| LaunchError::passing("the configuration has no such launcher"))?;
    let Some(run) = run_of(&launcher, job).await? else { return Ok(true) };
    match guarded(async { launcher.poll(&run).await }).await? {
        RunStatus::Ended(_) | RunStatus::Vanished => Ok(true),
        RunStatus::Unreachable { .. } => Err(LaunchError::passing("its launcher cannot reach it")),
        _ => {
            guarded(async { launcher.stop(&run, Stop::Grace(GRACE)).await }).await?;
            Ok(false)
        }
    }
}

/// Its run; one of which nobody knows is kept from beginning.
async fn run_of(launcher: &Arc<dyn TrainingLauncher>, job: &Job) -> Result<Option<RunHandle>, LaunchError> {
    match &job.state.handle {
        Some(run) => Ok(Some(run.clone())),
        None => {
            let key = RunKey { job: job.id, attempt: job.state.attempt };
            guarded(async { launcher.forbid(&key).await }).await
        }
    }
}

/// How long a run may take to end that nobody waits for.
const GRACE: Duration = Duration::from_secs(30);
