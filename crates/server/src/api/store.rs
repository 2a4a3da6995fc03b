use std::time::{Duration, SystemTime};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use swifthook_core::{Actor, PruneFrom, Pruned, Retention, Stats, Timestamp};
use tracing::info;

use super::command::unconfirmed;
use super::confirm::Call;
use super::problem::Problem;
use super::router::Api;
use super::wording;
use crate::config::SHORTEST_RETENTION;
use crate::serve::remove_runs;

/// A store as scripts see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreView {
    /// Jobs in each state.
    pub jobs: Vec<Counted>,
    /// Deliveries.
    pub deliveries: u64,
    /// Changes that are known, with those whose jobs were removed.
    pub changes: u64,
    /// When the oldest delivery was received that is there.
    pub oldest: Option<String>,
    /// When the newest was.
    pub newest: Option<String>,
    /// What it takes on disk, in bytes.
    pub bytes: Option<u64>,
    /// The version of its schema.
    pub schema: Option<u32>,
}

/// How many jobs are in a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The state.
    pub state: String,
    /// How many.
    pub count: u64,
}

/// What is to be removed. Without an age it is what the configuration says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    /// Everything that ended longer ago, in seconds.
    older_than: Option<u64>,
    #[serde(default)]
    dry_run: bool,
    confirm: Option<String>,
}

/// What was removed, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrunedView {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// Jobs.
    pub jobs: u64,
    /// Deliveries.
    pub deliveries: u64,
    /// Directories of runs, which are counted when they are removed.
    pub runs: Option<u64>,
}

pub(super) async fn show(State(api): State<Api>) -> Result<Json<StoreView>, Problem> {
    Ok(Json(StoreView::from(&api.store.stats().await?)))
}

pub(super) async fn prune(State(api): State<Api>, body: Bytes) -> Result<Response, Problem> {
    let body: Body = match &body[..] {
        [] => Body::default(),
        body => wording::read(body).map_err(Problem::bad_request)?,
    };
    let retention = match body.older_than.map(Duration::from_secs) {
        Some(age) if age < SHORTEST_RETENTION => {
            return Err(Problem::bad_request(
                "nothing is removed that is younger than a week: a push that comes late is compared with it",
            ));
        }
        Some(age) => Retention { keep: Some(age), keep_failed: Some(age) },
        None => (api.retention)(),
    };
    if body.dry_run {
        let would = walk(&api, retention, true).await?;
        let view = PrunedView { dry_run: true, jobs: would.jobs, deliveries: would.deliveries, runs: None };
        return Ok(Json(view).into_response());
    }
    let call = Call {
        action: "prune",
        target: "store".to_owned(),
        state: format!("{retention:?}"),
        caller: Actor("admin".into()),
    };
    let now = Timestamp::from(SystemTime::now());
    if !body.confirm.is_some_and(|token| api.confirmations().take(&token, &call, now)) {
        let would = walk(&api, retention, true).await?;
        let told = format!("remove {} jobs and {} deliveries, with their logs", would.jobs, would.deliveries);
        return unconfirmed(&api, vec![told], call, now);
    }
    let done = walk(&api, retention, false).await?;
    let runs = remove_runs(&api.state_dir, &*api.store, retention, now).await;
    info!(jobs = done.jobs, deliveries = done.deliveries, runs, "pruned the store");
    let view = PrunedView { dry_run: false, jobs: done.jobs, deliveries: done.deliveries, runs: Some(runs) };
    Ok((StatusCode::OK, Json(view)).into_response())
}

/// All of it, in steps between which others have their turn.
async fn walk(api: &Api, retention: Retention, is_dry: bool) -> Result<Pruned, Problem> {
    let mut all = Pruned::default();
    let mut from = Some(PruneFrom::default());
    while let Some(begin) = from {
        let pruned = api.store.prune(retention, begin, is_dry).await?;
        all.jobs += pruned.jobs;
        all.deliveries += pruned.deliveries;
        from = pruned.next;
    }
    Ok(all)
}

impl From<&Stats> for StoreView {
    fn from(stats: &Stats) -> Self {
        let counted = |(stage, count): &(swifthook_core::Stage, u64)| Counted {
            state: stage.word().to_owned(),
            count: *count,
        };
        Self {
            jobs: stats.jobs.iter().map(counted).collect(),
            deliveries: stats.deliveries,
            changes: stats.changes,
            oldest: stats.oldest.map(|at| at.to_string()),
            newest: stats.newest.map(|at| at.to_string()),
            bytes: stats.bytes,
            schema: stats.schema,
        }
    }
}
