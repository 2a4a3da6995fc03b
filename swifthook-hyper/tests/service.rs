//! What is the service's own: both traits, any body, the peer's address, the deadline of the intake.

#![expect(clippy::unwrap_used, reason = "what is not as it should be ends the test")]

use std::convert::Infallible;
use std::future::pending;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use swifthook_conformance::RecordingIntake;
use swifthook_conformance::client;
use swifthook_conformance::payload::{Payload, sha};
use swifthook_core::condition::branches;
use swifthook_core::{
    ACCEPT_DEADLINE, Current, Decided, Hook, Intake, IntakeError, PeerAddr, Receipt, Receiver, SecretSet,
};
use swifthook_hyper::{HookService, service};
use tokio::time::Instant;

#[tokio::test]
async fn it_is_a_service_of_hyper_and_of_tower_for_any_body() {
    let mut service = service(receiver(&[]), Arc::new(RecordingIntake::default()));
    let streamed = push().map(Pieces);
    let whole = push().map(Full::new);
    let boxed = push().map(|body| Full::new(body).boxed_unsync());
    for (answered, status) in [
        (hyper::service::Service::call(&service, streamed).await, StatusCode::ACCEPTED),
        (hyper::service::Service::call(&service, whole.clone()).await, StatusCode::OK),
        (tower_service::Service::call(&mut service, whole).await, StatusCode::OK),
        (tower_service::Service::call(&mut service, boxed).await, StatusCode::OK),
    ] {
        let response = answered.unwrap_or_else(|never| match never {});
        assert_eq!(response.status(), status);
    }
}

#[tokio::test]
async fn the_peer_is_what_the_request_says_or_else_the_connection() {
    let service = service(receiver(&["10.0.0.0/8"]), Arc::new(RecordingIntake::default()));
    let [inside, outside]: [IpAddr; 2] = ["10.1.2.3", "192.0.2.1"].map(|ip| ip.parse().unwrap());
    for (of_connection, of_request, status) in [
        (None, None, StatusCode::FORBIDDEN),
        (Some(outside), None, StatusCode::FORBIDDEN),
        (Some(inside), None, StatusCode::ACCEPTED),
        (Some(inside), Some(outside), StatusCode::FORBIDDEN),
        (Some(outside), Some(inside), StatusCode::OK),
    ] {
        let service = of_connection.into_iter().fold(service.clone(), HookService::with_peer);
        let mut request = push().map(Full::new);
        if let Some(peer) = of_request {
            request.extensions_mut().insert(PeerAddr(peer));
        }
        assert_eq!(status_of(&service, request).await, status);
    }
}

#[tokio::test(start_paused = true)]
async fn an_intake_that_does_not_answer_is_given_up_before_github_does() {
    let service = service(receiver(&[]), Arc::new(Silent));
    let started = Instant::now();
    assert_eq!(status_of(&service, push().map(Full::new)).await, StatusCode::SERVICE_UNAVAILABLE);
    assert!((ACCEPT_DEADLINE..Duration::from_secs(10)).contains(&started.elapsed()));
}

/// A body that comes in small pieces, of a length that is not known.
struct Pieces(Bytes);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.0.len().min(100);
        Poll::Ready((length > 0).then(|| Ok(Frame::data(self.0.split_to(length)))))
    }
}

struct Silent;

#[async_trait]
impl Intake for Silent {
    async fn accept(&self, _decided: &Decided) -> Result<Receipt, IntakeError> {
        pending().await
    }
}

fn receiver(allow_from: &[&str]) -> Arc<Current> {
    let secrets = SecretSet::one(client::SECRET).unwrap();
    let mut hook = Hook::new("github", "/webhook", secrets, &["acme/*"]).unwrap();
    hook.allow_from = allow_from.iter().map(|network| network.parse().unwrap()).collect();
    hook.max_age = None;
    let builder =
        Receiver::builder().add_hook(hook).recipe("sft", "acme/models", branches(["main"]).unwrap());
    Arc::new(Current::new(builder.build().unwrap()))
}

fn push() -> Request<Bytes> {
    let delivery = client::Request::push(Payload::new("acme/models", "refs/heads/main", &sha(1)).json());
    let mut request = Request::post(delivery.path);
    for (name, value) in delivery.headers {
        request = request.header(name, value);
    }
    request.body(delivery.body).unwrap()
}

async fn status_of(service: &HookService, request: Request<Full<Bytes>>) -> StatusCode {
    let answered = hyper::service::Service::call(service, request).await;
    answered.unwrap_or_else(|never| match never {}).status()
}
