use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderValue;
use http::request::Parts;
use swifthook_core::condition::{all, branches, paths, tags};
use swifthook_core::{
    Builder, Current, Each, Hook, Intake, Limits, Outcome, Receiver, Recipe, Refusal, RepoName, SecretSet,
    Timestamp, reply,
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Serve;
use crate::client::{Client, Reply, Request, SECRET};
use crate::payload::{Payload, sha};
use crate::recording::RecordingIntake;

/// A server under test on a port of its own, and beside it what core says to the same requests.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) receiver: Arc<Current>,
    pub(crate) intake: Arc<RecordingIntake>,
    expected: RecordingIntake,
    server: JoinHandle<()>,
}

impl Site {
    /// Serves the configuration of the cases.
    pub(crate) async fn new(serve: Serve) -> Self {
        Self::with_limits(serve, Limits::default()).await
    }

    pub(crate) async fn with_limits(serve: Serve, limits: Limits) -> Self {
        Self::with_receiver(serve, receiver(SECRET, limits)).await
    }

    pub(crate) async fn with_receiver(serve: Serve, receiver: Receiver) -> Self {
        let intake = Arc::new(RecordingIntake::default());
        let receiver = Arc::new(Current::new(receiver));
        let (address, server) = spawn(serve, receiver.clone(), intake.clone()).await;
        Self { address, receiver, intake, expected: RecordingIntake::default(), server }
    }

    /// Sends a request over a connection of its own, and checks that the reply is byte for byte what core says.
    pub(crate) async fn send(&self, request: &Request) -> Reply {
        let mut client = self.connect().await;
        client.send(request).await;
        let reply = client.reply().await.unwrap_or_else(|| panic!("no reply to {:?}", request.headers));
        assert_eq!(printed(&reply), printed(&self.expected_reply(request).await));
        reply
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }

    /// What core alone says to the request: every adapter that gives the same replies as core gives the same as
    /// every other.
    pub(crate) async fn expected_reply(&self, request: &Request) -> Reply {
        let outcome = self.expected_outcome(request);
        let receipt = match &outcome {
            Ok(Outcome::Decided(decided)) => Some(self.expected.accept(decided).await),
            _ => None,
        };
        written(&reply(&outcome, receipt.as_ref()))
    }

    fn expected_outcome(&self, request: &Request) -> Result<Outcome, Refusal> {
        let (head, peer) = (parts(request), IpAddr::V4(Ipv4Addr::LOCALHOST));
        let mut reading = self.receiver.load().begin(head.uri.path(), &head, Some(peer))?;
        reading.push(request.body.clone())?;
        reading.finish(Timestamp::from(SystemTime::now()))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Sends the requests to one server, which refuses each with `status` and keeps nothing.
pub(crate) async fn refused(serve: Serve, status: u16, requests: &[Request]) {
    let site = Site::new(serve).await;
    for request in requests {
        let reply = site.send(request).await;
        assert_eq!(reply.status, status, "{reply:?} to {request:?}");
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    }
    assert!(site.intake.pushes().is_empty());
}

/// A push to main that trains; of another commit for each number.
pub(crate) fn push(n: u64) -> Request {
    Request::push(payload(n).json())
}

pub(crate) fn payload(n: u64) -> Payload {
    Payload::new("acme/models", "refs/heads/main", &sha(n))
}

/// Serves on a fresh port.
pub(crate) async fn spawn(
    serve: Serve,
    receiver: Arc<Current>,
    intake: Arc<dyn Intake>,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
    let address = listener.local_addr().expect("a bound socket has an address");
    (address, tokio::spawn(serve(listener, receiver, intake)))
}

/// The configuration of the cases, and a second hook that speaks for others and takes less.
pub(crate) fn receiver(secret: &str, limits: Limits) -> Receiver {
    builder(secret).limits(limits).build().expect("the configuration of the cases is right")
}

pub(crate) fn builder(secret: &str) -> Builder {
    let hook = |id, path, secret, repositories: &[&str]| {
        let secrets = SecretSet::one(secret).expect("the secrets of the cases are long enough");
        let mut hook = Hook::new(id, path, secrets, repositories).expect("the hooks of the cases are right");
        hook.max_age = None;
        hook
    };
    let mut other = hook("other", "/other", OTHER_SECRET, &["other/*"]);
    other.max_body = OTHER_LIMIT;
    let models = || RepoName::new("acme/models").expect("it is a name");
    let of_main = || branches(["main"]).expect("it is a pattern");
    let configs = paths(["configs/**", "!**/*.md"]).expect("they are patterns");
    let each = Each::new(["configs/sft_*.yaml"]).expect("it is a pattern");
    let releases = tags(["v*"]).expect("it is a pattern");
    Receiver::builder()
        .add_hook(hook("github", "/webhook", secret, &["acme/*"]))
        .add_hook(other)
        .add_recipe(Recipe::new("train", models(), all([of_main(), configs])))
        .add_recipe(Recipe { each: Some(each), ..Recipe::new("each", models(), of_main()) })
        .add_recipe(Recipe::new("release", models(), releases))
}

fn parts(request: &Request) -> Parts {
    let mut builder = http::Request::builder().method(request.method).uri(&request.path);
    for (name, value) in &request.headers {
        builder = builder.header(name.as_str(), value.as_slice());
    }
    builder.body(()).expect("the requests of the list can be written").into_parts().0
}

/// A reply as hyper writes it, but for the date.
fn written(reply: &http::Response<bytes::Bytes>) -> Reply {
    let status = reply.status();
    let value = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut head: Vec<_> = reply
        .headers()
        .iter()
        .map(|(name, text)| format!("{name}: {}", value(text)).to_lowercase())
        .collect();
    head.push(format!("http/1.1 {status}").to_lowercase());
    head.push(format!("content-length: {}", reply.body().len()));
    head.sort();
    Reply { status: status.as_u16(), head, body: reply.body().to_vec() }
}

/// A reply as text, but for what becomes of the connection: that is for the adapter to say.
fn printed(reply: &Reply) -> String {
    let lines = reply.head.iter().filter(|line| !line.starts_with("connection: ")).map(String::as_str);
    format!("{}\n\n{}", lines.collect::<Vec<_>>().join("\n"), String::from_utf8_lossy(&reply.body))
}

pub(crate) const OTHER_LIMIT: usize = 1 << 20;
pub(crate) const OTHER_SECRET: &str = "another horse, another staple 2026";
