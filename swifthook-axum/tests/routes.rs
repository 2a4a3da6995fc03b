//! What is axum's own in the adapter: the extractor, state, nesting, the peer's address.

#![expect(clippy::unwrap_used, reason = "what is not as it should be ends the test")]

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::{ConnectInfo, FromRef, State};
use axum::http::{Request, StatusCode};
use axum::routing::{get, post};
use axum::{Extension, Router};
use swifthook_axum::{SignedPush, routes};
use swifthook_conformance::client::{self, SECRET};
use swifthook_conformance::payload::{Payload, sha};
use swifthook_conformance::{RecordingIntake, sign};
use swifthook_core::condition::branches;
use swifthook_core::{
    ACCEPT_DEADLINE, Current, Decided, Hook, Intake, IntakeError, PeerAddr, Receipt, Receiver, SecretSet,
};
use tokio::time::Instant;
use tower::ServiceExt;

/// The state of a host: the receiver is one thing of several.
#[derive(Clone)]
struct Host {
    receiver: Arc<Current>,
    greeting: &'static str,
}

impl FromRef<Host> for Arc<Current> {
    fn from_ref(host: &Host) -> Self {
        host.receiver.clone()
    }
}

#[tokio::test]
async fn a_handler_of_ones_own_gets_signed_pushes_and_nothing_else() {
    let handler = async |State(host): State<Host>, SignedPush(push): SignedPush| {
        format!("{} {}", host.greeting, push.ref_name)
    };
    let host = Host { receiver: receiver(&[]), greeting: "hello" };
    let app = Router::new().route("/webhook", post(handler)).with_state(host);
    let ping =
        r#"{"zen":"Keep it logically awesome.","hook_id":1,"hook":{"type":"Repository","events":["push"]}}"#;
    for (request, status, answer) in [
        (push(), StatusCode::OK, "hello refs/heads/main"),
        (delivery("ping", ping), StatusCode::OK, r#""decision":"pong""#),
        (delivery("issues", r#"{"action":"opened"}"#), StatusCode::OK, r#""decision":"ignored""#),
        (delivery("push", "{}"), StatusCode::BAD_REQUEST, r#""status":400"#),
        (forged(), StatusCode::UNAUTHORIZED, r#""status":401"#),
    ] {
        let (found, body) = answer_of(app.clone(), request).await;
        assert!(found == status && body.contains(answer), "{found} {body}");
    }
}

#[tokio::test]
async fn routes_merge_into_a_router_with_any_state_and_nest() {
    let own = Router::new().route("/", get(async |State(text): State<String>| text));
    let hook = routes("/webhook", receiver(&[]), Arc::new(RecordingIntake::default()));
    let app = own.nest("/github", hook.clone()).merge(hook).with_state("mine".to_owned());
    assert_eq!(answer_of(app.clone(), push()).await.0, StatusCode::ACCEPTED);
    let mut nested = push();
    *nested.uri_mut() = "/github/webhook".parse().unwrap();
    assert_eq!(answer_of(app.clone(), nested).await.0, StatusCode::OK, "the same push is a duplicate");
    assert_eq!(answer_of(app, Request::get("/").body(Body::empty()).unwrap()).await.1, "mine");
}

#[tokio::test]
async fn the_peer_is_what_the_host_says_or_else_the_connection() {
    let app = routes("/webhook", receiver(&["10.0.0.0/8"]), Arc::new(RecordingIntake::default()));
    let (inside, outside) = ("10.1.2.3", "192.0.2.1");
    let connected = |ip: &str| Extension(ConnectInfo(SocketAddr::new(ip.parse().unwrap(), 1)));
    let said = |ip: &str| Extension(PeerAddr(ip.parse().unwrap()));
    for (app, status) in [
        (app.clone(), StatusCode::FORBIDDEN),
        (app.clone().layer(connected(outside)), StatusCode::FORBIDDEN),
        (app.clone().layer(connected(inside)), StatusCode::ACCEPTED),
        (app.clone().layer(connected(inside)).layer(said(outside)), StatusCode::FORBIDDEN),
        (app.clone().layer(connected(outside)).layer(said(inside)), StatusCode::OK),
    ] {
        assert_eq!(answer_of(app, push()).await.0, status);
    }
}

#[tokio::test(start_paused = true)]
async fn an_intake_that_does_not_answer_is_given_up_before_github_does() {
    let app = routes("/webhook", receiver(&[]), Arc::new(Silent));
    let started = Instant::now();
    assert_eq!(answer_of(app, push()).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert!((ACCEPT_DEADLINE..Duration::from_secs(10)).contains(&started.elapsed()));
}

struct Silent;

#[async_trait]
impl Intake for Silent {
    async fn accept(&self, _decided: &Decided) -> Result<Receipt, IntakeError> {
        pending().await
    }
}

fn receiver(allow_from: &[&str]) -> Arc<Current> {
    let mut hook = Hook::new("github", "/webhook", SecretSet::one(SECRET).unwrap(), &["acme/*"]).unwrap();
    hook.allow_from = allow_from.iter().map(|network| network.parse().unwrap()).collect();
    hook.max_age = None;
    let builder =
        Receiver::builder().add_hook(hook).recipe("sft", "acme/models", branches(["main"]).unwrap());
    Arc::new(Current::new(builder.build().unwrap()))
}

fn push() -> Request<Body> {
    delivery("push", Payload::new("acme/models", "refs/heads/main", &sha(1)).json())
}

fn forged() -> Request<Body> {
    let mut request = push();
    let signature = sign("another secret that is long enough", b"").parse().unwrap();
    request.headers_mut().insert(client::SIGNATURE, signature);
    request
}

fn delivery(event: &str, body: impl Into<bytes::Bytes>) -> Request<Body> {
    let delivery = client::Request::delivery(event, body);
    let mut request = Request::post(delivery.path);
    for (name, value) in delivery.headers {
        request = request.header(name, value);
    }
    request.body(delivery.body.into()).unwrap()
}

async fn answer_of<B>(app: Router, request: Request<B>) -> (StatusCode, String)
where
    Body: From<B>,
{
    let response = app.oneshot(request.map(Body::from)).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}
