//! Runs to hand to a launcher.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use swifthook_core::{Enclosure, Job, JobId, Retry, RunKey, RunLimits, RunShape, RunSpec, State};

/// The key of a run that no other process has.
#[must_use]
pub fn key(number: u64) -> RunKey {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&u64::from(std::process::id()).to_be_bytes());
    id[8..].copy_from_slice(&number.to_be_bytes());
    RunKey { job: JobId(id), attempt: 1 }
}

/// A run of this command, with its directory in `runs` and the `PATH` alone in its environment.
///
/// # Panics
///
/// Never: what a job has is always one.
#[must_use]
pub fn run(runs: &Path, key: &RunKey, argv: &[&str]) -> RunSpec {
    let run_dir = runs.join(key.to_string());
    RunSpec {
        job: Arc::new(job(key.job)),
        argv: argv.iter().map(|&argument| argument.to_owned()).collect(),
        env: BTreeMap::from([("PATH".to_owned(), std::env::var("PATH").unwrap_or_default())]),
        working_dir: run_dir.join("tree"),
        checkout: None,
        output_dir: run_dir.join("output"),
        run_dir,
        timeout: None,
        grace: Duration::from_secs(1),
        limits: RunLimits::default(),
        enclosure: Enclosure::default(),
        shape: RunShape::default(),
    }
}

fn job(id: JobId) -> Job {
    let change = json!({
        "repository": "acme/models", "ref_name": { "branch": "main" }, "head": "a".repeat(40),
        "recipe": "bench", "config": "", "run": 0,
    });
    let spec = json!({
        "recipe": "bench", "config": null, "group": "bench", "priority": 0, "launcher": "bench", "labels": [],
        "command": [], "superseded": "keep", "debounce": null, "retry": Retry::default(),
    });
    let job = json!({
        "id": id, "change": change, "before": null, "sender": null, "pushed_at": null, "source": "person",
        "spec": spec, "state": State::queued(None, None), "created_at": 0, "rerun_of": null,
        "superseded_by": null, "progress": null,
    });
    serde_json::from_value(job).expect("it is a job")
}
