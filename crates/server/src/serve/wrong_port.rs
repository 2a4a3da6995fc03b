//! What is told to whoever asks the port of the hooks for the API, or posts a push to the port of the API.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::json;
use swifthook_core::{Answered, Current};

/// Where nothing is at a path of the API, says why.
pub(super) async fn at_hooks(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_of_api = path == "/api" || path.starts_with("/api/") || path == "/metrics";
    let response = next.run(request).await;
    let is_unknown = response
        .extensions()
        .get::<Answered>()
        .is_some_and(|answered| answered.reason.as_deref() == Some("unknown-path"));
    if is_of_api && is_unknown {
        return with_detail(
            response,
            "this is the port of the hooks; the API and the metrics are at `admin_listen` of [server]",
        );
    }
    response
}

/// Where a push comes to the path of a hook, says where it belongs. Whoever comes here without a token is told no more than
/// that, and GitHub shows it to whoever set the hook up.
pub(super) async fn at_admin(State(receiver): State<Arc<Current>>, request: Request, next: Next) -> Response {
    let is_push = request.method() == Method::POST
        && request.headers().contains_key("x-github-event")
        && receiver.load().hook(request.uri().path()).is_some();
    let response = next.run(request).await;
    if is_push && matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND) {
        return with_detail(
            response,
            "this is the port of the admin API; pushes are taken at `listen` of [server]",
        );
    }
    response
}

/// The same refusal with another explanation.
fn with_detail(response: Response, detail: &str) -> Response {
    let (mut head, _) = response.into_parts();
    let title = head.status.canonical_reason().unwrap_or("Error");
    let problem = json!({
        "type": "urn:swifthook:problem:wrong-port",
        "title": title,
        "status": head.status.as_u16(),
        "detail": detail,
    });
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    Response::from_parts(head, Json(problem).into_response().into_body())
}
