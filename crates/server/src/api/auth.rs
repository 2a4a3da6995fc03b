use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use super::problem::Problem;
use super::router::Api;

/// Lets through whoever shows the token.
pub(super) async fn check(State(api): State<Api>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    // The scheme's name is not case-sensitive: https://www.rfc-editor.org/rfc/rfc9110#section-11.1
    let token = shown.and_then(|value| value.split_at_checked(SCHEME.len()));
    match token {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(SCHEME) && api.token.is(token) => {
            guarded(next.run(request).await)
        }
        _ => {
            let refused = Problem::new(StatusCode::UNAUTHORIZED, "the admin token is missing or wrong");
            let challenge = [(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))];
            (challenge, refused).into_response()
        }
    }
}

/// What is shown here is nobody's to keep, and nothing but what it says it is.
fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

const SCHEME: &[u8] = b"Bearer ";
