//! `swifthook workers`.

use std::process::ExitCode;
use std::time::SystemTime;

use serde::Deserialize;

use super::CommonArguments;
use super::id::short;
use super::reach::{Error, Reach, ReachArguments};
use super::screen::{ago, harmless, json_line, print, table};
use crate::api::{GpuKind, GpuView, WorkerView};

/// Which workers are there.
#[derive(Debug, clap::Args)]
pub struct WorkersArguments {
    #[command(flatten)]
    reach: ReachArguments,
}

#[derive(Deserialize)]
struct All {
    workers: Vec<WorkerView>,
    #[serde(default)]
    gpus: Vec<GpuView>,
}

pub(super) fn run(common: &CommonArguments, arguments: &WorkersArguments) -> ExitCode {
    match text(common, arguments) {
        Ok(text) => print(&text),
        Err(error) => error.tell(),
    }
}

fn text(common: &CommonArguments, arguments: &WorkersArguments) -> Result<Vec<u8>, Error> {
    let body = Reach::find(common, &arguments.reach)?.get("/api/v1/workers")?;
    if arguments.reach.json {
        return Ok(json_line(&body));
    }
    let all: All = serde_json::from_slice(&body).map_err(Error::Strange)?;
    Ok((list(&all.workers, SystemTime::now()) + &gpus(&all.gpus)).into_bytes())
}

fn list(workers: &[WorkerView], now: SystemTime) -> String {
    if workers.is_empty() {
        return "no workers\n".to_owned();
    }
    let row = |worker: &WorkerView| {
        [
            harmless(&worker.name),
            worker.state.clone(),
            format!("{}/{}", worker.busy, worker.slots),
            harmless(&worker.labels.join(",")),
            harmless(&kinds(&worker.gpus)),
            harmless(&worker.version),
            ago(&worker.started_at, now),
            ago(&worker.seen_at, now),
        ]
    };
    let rows: Vec<_> = workers.iter().map(row).collect();
    table(["WORKER", "STATE", "BUSY", "LABELS", "GPUS", "VERSION", "STARTED", "HEARD OF"], &rows)
}

fn kinds(gpus: &[GpuKind]) -> String {
    let kinds: Vec<_> = gpus.iter().map(|kind| format!("{} × {}", kind.count, kind.name)).collect();
    kinds.join(", ")
}

/// The GPUs that runs have, if any does.
fn gpus(leased: &[GpuView]) -> String {
    if leased.is_empty() {
        return String::new();
    }
    let row = |gpu: &GpuView| {
        [
            harmless(&gpu.uuid),
            harmless(&gpu.machine),
            short(&gpu.job.to_string()).to_owned(),
            gpu.attempt.to_string(),
        ]
    };
    let rows: Vec<_> = leased.iter().map(row).collect();
    format!("\n{}", table(["GPU", "MACHINE", "JOB", "ATTEMPT"], &rows))
}
