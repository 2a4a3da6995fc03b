//! Runs of shell scripts, for the launcher's own tests.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use swifthook_core::{
    Enclosure, Exit, Job, RunHandle, RunKey, RunLimits, RunShape, RunSpec, RunStatus, State, TrainingLauncher,
};

/// A run of a script, which finds its directory in `RUN_DIR`.
pub(crate) fn script(runs: &Path, key: &RunKey, text: &str) -> RunSpec {
    let run_dir = runs.join(key.to_string());
    std::fs::create_dir_all(&run_dir).unwrap();
    let own = run_dir.to_str().unwrap().to_owned();
    RunSpec {
        job: Arc::new(job(key)),
        argv: vec!["sh".into(), "-c".into(), text.into()],
        env: BTreeMap::from([("PATH".into(), std::env::var("PATH").unwrap()), ("RUN_DIR".into(), own)]),
        working_dir: run_dir.clone(),
        checkout: None,
        output_dir: run_dir.join("output"),
        run_dir,
        timeout: None,
        grace: Duration::from_secs(20),
        limits: RunLimits::default(),
        enclosure: Enclosure::default(),
        shape: RunShape::default(),
    }
}

/// Waits until the run is over.
pub(crate) async fn end(launcher: &dyn TrainingLauncher, run: &RunHandle) -> RunStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = launcher.poll(run).await.unwrap();
        if matches!(status, RunStatus::Ended(_) | RunStatus::Vanished) {
            return status;
        }
        assert!(Instant::now() < deadline, "the run does not end: {status:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until the run has ended.
pub(crate) async fn ended(launcher: &dyn TrainingLauncher, run: &RunHandle) -> Exit {
    match end(launcher, run).await {
        RunStatus::Ended(exit) => exit,
        other => panic!("the run should have ended, and is {other:?}"),
    }
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A machine that others keep busy takes its time.
const PATIENCE: Duration = Duration::from_secs(120);

fn job(key: &RunKey) -> Job {
    let change = json!({
        "repository": "acme/models", "ref_name": { "branch": "main" }, "head": "a".repeat(40),
        "recipe": "test", "config": "", "run": 0,
    });
    let spec = json!({
        "recipe": "test", "config": null, "group": "test", "priority": 0, "launcher": "local", "labels": [],
        "command": [], "superseded": "keep", "debounce": null,
        "retry": swifthook_core::Retry::default(),
    });
    let job = json!({
        "id": key.job, "change": change, "before": null, "sender": null, "pushed_at": null, "source": "person",
        "spec": spec, "state": State::queued(None, None), "created_at": 0, "rerun_of": null,
        "superseded_by": null, "progress": null,
    });
    serde_json::from_value(job).unwrap()
}
