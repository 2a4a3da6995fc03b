use std::time::SystemTime;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use swifthook_core::{Job, JobFilter, JobId, Stage};

use super::deliveries;
use super::job::{JobView, TimelineView};
use super::problem::Problem;
use super::router::Api;
use super::turn;

/// Which jobs are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    /// One or several words, separated by commas.
    state: Option<String>,
    recipe: Option<String>,
    repository: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Page {
    jobs: Vec<JobView>,
    next: Option<JobId>,
}

#[derive(Serialize)]
pub(super) struct Whole {
    #[serde(flatten)]
    job: JobView,
    timeline: Vec<TimelineView>,
}

pub(super) async fn list(
    State(api): State<Api>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Json<Page>, Problem> {
    let Query(filter) = filter?;
    let limit = filter.limit.unwrap_or(DEFAULT_PAGE).clamp(1, LARGEST_PAGE);
    let asked = JobFilter {
        stages: stages(filter.state.as_deref())?,
        recipe: filter.recipe,
        repository: filter.repository,
        before: filter.cursor.as_deref().map(cursor).transpose()?,
        limit: limit + 1,
    };
    let mut jobs = api.store.jobs(&asked).await?;
    let is_last = jobs.len() <= limit;
    jobs.truncate(limit);
    let next = if is_last { None } else { jobs.last().map(|job| job.id) };
    let jobs: Vec<_> = jobs.into_iter().map(|job| api.changes.dressed(job)).collect();
    let jobs = turn::views(&api, &jobs, SystemTime::now().into()).await?;
    Ok(Json(Page { jobs, next }))
}

pub(super) async fn show(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Whole>, Problem> {
    let job = find(&api, &id).await?;
    let timeline = api.store.timeline(job.id).await?;
    let view = turn::view(&api, &job, SystemTime::now().into()).await?;
    Ok(Json(Whole { job: view, timeline: timeline.iter().map(TimelineView::from).collect() }))
}

/// The job of an id, or the one that the last delivery of a GUID led to.
pub(super) async fn find(api: &Api, id: &str) -> Result<Job, Problem> {
    let missing = || Problem::not_found(format!("there is no job `{id}`"));
    if let Ok(id) = id.parse()
        && let Some(job) = api.store.job(id).await?
    {
        return Ok(api.changes.dressed(job));
    }
    let delivery = match deliveries::find(api, id).await {
        Err(problem) if problem.is_not_found() => return Err(missing()),
        found => found?,
    };
    let job = match delivery.jobs[..] {
        [one] => one,
        [] => {
            let told = format!("delivery {} led to no job; `deliveries explain` says why", delivery.id);
            return Err(Problem::not_found(told));
        }
        ref several => {
            let several: Vec<_> = several.iter().map(ToString::to_string).collect();
            let told = format!("delivery {} led to several jobs: {}", delivery.id, several.join(", "));
            return Err(Problem::not_found(told));
        }
    };
    let removed =
        || Problem::not_found(format!("delivery {} led to job {job}, which was removed", delivery.id));
    api.store.job(job).await?.map(|job| api.changes.dressed(job)).ok_or_else(removed)
}

fn stages(words: Option<&str>) -> Result<Vec<Stage>, Problem> {
    let words = words.into_iter().flat_map(|words| words.split(',')).filter(|word| !word.is_empty());
    let stage = |word: &str| {
        Stage::from_word(word).ok_or_else(|| {
            let all = Stage::ALL.map(Stage::word).join(", ");
            Problem::bad_request(format!("no state is called `{word}` (there are {all})"))
        })
    };
    words.map(stage).collect()
}

fn cursor(text: &str) -> Result<JobId, Problem> {
    text.parse().map_err(|_| Problem::bad_request("`cursor` is the `next` of the page before"))
}

const DEFAULT_PAGE: usize = 50;
const LARGEST_PAGE: usize = 500;
