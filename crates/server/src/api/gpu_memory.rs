use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use swifthook_core::{Gpu, GpuRequest, Workload};

use super::problem::Problem;
use super::router::Api;

/// What a run would need and get that does not exist yet.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// What decides how much memory it needs, as JSON.
    pub workload: String,
    /// What its recipe asks for, as JSON.
    pub request: String,
    /// The launcher that would run it.
    pub launcher: String,
}

/// What earlier runs say of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// Why it may have too little; `None` where nothing says so.
    pub warning: Option<String>,
}

/// What a job would be warned of before its attempt begins.
pub(super) async fn show(
    State(api): State<Api>,
    question: Result<Query<Question>, QueryRejection>,
) -> Result<Json<Answer>, Problem> {
    let Query(question) = question?;
    let wrong = |name: &str, error| Problem::bad_request(format!("`{name}`: {error}"));
    let workload: Workload =
        serde_json::from_str(&question.workload).map_err(|error| wrong("workload", error))?;
    let request: GpuRequest =
        serde_json::from_str(&question.request).map_err(|error| wrong("request", error))?;
    let estimate = api.store.memory_estimate(&workload).await?;
    let gpus = match (api.capabilities)(&question.launcher) {
        Some(can) if can.gpu_leases && estimate.is_some() => gpus(&api).await,
        _ => Vec::new(),
    };
    let warning = estimate.and_then(|estimate| estimate.warning(&request, &gpus));
    Ok(Json(Answer { warning: warning.map(|warning| warning.detail.to_string()) }))
}

/// Those of this machine; none where nobody can tell.
async fn gpus(api: &Api) -> Vec<Gpu> {
    let Some(gpus) = api.gpus.as_ref().map(Arc::clone) else { return Vec::new() };
    gpus.all().await.unwrap_or_default()
}
