use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use swifthook_core::{GpuLease, JobId, KnownWorker, Timestamp};

use super::problem::Problem;
use super::router::Api;

/// A worker as scripts see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerView {
    /// Its name.
    pub name: String,
    /// Its host.
    pub host: String,
    /// `working`, `draining`, or `missing`: it was not heard of for a minute.
    pub state: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// Runs that it may have at once.
    pub slots: usize,
    /// Runs that it has.
    pub busy: usize,
    /// The version of its software.
    pub version: String,
    /// The GPUs that it may give to runs, as far as it knows them.
    #[serde(default)]
    pub gpus: Vec<GpuKind>,
    /// When it began.
    pub started_at: String,
    /// When it was last heard of.
    pub seen_at: String,
}

/// The GPUs of one model, as scripts see them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuKind {
    /// The model.
    pub name: String,
    /// How many there are.
    pub count: usize,
}

/// A GPU that a run has, as scripts see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuView {
    /// Its machine.
    pub machine: String,
    /// The GPU.
    pub uuid: String,
    /// The job that has it.
    pub job: JobId,
    /// Its attempt.
    pub attempt: u32,
}

#[derive(Serialize)]
pub(super) struct All {
    workers: Vec<WorkerView>,
    gpus: Vec<GpuView>,
}

pub(super) async fn list(State(api): State<Api>) -> Result<Json<All>, Problem> {
    let (known, now) = (api.store.workers().await?, SystemTime::now().into());
    let leases = api.store.gpu_leases().await?;
    Ok(Json(All {
        workers: known.iter().map(|worker| WorkerView::of(worker, now)).collect(),
        gpus: leases.iter().map(GpuView::from).collect(),
    }))
}

impl From<&GpuLease> for GpuView {
    fn from(lease: &GpuLease) -> Self {
        Self {
            machine: lease.machine.to_string(),
            uuid: lease.uuid.to_string(),
            job: lease.run.job,
            attempt: lease.run.attempt,
        }
    }
}

impl WorkerView {
    fn of(worker: &KnownWorker, now: Timestamp) -> Self {
        let state = match worker.is_draining {
            _ if is_missing(worker, now) => "missing",
            true => "draining",
            false => "working",
        };
        Self {
            name: worker.name.to_string(),
            host: worker.host.to_string(),
            state: state.to_owned(),
            labels: worker.labels.iter().map(ToString::to_string).collect(),
            slots: worker.slots,
            busy: worker.busy,
            version: worker.version.to_string(),
            gpus: kinds(&worker.gpus),
            started_at: worker.started_at.to_string(),
            seen_at: worker.seen_at.to_string(),
        }
    }
}

/// Tells whether it was not heard of for too long.
pub(super) fn is_missing(worker: &KnownWorker, now: Timestamp) -> bool {
    worker.seen_at.after(MISSING_AFTER) < now
}

/// In the order in which they come first.
fn kinds(models: &[Arc<str>]) -> Vec<GpuKind> {
    let mut kinds: Vec<GpuKind> = Vec::new();
    for model in models {
        match kinds.iter_mut().find(|kind| *kind.name == **model) {
            Some(kind) => kind.count += 1,
            None => kinds.push(GpuKind { name: model.to_string(), count: 1 }),
        }
    }
    kinds
}

/// Several times as long as a worker is silent that is well.
const MISSING_AFTER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_missing_when_it_was_not_heard_of_for_a_minute() {
        let worker = KnownWorker {
            name: "w".into(),
            host: "h".into(),
            labels: Vec::new(),
            slots: 1,
            busy: 0,
            version: "0".into(),
            gpus: ["A100", "H100", "A100"].map(Into::into).into(),
            started_at: Timestamp(0),
            seen_at: Timestamp(1_000),
            is_draining: false,
        };
        let draining = KnownWorker { is_draining: true, ..worker.clone() };
        for (at, expected) in [(0, "working"), (61_000, "working"), (61_001, "missing")] {
            assert_eq!(WorkerView::of(&worker, Timestamp(at)).state, expected);
        }
        assert_eq!(WorkerView::of(&draining, Timestamp(61_000)).state, "draining");
        assert_eq!(WorkerView::of(&draining, Timestamp(61_001)).state, "missing");
        let kind = |name: &str, count| GpuKind { name: name.to_owned(), count };
        assert_eq!(WorkerView::of(&worker, Timestamp(0)).gpus, [kind("A100", 2), kind("H100", 1)]);
    }
}
