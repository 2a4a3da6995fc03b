//! GitHub push webhooks for hyper servers and tower stacks, verified and decided by swifthook-core.
//!
//! [`service`] makes a [`HookService`] from a receiver and an intake. It implements
//! [`hyper::service::Service`] and [`tower_service::Service`] for requests with any body, never fails, and
//! answers every request itself: the status of each outcome is that of [`swifthook_core::reply`].
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use hyper_util::rt::{TokioIo, TokioTimer};
//! use swifthook_core::{Current, Intake};
//!
//! async fn serve(receiver: Arc<Current>, intake: Arc<dyn Intake>) -> std::io::Result<()> {
//!     let service = swifthook_hyper::service(receiver, intake);
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//!     loop {
//!         let (stream, peer) = listener.accept().await?;
//!         let service = service.clone().with_peer(peer.ip());
//!         let connection = hyper::server::conn::http1::Builder::new()
//!             .timer(TokioTimer::new())
//!             .serve_connection(TokioIo::new(stream), service);
//!         tokio::spawn(connection);
//!     }
//! }
//! ```
//!
//! # What the host has to see to
//!
//! - **The body must be the raw one.** The signature is over the bytes on the wire and a push may have 25 MiB, so
//!   layers that decompress, limit or buffer bodies belong around the host's other routes, not around this one.
//!   The service has its own limit, time limit and minimum rate for bodies.
//! - **A timer for the head of a request.** Set one on the connection builder, as above: hyper then closes
//!   connections that never finish a head. The service sees a request only once its head is complete.
//! - **The peer's address**, where a hook has `allow_from`, and for [shares](swifthook_core::Limits::in_flight) of the
//!   bytes in flight: [`HookService::with_peer`], or a [`PeerAddr`](swifthook_core::PeerAddr) among the request's
//!   extensions, which goes first. Without it one stranger may take them all.
//! - **Connections.** How many there may be, and who gives way, is the host's;
//!   [`Receiver::reputation`](swifthook_core::Receiver::reputation) says who has proven a signature lately. Nothing here
//!   ends a connection whose client does not read its replies.
//! - **A tokio runtime** with timers. Bodies over 1 MiB are verified on its blocking threads.
//!
//! # When something of yours fails
//!
//! An intake that fails, panics, or takes longer than [`ACCEPT_DEADLINE`](swifthook_core::ACCEPT_DEADLINE) is
//! answered with 503, and so is a policy that panics; the connection goes on. With `panic = "abort"` nothing can be
//! caught. The cause is told to nobody: an intake logs its own.

mod receive;
mod service;

pub use service::{HookService, service};
