use std::sync::Arc;

use async_trait::async_trait;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use swifthook_core::{DeliveryId, RepoName};

use super::delivery::VerdictView;
use super::problem::Problem;
use super::replay::ReplayedJob;
use super::router::Api;

/// Looks at repositories for pushes that no delivery told of.
#[async_trait]
pub trait Reconcile: Send + Sync {
    /// Looks at these, and takes what it finds unless it is a dry run.
    async fn reconcile(&self, repositories: Vec<RepoName>, is_dry: bool) -> Vec<LookView>;

    /// The repositories that recipes look at.
    fn repositories(&self) -> Vec<RepoName>;
}

/// The body of a call; it may be absent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(default)]
    dry_run: bool,
    /// None for all that recipes look at.
    #[serde(default)]
    repositories: Vec<String>,
}

/// What looking brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconcileView {
    /// True if nothing was done.
    pub dry_run: bool,
    /// The repositories that were looked at.
    pub repositories: Vec<LookView>,
}

/// A look at a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookView {
    /// Its configured name.
    pub repository: String,
    /// True if nobody had looked at it before: then its tips are recorded, and nothing is found.
    pub first: bool,
    /// How many branches and tags it has; told of a first look.
    pub refs: Option<usize>,
    /// Why it could not be looked at.
    pub error: Option<String>,
    /// Pushes that no delivery told of.
    pub found: Vec<FoundView>,
}

/// A push that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundView {
    /// The full ref.
    #[serde(rename = "ref")]
    pub ref_name: String,
    /// Where the ref was known to be.
    pub before: Option<String>,
    /// Where it is.
    pub commit: String,
    /// The receipt; null in a dry run, and where a delivery told of it meanwhile.
    pub delivery: Option<DeliveryId>,
    /// What each recipe says.
    pub verdicts: Vec<VerdictView>,
    /// The jobs that it led to, known ones too.
    pub jobs: Vec<ReplayedJob>,
}

/// Those of these names, or all if there are none; else why not.
pub(crate) fn choose(known: Vec<RepoName>, names: &[String]) -> Result<Vec<RepoName>, String> {
    let named = |name: &String| {
        let found = known.iter().find(|repository| repository.is_named(name));
        found.cloned().ok_or_else(|| format!("no recipe looks at a repository `{name}`"))
    };
    if names.is_empty() { Ok(known) } else { names.iter().map(named).collect() }
}

pub(super) async fn reconcile(State(api): State<Api>, body: Bytes) -> Result<Json<ReconcileView>, Problem> {
    let body: Body = match &body[..] {
        [] => Body::default(),
        body => serde_json::from_slice(body).map_err(|error| Problem::bad_request(error.to_string()))?,
    };
    let nobody = || Problem::new(StatusCode::CONFLICT, "there are no recipes here to ask".to_owned());
    let reconciler: Arc<dyn Reconcile> = api.reconciler.clone().ok_or_else(nobody)?;
    let repositories = choose(reconciler.repositories(), &body.repositories).map_err(Problem::not_found)?;
    // Whoever asked may go away; what has begun is finished.
    let looking = tokio::spawn(async move { reconciler.reconcile(repositories, body.dry_run).await });
    let looked = looking.await.map_err(|error| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the look failed: {error}"))
    })?;
    Ok(Json(ReconcileView { dry_run: body.dry_run, repositories: looked }))
}
