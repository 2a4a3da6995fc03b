use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use swifthook_core::{Delivery, DeliveryId};

use super::delivery::DeliveryView;
use super::problem::Problem;
use super::router::Api;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Page {
    deliveries: Vec<DeliveryView>,
    next: Option<DeliveryId>,
}

pub(super) async fn list(
    State(api): State<Api>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Json<Page>, Problem> {
    let Query(filter) = filter?;
    let limit = filter.limit.unwrap_or(DEFAULT_PAGE).clamp(1, LARGEST_PAGE);
    let before = filter.cursor.as_deref().map(cursor).transpose()?;
    let mut deliveries = api.store.deliveries(before, limit + 1).await?;
    let is_last = deliveries.len() <= limit;
    deliveries.truncate(limit);
    let next = if is_last { None } else { deliveries.last().map(|delivery| delivery.id) };
    Ok(Json(Page { deliveries: deliveries.iter().map(DeliveryView::from).collect(), next }))
}

pub(super) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<DeliveryView>, Problem> {
    let delivery = find(&api, &id).await?;
    let mut jobs = Vec::with_capacity(delivery.jobs.len());
    for job in &delivery.jobs {
        jobs.push(api.store.job(*job).await?);
    }
    Ok(Json(DeliveryView::whole(&delivery, &jobs)))
}

/// The delivery of an id, or the last one of a GUID: that is what GitHub shows. Since anybody who repeats a delivery can
/// choose its GUID, one that stands for several pushes names none.
pub(super) async fn find(api: &Api, id: &str) -> Result<Delivery, Problem> {
    if let Ok(id) = id.parse()
        && let Some(delivery) = api.store.delivery(id).await?
    {
        return Ok(delivery);
    }
    let missing = || Problem::not_found(format!("there is no delivery `{id}`"));
    let found = api.store.deliveries_of_guid(id, MOST_OF_A_GUID).await?;
    let last = found.first().ok_or_else(missing)?;
    if let Some(other) = found.iter().find(|other| !is_same_push(other, last)) {
        let told = format!("several pushes came under this GUID: name {} or {}", last.id, other.id);
        return Err(Problem::new(StatusCode::CONFLICT, told));
    }
    Ok(last.clone())
}

/// Hooks that receive one event have its GUID in common, too.
fn is_same_push(one: &Delivery, other: &Delivery) -> bool {
    let place = |of: &Delivery| (of.repository.clone(), of.ref_name.clone());
    let moved = |of: &Delivery| (of.before.clone(), of.head.clone());
    place(one) == place(other) && moved(one) == moved(other)
}

fn cursor(text: &str) -> Result<DeliveryId, Problem> {
    text.parse().map_err(|_| Problem::bad_request("`cursor` is the `next` of the page before"))
}

const DEFAULT_PAGE: usize = 50;
const LARGEST_PAGE: usize = 500;
const MOST_OF_A_GUID: usize = 1_000;
