use std::error::Error;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use swifthook_core::QueueError;
use tracing::error;

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
            QueueError::Illegal(_) | QueueError::StaleLease { .. } => StatusCode::CONFLICT,
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
        Self::new(rejection.status(), rejection.body_text())
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

/// An error with its causes.
fn whole(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| (**cause).source());
    std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect::<Vec<_>>().join(": ")
}

fn code<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}
