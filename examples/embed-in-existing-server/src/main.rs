//! A hook in a server that has been there for long, with its usual layers: bodies of 2 MB at most, five seconds for
//! a request, decompression of bodies, panics caught.
//!
//! Each of the first three would break the hook if it stood around it: a push may have 25 MiB, may take longer
//! than five seconds to arrive, and its signature is over the bytes on the wire. So the host's routes get their
//! layers first, and the hook is merged in afterwards.
//!
//! ```text
//! GITHUB_WEBHOOK_SECRET='at least 16 bytes' cargo run -p embed-in-existing-server
//! ```

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use swifthook_core::condition::branches;
use swifthook_core::{Current, Decided, DeliveryId, Intake, IntakeError, Receipt, Receiver, SecretSet};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

/// The server as it was.
fn host(time: Duration) -> Router {
    Router::new()
        .route("/notes", post(|note: String| async move { Json(note.len()) }))
        .route("/slow", get(|| tokio::time::sleep(Duration::from_secs(3_600))))
        .route("/panics", get(panics))
        .layer(DefaultBodyLimit::disable())
        .layer(RequestDecompressionLayer::new())
        .layer(RequestBodyLimitLayer::new(2_000_000))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, time))
}

async fn panics() {
    panic!("a handler of the host panics");
}

/// The server with a hook. A layer is around the routes that were there when it was added: the hook comes after
/// those that touch bodies. Catching panics touches none, and may be around everything.
fn app(hook: Router, time: Duration) -> Router {
    host(time).merge(hook).layer(CatchPanicLayer::new())
}

fn hook(secret: &str) -> Result<Router, Box<dyn Error>> {
    let receiver = Receiver::builder()
        .hook("github", "/webhook", SecretSet::one(secret)?, &["acme/*"])
        .recipe("sft", "acme/models", branches(["main"])?)
        .build()?;
    Ok(swifthook_axum::routes("/webhook", Arc::new(Current::new(receiver)), Arc::new(Mine)))
}

struct Mine;

#[async_trait]
impl Intake for Mine {
    async fn accept(&self, decided: &Decided) -> Result<Receipt, IntakeError> {
        eprintln!("a push of {} to {}", decided.push.repository, decided.push.ref_name);
        Ok(Receipt::Accepted { delivery: DeliveryId(uuid::Uuid::now_v7().into_bytes()) })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = app(hook(&std::env::var("GITHUB_WEBHOOK_SECRET")?)?, HOST_TIME);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    // With the addresses of clients, each of them has a share of what there is for bodies.
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, app).await?)
}

const HOST_TIME: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
