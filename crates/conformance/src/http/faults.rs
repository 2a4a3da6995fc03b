use std::sync::Arc;

use async_trait::async_trait;
use swifthook_core::{
    Current, Decided, Intake, IntakeError, Limits, Push, Receipt, Recipe, RepoName, Timestamp, TriggerPolicy,
    Verdict,
};

use super::Serve;
use super::site::{Site, builder, payload, push, receiver, spawn};
use crate::client::{Client, Reply, Request, SECRET, SIGNATURE};

/// What was not stored was not promised: 503, and when to come back.
pub async fn an_intake_that_fails_is_told_with_a_503(serve: Serve) {
    for reply in replies_of(serve, Failing { panics: false }).await {
        assert_eq!(reply.status, 503);
        assert!(reply.header("retry-after").is_some(), "{reply:?}");
        assert!(
            !String::from_utf8_lossy(&reply.body).contains(CAUSE),
            "the cause is for us alone: {reply:?}"
        );
    }
}

/// A panic in the intake is 503 too, and the connection goes on.
pub async fn an_intake_that_panics_is_told_with_a_503(serve: Serve) {
    for reply in replies_of(serve, Failing { panics: true }).await {
        assert_eq!(reply.status, 503);
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    }
}

/// So is a panic in a policy, for small bodies and for those that are finished on another thread.
pub async fn a_policy_that_panics_is_told_with_a_503(serve: Serve) {
    let name = RepoName::new("acme/models").expect("it is a name");
    let receiver = builder(SECRET).add_recipe(Recipe::new("panics", name, Panicking)).build();
    let site = Site::with_receiver(serve, receiver.expect("the configuration is right")).await;
    let mut client = site.connect().await;
    for body in [payload(1).json(), payload(2).json_of_size(2 << 20), payload(3).json()] {
        client.send(&Request::push(body)).await;
        let reply = client.reply().await.expect("it is answered");
        assert_eq!((reply.status, reply.header("content-type")), (503, Some("application/problem+json")));
    }
    assert!(site.intake.pushes().is_empty());
}

/// No reply has the secret or the right signature in it.
pub async fn no_reply_tells_the_secret(serve: Serve) {
    let site = Site::new(serve).await;
    let push = push(1);
    let right = crate::sign(SECRET, &push.body);
    for request in [
        push.clone(),
        push.clone().without(SIGNATURE),
        push.clone().header(SIGNATURE, "sha256=".to_owned() + &"0".repeat(64)),
        Request::push(SECRET),
        Request { method: "GET", ..push },
    ] {
        let reply = site.send(&request).await;
        let text = format!("{:?} {}", reply.head, String::from_utf8_lossy(&reply.body));
        assert!(!text.contains(SECRET) && !text.contains(&right["sha256=".len()..]), "{text}");
    }
}

/// The replies to two pushes over one connection.
async fn replies_of(serve: Serve, intake: Failing) -> [Reply; 2] {
    let receiver = Arc::new(Current::new(receiver(SECRET, Limits::default())));
    let (address, server) = spawn(serve, receiver, Arc::new(intake)).await;
    let mut client = Client::connect(address).await;
    client.send(&push(1)).await;
    let first = client.reply().await.expect("it is answered");
    client.send(&push(2)).await;
    let second = client.reply().await.expect("it is answered");
    server.abort();
    [first, second]
}

struct Failing {
    panics: bool,
}

#[async_trait]
impl Intake for Failing {
    async fn accept(&self, _decided: &Decided) -> Result<Receipt, IntakeError> {
        assert!(!self.panics, "this intake panics");
        Err(IntakeError::passing(CAUSE))
    }
}

struct Panicking;

impl TriggerPolicy for Panicking {
    fn decide(&self, _push: &Push, _now: Timestamp) -> Verdict {
        panic!("this policy panics")
    }
}

const CAUSE: &str = "the disk is full";
