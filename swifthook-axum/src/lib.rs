//! GitHub push webhooks for axum servers, verified and decided by swifthook-core.
//!
//! [`routes`] is a router to merge into your own; [`SignedPush`] is an extractor for handlers of your own, which
//! then do what they like with a verified push.
//!
//! # Where to mount it
//!
//! - **Outside of layers that touch bodies.** The signature is over the bytes on the wire and a push may have
//!   25 MiB, so layers that decompress, limit or buffer bodies, and short time limits, belong around your other
//!   routes: add them first and [`merge`](axum::Router::merge) the hook afterwards. axum's own `DefaultBodyLimit`
//!   does no harm, it is for other extractors. Limit, time limit and minimum rate of a push's body are those of
//!   the receiver.
//! - **The path of the hook is the path that the router sees.** `nest("/github", routes("/webhook", …))` takes
//!   pushes at `/github/webhook` by the hook whose path is `/webhook`.
//! - **The peer's address**, where a hook has `allow_from`, and for [shares](swifthook_core::Limits::in_flight) of the
//!   bytes in flight: serve with
//!   [`into_make_service_with_connect_info`](axum::Router::into_make_service_with_connect_info), or put a
//!   [`PeerAddr`](swifthook_core::PeerAddr) among the request's extensions, which goes first. Without it one stranger
//!   may take them all.
//! - **Connections.** How many there may be, and who gives way, is the host's: `axum::serve` has no bound.
//!   [`Receiver::reputation`](swifthook_core::Receiver::reputation) says who has proven a signature lately.
//! - **In a tokio runtime** with timers, as axum needs one anyway. Bodies over 1 MiB are verified on its blocking
//!   threads.
//!
//! # When something of yours fails
//!
//! An intake that fails, panics, or takes longer than [`ACCEPT_DEADLINE`](swifthook_core::ACCEPT_DEADLINE) is
//! answered with 503, and so is a policy that panics; the connection goes on. With `panic = "abort"` nothing can be
//! caught. The cause is told to nobody: an intake logs its own.

mod extract;
mod receive;
mod routes;

pub use extract::{PushRejection, SignedPush};
pub use routes::routes;

/// The README's snippets compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
