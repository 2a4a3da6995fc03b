use std::error::Error;

use axum::Json;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use swifthook_core::QueueError;
use swifthook_core::text::without_user_info;
use tracing::error;

use super::wording;

/// Why a call was refused (<https://www.rfc-editor.org/rfc/rfc9457>).
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    #[serde(serialize_with = "code")]
    status: StatusCode,
    title: &'static str,
    detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, title: status.canonical_reason().unwrap_or("Error"), detail: detail.into() }
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))];
        (self.status, kind, Json(self).into_response().into_body()).into_response()
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        let status = match &error {
            QueueError::NotFound(_) => StatusCode::NOT_FOUND,
            QueueError::Illegal(_) | QueueError::StaleLease { .. } | QueueError::NotThisChange(_) => {
                StatusCode::CONFLICT
            }
            _ => {
                error!(error = whole(&error), "the store failed a call");
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        Self::new(status, whole(&error))
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), wording::of_query(&rejection.body_text()))
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

pub(super) async fn no_such_path() -> Problem {
    Problem::not_found("there is nothing at this path")
}

pub(super) async fn no_such_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path has another method")
}

/// Every refusal as the others are: also those of the framework, which are plain text (a body that is too large, a path
/// that is not UTF-8, a method that there is not).
pub(super) async fn in_one_form(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let is_refusal = response.status().is_client_error() || response.status().is_server_error();
    let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    // Answers of ours are JSON: a problem, a question back, what is not ready.
    if !is_refusal || kind.is_some_and(|kind| kind.starts_with(b"application/")) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let told = to_bytes(body, MOST_DETAIL).await.unwrap_or_default();
    let problem = Problem::new(head.status, detail(head.status, &String::from_utf8_lossy(&told)));
    let (form, body) = problem.into_response().into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.extend(form.headers);
    Response::from_parts(head, body)
}

fn detail(status: StatusCode, told: &str) -> String {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => "a body here has at most 2 MiB".to_owned(),
        _ if told.trim().is_empty() => status.canonical_reason().unwrap_or("refused").to_lowercase(),
        _ => without_user_info(told.trim()).into_owned(),
    }
}

/// An error with its causes, without what lets somebody in.
fn whole(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| (**cause).source());
    let all = std::iter::once(error.to_string()).chain(causes.map(ToString::to_string));
    without_user_info(&all.collect::<Vec<_>>().join(": ")).into_owned()
}

const MOST_DETAIL: usize = 4 << 10;

fn code<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}
