use std::net::SocketAddr;
use std::time::Duration;

use swifthook_conformance::client::{Client, Reply, Request, SECRET};
use swifthook_conformance::payload::{Payload, sha};
use tokio::net::TcpListener;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_push_of_20_mb_passes_a_host_that_takes_2() {
    let address = serve(app(hook(SECRET).unwrap(), HOST_TIME)).await;
    assert_eq!(answer(address, &large_push()).await.status, 202);
    let note = Request::push(vec![b'x'; 2_000_001]).to("/notes");
    assert_eq!(answer(address, &note).await.status, 413);
    let note = Request::push(vec![b'x'; 1_999_999]).to("/notes");
    assert_eq!(answer(address, &note).await.body, b"1999999");
}

#[tokio::test]
async fn a_push_that_takes_longer_than_the_host_allows_passes() {
    let address = serve(app(hook(SECRET).unwrap(), SHORT)).await;
    assert_eq!(slowly(address, &push()).await.status, 202);
    let slow = Request { method: "GET", ..Request::push("").to("/slow") };
    assert_eq!(answer(address, &slow).await.status, 408);
}

#[tokio::test]
async fn the_host_decompresses_its_own_bodies_and_the_hook_refuses_them() {
    let address = serve(app(hook(SECRET).unwrap(), HOST_TIME)).await;
    let compressed = Request::push(GZIPPED).header("Content-Encoding", "gzip");
    assert_eq!(answer(address, &compressed.clone().to("/notes")).await.body, b"54");
    assert_eq!(answer(address, &compressed).await.status, 415);
}

#[tokio::test]
async fn a_panic_of_the_host_is_caught_and_the_hook_goes_on() {
    let address = serve(app(hook(SECRET).unwrap(), HOST_TIME)).await;
    let panics = Request { method: "GET", ..Request::push("").to("/panics") };
    assert_eq!(answer(address, &panics).await.status, 500);
    assert_eq!(answer(address, &push()).await.status, 202);
}

/// What the order in `app` is for.
#[tokio::test(flavor = "multi_thread")]
async fn inside_the_layers_of_the_host_a_hook_breaks() {
    let inside = |time| {
        let hook = hook(SECRET).unwrap();
        hook.layer(RequestBodyLimitLayer::new(2_000_000))
            .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, time))
    };
    assert_eq!(answer(serve(inside(HOST_TIME)).await, &large_push()).await.status, 413);
    assert_eq!(slowly(serve(inside(SHORT)).await, &push()).await.status, 408);
}

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, app).await });
    address
}

async fn answer(address: SocketAddr, request: &Request) -> Reply {
    let mut client = Client::connect(address).await;
    client.send(request).await;
    client.reply().await.unwrap()
}

/// Sends the request over three times what the host allows: the passing of real time is the point.
async fn slowly(address: SocketAddr, request: &Request) -> Reply {
    let mut client = Client::connect(address).await;
    client.write(&request.head()).await;
    for part in request.body.chunks(request.body.len().div_ceil(6)) {
        client.write(part).await;
        tokio::time::sleep(SHORT / 2).await;
    }
    client.reply().await.unwrap()
}

fn push() -> Request {
    Request::push(payload().json())
}

fn large_push() -> Request {
    Request::push(payload().json_of_size(20_000_000))
}

fn payload() -> Payload {
    Payload::new("acme/models", "refs/heads/main", &sha(1))
}

const SHORT: Duration = Duration::from_millis(100);

/// "a note that was compressed, a note that was compressed"
const GZIPPED: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x4b\x54\xc8\xcb\x2f\x49\x55\x28\xc9\x48\x2c\x51\x28\x4f\x2c\x56\x48\
    \xce\xcf\x2d\x28\x4a\x2d\x2e\x4e\x4d\xd1\x51\x48\xc4\x29\x07\x00\x31\x7d\xac\x39\x36\x00\x00\x00";
