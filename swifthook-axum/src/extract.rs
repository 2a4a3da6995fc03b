use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRef, FromRequest, Request};
use axum::response::{IntoResponse, Response};
use swifthook_core::{Current, Outcome, Push, Reason};

use crate::receive::{Received, peer, receive};

/// A push whose signature was verified, of a repository for which its hook may speak.
///
/// Whatever else comes to the hook never reaches the handler: a ping and an event that is no push answer
/// themselves with 200 through the [`PushRejection`], what is refused with its 4xx. The verdicts of the receiver's
/// recipes are left to the handler; a deleted ref is a push too (its `head` is `None`).
///
/// The extractor takes the body, so it comes last among the arguments.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use axum::{Router, routing::post};
/// use swifthook_axum::SignedPush;
/// use swifthook_core::Current;
///
/// async fn pushed(SignedPush(push): SignedPush) -> String {
///     format!("{} is at {:?}", push.ref_name, push.head)
/// }
///
/// fn app(receiver: Arc<Current>) -> Router {
///     Router::new().route("/webhook", post(pushed)).with_state(receiver)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct SignedPush(pub Push);

/// Why a request did not become a [`SignedPush`]: refused, or answered already (ping, ignored).
#[derive(Debug)]
pub struct PushRejection(Received);

impl<S> FromRequest<S> for SignedPush
where
    Arc<Current>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = PushRejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, PushRejection> {
        let receiver = Arc::<Current>::from_ref(state);
        let (head, body) = request.into_parts();
        let received = receive(&receiver, &head, peer(&head), body).await;
        let Received { outcome: Ok(Outcome::Decided(decided)), .. } = received else {
            return Err(PushRejection(received));
        };
        if decided.is_of_configured() {
            return Ok(Self(decided.push));
        }
        // The hook need not be one that may speak for it.
        let detail = format!("`{}` is not in the configuration", decided.push.repository);
        let outcome = Ok(Outcome::Ignored(Reason::new("repository", detail)));
        Err(PushRejection(Received { outcome, is_last: false }))
    }
}

/// The reply of [`swifthook_core::reply`], as [`routes`](crate::routes) gives it.
impl IntoResponse for PushRejection {
    fn into_response(self) -> Response {
        self.0.reply(None).map(Body::from)
    }
}
