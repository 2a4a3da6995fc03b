//! What a cluster still has of runs whose jobs have ended.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use swifthook_core::{Job, Timestamp};
use swifthook_launch::{KnownRun, KubernetesLauncher};
use tracing::{info, warn};

use super::launchers::Launchers;
use super::store::Store;

/// Removes it now and then, for as long as there is a server.
pub(super) async fn sweep(launchers: Weak<Launchers>, store: Weak<dyn Store>) {
    loop {
        // Not in the way of what a server has to do at its start.
        tokio::time::sleep(EVERY).await;
        let Some((launchers, store)) = launchers.upgrade().zip(store.upgrade()) else { return };
        for cluster in launchers.clusters() {
            clear(&cluster, &store).await;
        }
    }
}

async fn clear(cluster: &KubernetesLauncher, store: &Arc<dyn Store>) {
    let now = SystemTime::now();
    for run in cluster.known_runs().await.into_iter().flatten() {
        let Ok(job) = store.job(run.key.job).await else { return };
        if !is_to_go(&run, job.as_ref(), now.into()) {
            continue;
        }
        match cluster.remove(&run.key).await {
            Ok(()) => info!(run = %run.key, "removed the Job of a run whose job has ended"),
            Err(error) => warn!(%error, run = %run.key, "the Job of a run whose job has ended stays"),
        }
    }
    if let Err(error) = cluster.tidy(now).await {
        warn!(%error, "cannot tidy up the secrets of runs");
    }
}

/// Of a job that is over whatever still runs goes at once; what is over stays for a while, so that people can look at it and
/// nobody who was asleep finds its name free. A run of a job that this store does not know may be another's: it goes when
/// it is over.
fn is_to_go(run: &KnownRun, job: Option<&Job>, now: Timestamp) -> bool {
    let is_old = now.since(run.created_at) > KEPT;
    match job {
        Some(job) if job.state.attempt == run.key.attempt && !job.state.stage.is_final() => false,
        Some(job) if !job.state.stage.is_final() => run.is_over && is_old,
        Some(_) => !run.is_over || is_old,
        None => run.is_over && is_old,
    }
}

const EVERY: Duration = Duration::from_secs(600);
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

#[cfg(test)]
mod tests {
    use serde_json::json;
    use swifthook_core::{JobId, RunKey, Stage, State};

    use super::*;

    fn job(stage: Stage, attempt: u32) -> Job {
        let change = json!({
            "repository": "acme/models", "ref_name": { "branch": "main" }, "head": "a".repeat(40),
            "recipe": "sft", "config": "", "run": 0,
        });
        let spec = json!({
            "recipe": "sft", "config": null, "group": "sft", "priority": 0, "launcher": "cluster", "labels": [],
            "command": [], "superseded": "keep", "debounce": null, "retry": swifthook_core::Retry::default(),
        });
        let state = State { stage, attempt, ..State::queued(None, None) };
        let job = json!({
            "id": JobId([1; 16]), "change": change, "before": null, "sender": null, "pushed_at": null,
            "source": "person", "spec": spec, "state": state, "created_at": 0, "rerun_of": null,
            "superseded_by": null, "progress": null,
        });
        serde_json::from_value(job).unwrap()
    }

    #[test]
    fn a_run_goes_when_its_job_has_ended_and_never_before() {
        let run = |is_over| KnownRun {
            key: RunKey { job: JobId([1; 16]), attempt: 2 },
            created_at: Timestamp(0),
            is_over,
        };
        let (soon, late) = (Timestamp(1_000), Timestamp(0).after(KEPT * 2));
        for (stage, attempt, is_over, goes_soon, goes_late) in [
            (Stage::Running, 2, false, false, false),
            (Stage::Finishing, 2, true, false, false),
            (Stage::Queued, 2, true, false, false),
            (Stage::Running, 3, true, false, true),
            (Stage::Running, 3, false, false, false),
            (Stage::Cancelled, 2, false, true, true),
            (Stage::Failed, 2, true, false, true),
            (Stage::Succeeded, 3, true, false, true),
        ] {
            let job = job(stage, attempt);
            let told = [soon, late].map(|now| is_to_go(&run(is_over), Some(&job), now));
            assert_eq!(told, [goes_soon, goes_late], "{stage:?}, attempt {attempt}, over: {is_over}");
        }
        assert!(!is_to_go(&run(false), None, late), "it may be another's");
        assert!(is_to_go(&run(true), None, late));
    }
}
