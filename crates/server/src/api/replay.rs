use std::time::SystemTime;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use swifthook_core::{
    Admitted, Decided, DeliveryId, JobId, JobSpec, Receipt, Stage, StoredJob, Timestamp, Verdict,
};
use tracing::info;

use super::deliveries;
use super::delivery::VerdictView;
use super::problem::Problem;
use super::router::Api;
use super::wording;

/// The body of a replay; it may be absent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(default)]
    dry_run: bool,
}

/// What a delivery leads to when it is decided again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayView {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// The new receipt; null in a dry run, and where a broker has it.
    pub delivery: Option<DeliveryId>,
    /// What each recipe says now.
    pub verdicts: Vec<VerdictView>,
    /// The jobs that it led to, or would, known ones too.
    pub jobs: Vec<ReplayedJob>,
}

/// A job that a replay led to, or would.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayedJob {
    /// Its id; null of one that a dry run would make.
    pub id: Option<JobId>,
    /// The recipe.
    pub recipe: String,
    /// The changed file that it is for.
    pub config: Option<String>,
    /// Its state, or the one that it would begin in.
    pub state: String,
    /// Whether its change was not known before.
    pub new: bool,
}

pub(super) async fn replay(
    State(api): State<Api>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: Body = match &body[..] {
        [] => Body::default(),
        body => wording::read(body).map_err(Problem::bad_request)?,
    };
    let delivery = deliveries::find(&api, &id).await?;
    let conflict = |why: &dyn std::fmt::Display| Problem::new(StatusCode::CONFLICT, why.to_string());
    let Some(replay) = &api.replay else { return Err(conflict(&"there are no recipes here to ask")) };
    let now = Timestamp::from(SystemTime::now());
    let decided: Decided = replay(&delivery, now).map_err(|error| conflict(&error))?;
    let verdicts = decided.verdicts.iter().map(VerdictView::from).collect();
    if body.dry_run {
        let jobs = foreseen(&decided, api.store.known_jobs(&decided).await?);
        let view = ReplayView { dry_run: true, delivery: None, verdicts, jobs };
        return Ok(Json(view).into_response());
    }
    let receipt =
        api.store.accept(&decided).await.map_err(|error| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, crate::serve::with_causes(&error))
        })?;
    let (stored, jobs) = match receipt {
        Receipt::Stored { delivery, jobs } => (Some(delivery), jobs),
        Receipt::Accepted { delivery } => (Some(delivery), Vec::new()),
    };
    jobs.iter().for_each(|job| api.changes.tell(job.id, None));
    let jobs: Vec<_> = jobs.iter().map(ReplayedJob::from).collect();
    info!(delivery = %delivery.id, new = jobs.iter().filter(|job| job.new).count(), "replayed");
    let status = if jobs.iter().any(|job| job.new) { StatusCode::ACCEPTED } else { StatusCode::OK };
    let view = ReplayView { dry_run: false, delivery: stored, verdicts, jobs };
    Ok((status, Json(view)).into_response())
}

/// The jobs that a push would lead to.
fn foreseen(decided: &Decided, known: Vec<Option<StoredJob>>) -> Vec<ReplayedJob> {
    let specs =
        decided.verdicts.iter().flat_map(|said| said.jobs.iter().map(move |spec| (&said.verdict, spec)));
    let job = |((verdict, spec), known): ((&Verdict, &JobSpec), Option<StoredJob>)| match known {
        Some(known) => ReplayedJob::from(&known),
        None => ReplayedJob {
            id: None,
            recipe: spec.recipe.to_string(),
            config: spec.config.as_deref().map(str::to_owned),
            state: if matches!(verdict, Verdict::Hold(_)) { Stage::Held } else { Stage::Queued }
                .word()
                .to_owned(),
            new: true,
        },
    };
    specs.zip(known).map(job).collect()
}

impl From<&StoredJob> for ReplayedJob {
    fn from(job: &StoredJob) -> Self {
        Self {
            id: Some(job.id),
            recipe: job.recipe.to_string(),
            config: job.config.as_deref().map(str::to_owned),
            state: job.stage.word().to_owned(),
            new: job.admitted != Admitted::Duplicate,
        }
    }
}
