//! The smallest axum server that takes signed pushes.
//!
//! Run it, and point a webhook of a repository of `acme` at it (content type `application/json`):
//!
//! ```text
//! GITHUB_WEBHOOK_SECRET='at least 16 bytes' cargo run -p minimal-axum
//! ```

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::routing::get;
use swifthook_core::condition::{all, branches, paths};
use swifthook_core::{Current, Decided, DeliveryId, Intake, IntakeError, Receipt, Receiver, SecretSet};

fn app(secret: &str) -> Result<Router, Box<dyn Error>> {
    let trains = all([branches(["main"])?, paths(["configs/**", "!**/*.md"])?]);
    let receiver = Receiver::builder()
        .hook("github", "/webhook", SecretSet::one(secret)?, &["acme/*"])
        .recipe("sft", "acme/models", trains)
        .build()?;
    Ok(Router::new().route("/", get(|| async { "a server of your own" })).merge(swifthook_axum::routes(
        "/webhook",
        Arc::new(Current::new(receiver)),
        Arc::new(Mine),
    )))
}

struct Mine;

#[async_trait]
impl Intake for Mine {
    async fn accept(&self, decided: &Decided) -> Result<Receipt, IntakeError> {
        // Hand it to your queue here: GitHub gets its 202 when this returns, and a 503 for an error.
        for job in decided.verdicts.iter().flat_map(|verdict| &verdict.jobs) {
            eprintln!("{} trains {} at {:?}", job.recipe, decided.push.repository, decided.push.head);
        }
        Ok(Receipt::Accepted { delivery: DeliveryId(uuid::Uuid::now_v7().into_bytes()) })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = app(&std::env::var("GITHUB_WEBHOOK_SECRET")?)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    // With the addresses of clients, each of them has a share of what there is for bodies.
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, app).await?)
}

#[cfg(test)]
mod tests {
    use swifthook_conformance::client::{Client, Request, SECRET};
    use swifthook_conformance::payload::{Payload, sha};

    #[tokio::test]
    async fn a_signed_push_is_accepted_and_a_forged_one_is_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async { axum::serve(listener, super::app(SECRET).unwrap()).await });
        let push = Request::push(Payload::new("acme/models", "refs/heads/main", &sha(1)).json());
        for (request, status, word) in [
            (push.clone(), 202, "accepted"),
            (push.signed_with("another secret that is long enough"), 401, "signature"),
            (Request { method: "GET", ..Request::push("").to("/") }, 200, "your own"),
        ] {
            let mut client = Client::connect(address).await;
            client.send(&request).await;
            let reply = client.reply().await.unwrap();
            let body = String::from_utf8_lossy(&reply.body);
            assert!(reply.status == status && body.contains(word), "{} {body}", reply.status);
        }
    }
}
