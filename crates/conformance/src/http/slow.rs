use std::time::{Duration, Instant};

use swifthook_core::Limits;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Serve;
use super::site::{Site, payload, push};
use crate::client::{Client, Reply, Request};

/// Bytes that come more slowly than the minimum rate are 408, however steadily they come.
pub async fn a_body_that_trickles_is_timed_out(serve: Serve) {
    let limits = Limits { minimum_rate: 1 << 20, grace: Duration::from_millis(100), ..Limits::default() };
    let site = Site::with_limits(serve, limits).await;
    let (status, took) = timed_out(&site, Duration::from_millis(5)).await;
    assert_eq!(status, 408);
    assert!(took >= limits.grace, "timed out after {took:?}, within the grace");
}

/// A body of which nothing more comes is 408.
pub async fn a_body_that_stops_is_timed_out(serve: Serve) {
    let limits = Limits { grace: Duration::from_millis(100), ..Limits::default() };
    let site = Site::with_limits(serve, limits).await;
    let mut client = site.connect().await;
    client.write(&push(1).head()).await;
    client.write(&push(1).body[..100]).await;
    let reply = client.reply().await.expect("it is answered");
    assert_eq!((reply.status, reply.header("connection")), (408, Some("close")));
    assert!(client.is_closed_within(Duration::from_secs(5)).await);
}

/// However many bytes come: the whole body has its time.
pub async fn a_body_that_is_steady_but_too_long_is_timed_out(serve: Serve) {
    let limits = Limits { minimum_rate: 1, body_time: Duration::from_millis(150), ..Limits::default() };
    let site = Site::with_limits(serve, limits).await;
    let (status, took) = timed_out(&site, Duration::from_millis(5)).await;
    assert_eq!(status, 408);
    assert!(took >= limits.body_time, "timed out after {took:?}, within its time");
}

/// What a client that went away had sent no longer counts as in flight.
pub async fn a_client_that_leaves_gives_its_bytes_back(serve: Serve) {
    let site = Site::with_limits(serve, Limits { in_flight: 1_000_000, ..Limits::default() }).await;
    let large = Request::push(payload(1).json_of_size(700_000));
    drop(holding(&site, &large, 600_000).await);
    let deadline = Instant::now() + PATIENCE;
    while is_told_to_come_back(&site, &large).await {
        assert!(Instant::now() < deadline, "its bytes still count");
    }
}

/// The last quarter of the budget is for bodies under 1 MiB: a large one that would reach into it gets 503 or 429, a small
/// one is taken, and who was first is served.
pub async fn large_bodies_leave_room_for_small_ones(serve: Serve) {
    let site = Site::with_limits(serve, Limits { in_flight: 8 << 20, ..Limits::default() }).await;
    let large = Request::push(payload(1).json_of_size(5 << 20));
    let mut first = holding(&site, &large, 4 << 20).await;
    let mut second = site.connect().await;
    second.write(&large.head()).await;
    second.write(&large.body[..3 << 20]).await;
    let told = second.reply().await.expect("it is answered");
    assert!(is_to_come_back(&told), "7 of 8 MiB are large bodies: {told:?}");
    assert_eq!(answer(&site, &push(2)).await.status, 202);
    first.write(&large.body[4 << 20..]).await;
    let status = first.reply().await.map(|reply| reply.status);
    assert!(
        matches!(status, Some(200 | 202)),
        "it is new, or a duplicate of one that was taken meanwhile: {status:?}"
    );
}

/// Two hundred connections that fill the part of the budget that they can get, send a byte now and then, and come
/// back when they are dropped, do not keep one of a thousand genuine pushes out.
pub async fn two_hundred_tricklers_keep_no_genuine_push_out(serve: Serve) {
    let site = Site::with_limits(serve, Limits { in_flight: 8 << 20, ..Limits::default() }).await;
    let large = Request::push(vec![b' '; 64 << 10]).header("Content-Length", "20000000");
    let mut tricklers = JoinSet::new();
    for _ in 0..TRICKLERS {
        let (mut client, address, large) = (site.connect().await, site.address, large.clone());
        tricklers.spawn(async move {
            loop {
                client.send(&large).await;
                while client.write(b" ").await {
                    sleep(Duration::from_millis(50)).await;
                }
                client = Client::connect(address).await;
            }
        });
    }
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let mut client = site.connect().await;
        senders.spawn(async move {
            for n in 0..GENUINE / SENDERS {
                client.send(&push(1 + sender * GENUINE + n)).await;
                let status = client.reply().await.map(|reply| reply.status);
                assert!(matches!(status, Some(200..=299)), "push {n} of sender {sender} got {status:?}");
            }
        });
    }
    while let Some(sent) = senders.join_next().await {
        sent.expect("every genuine push gets its 2xx");
    }
    assert_eq!(site.intake.pushes().len() as u64, GENUINE);
}

/// Sends one byte at a time until there is a reply.
async fn timed_out(site: &Site, pause: Duration) -> (u16, Duration) {
    let started = Instant::now();
    let mut client = site.connect().await;
    let request = push(1);
    client.write(&request.head()).await;
    for byte in request.body.chunks(1) {
        client.write(byte).await;
        if let Some(reply) = client.reply_within(pause).await {
            return (reply.status, started.elapsed());
        }
    }
    panic!("the whole body was taken, byte by byte");
}

/// A client of which the server holds so many bytes that another such request is told to come back. When bytes are
/// taken cannot be seen from outside: if the other's were first, this client is the one that is told, and another
/// takes its place.
async fn holding(site: &Site, request: &Request, bytes: usize) -> Client {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let mut client = site.connect().await;
        client.write(&request.head()).await;
        client.write(&request.body[..bytes]).await;
        if is_held(&mut client).await
            && is_told_to_come_back(site, request).await
            && is_held(&mut client).await
            // The first may have been told so by a collision that neither survived; now only what is held counts.
            && is_told_to_come_back(site, request).await
            && is_held(&mut client).await
        {
            return client;
        }
    }
    panic!("no request was told to come back");
}

async fn is_held(client: &mut Client) -> bool {
    client.reply_within(Duration::from_millis(50)).await.is_none()
}

async fn is_told_to_come_back(site: &Site, request: &Request) -> bool {
    is_to_come_back(&answer(site, request).await)
}

/// Too much is being received, of all or of this client.
fn is_to_come_back(reply: &Reply) -> bool {
    matches!(reply.status, 429 | 503) && reply.header("retry-after").is_some()
}

async fn answer(site: &Site, request: &Request) -> Reply {
    let mut client = site.connect().await;
    client.send(request).await;
    client.reply().await.expect("every request is answered")
}

const PATIENCE: Duration = Duration::from_secs(120);
const TRICKLERS: usize = 200;
const SENDERS: u64 = 8;
const GENUINE: u64 = 1_000;
