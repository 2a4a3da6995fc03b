use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::any;
use swifthook_core::{Current, Intake};

use crate::receive::{answer, peer, receive};

/// A router that takes signed pushes at `path`, with a slash at its end or without, to [`merge`](Router::merge) into a router with any state.
///
/// It verifies and decides with the receiver of the moment, and hands what was decided to `intake`. Every method
/// reaches it, so that what is no `POST` gets the 405 of [`swifthook_core::reply`].
///
/// # Panics
///
/// If `path` is none for [`Router::route`].
///
/// # Examples
///
/// ```no_run
/// use std::sync::Arc;
///
/// use axum::{Router, routing::get};
/// use swifthook_core::{Current, Intake};
///
/// fn app(receiver: Arc<Current>, intake: Arc<dyn Intake>) -> Router {
///     Router::new()
///         .route("/", get(|| async { "mine" }))
///         .merge(swifthook_axum::routes("/webhook", receiver, intake))
/// }
/// ```
pub fn routes<S>(path: &str, receiver: Arc<Current>, intake: Arc<dyn Intake>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let handle = async move |request: Request| {
        let (head, body) = request.into_parts();
        let received = receive(&receiver, &head, peer(&head), body).await;
        answer(received, &*intake).await.map(Body::from)
    };
    let plain = path.strip_suffix('/').filter(|plain| !plain.is_empty()).unwrap_or(path);
    // A wildcard takes slashes too.
    let (taking, takes_slash) = (any(handle), plain.ends_with(['/', '}']));
    let router = Router::new().route(plain, taking.clone());
    if takes_slash { router } else { router.route(&format!("{plain}/"), taking) }
}
