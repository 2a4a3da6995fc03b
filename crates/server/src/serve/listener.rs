//! Accepts connections and serves HTTP/1.1 on them, with limits for clients that are slow or many.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use http::Response;
use http::header::{CONNECTION, HeaderValue};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustix::process::{Resource, getrlimit};
use swifthook_core::{PeerAddr, Refusal, reply};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tower::ServiceExt;
use tracing::{debug, warn};

use super::connections::{self, Clients, Connections, Progress, Slot};
use super::occasionally::Occasionally;
use super::slots::Plan;
use super::write_timeout::WriteTimeout;

/// How much a listener bears.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at once; one more takes the place of another.
    pub connections: usize,
    /// How long the head of a request may take, and how long a connection may be idle.
    pub head_time: Duration,
    /// Time for which the other side may take nothing of what is written.
    pub write_time: Duration,
    /// How long requests under way may take to end at a shutdown.
    pub farewell: Duration,
}

/// As many connections as half of the files that this process may have open, ten seconds for a head.
impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: (open_files() / 2).clamp(16, MOST_CONNECTIONS),
            head_time: Duration::from_secs(10),
            write_time: Duration::from_secs(10),
            farewell: Duration::from_secs(10),
        }
    }
}

impl Bounds {
    /// Those of a port for administrators: fewer connections, of people who may look away from what they read. What is
    /// left of the files is for the store, for git and for runs.
    #[must_use]
    pub fn private() -> Self {
        Self {
            connections: (open_files() / 8).clamp(8, MOST_PRIVATE),
            write_time: Duration::from_secs(300),
            ..Self::default()
        }
    }
}

/// Limit of files that this process may have open.
pub(super) fn open_files() -> usize {
    getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX)
}

/// The connections of a port for administrators.
pub(super) fn private_connections(port: &'static str) -> Connections {
    Connections::new(port, Plan::private(Bounds::private().connections), Clients::Alike)
}

/// Serves `router` until `shutdown`, then lets the requests under way end.
pub(super) async fn serve(
    (listener, router, connections): (TcpListener, Router, Connections),
    bounds: Bounds,
    shutdown: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    let mut told = Occasionally::new(Duration::from_secs(60));
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Without a slot it is closed at once: in the backlog it would keep others waiting.
                if let Some((slot, evicted)) = connections.admit(peer.ip()) {
                    let connection = Connection { stream, peer, slot, evicted };
                    tokio::spawn(connection.serve(router.clone(), bounds, graceful.watcher()));
                }
            }
            Err(error) => {
                // Most often no file is left for the connection: one of those that are open makes room.
                connections.shed();
                if told.is_time(Instant::now()) {
                    warn!(%error, port = connections.port(), "a connection could not be accepted");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(bounds.farewell, graceful.shutdown()).await.is_err() {
        warn!("requests that did not end in time were cut off");
    }
}

async fn accept(listener: &TcpListener, connections: &Connections) -> io::Result<(TcpStream, SocketAddr)> {
    connections.settled().await;
    listener.accept().await
}

struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    slot: Slot,
    evicted: oneshot::Receiver<()>,
}

impl Connection {
    async fn serve(self, router: Router, bounds: Bounds, watcher: Watcher) {
        let Self { stream, peer, slot, evicted } = self;
        // Replies are small and complete: waiting for more to send would only delay them.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        // It is dropped last, when the stream is closed.
        let slot = Arc::new(slot);
        let service =
            hyper::service::service_fn(|request| answer(slot.clone(), router.clone(), peer, request));
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(bounds.head_time)
            .max_buf_size(MOST_HEAD)
            // Whoever has sent all may say so before the reply: the push is stored and answered all the same.
            .half_close(true)
            .serve_connection(TokioIo::new(WriteTimeout::new(stream, bounds.write_time)), service);
        tokio::select! {
            served = watcher.watch(served) => {
                if let Err(error) = served {
                    debug!(%peer, %error, "a connection ended early");
                }
            }
            _ = evicted => debug!(%peer, "a connection was closed to make room"),
        }
    }
}

async fn answer(
    slot: Arc<Slot>,
    router: Router,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Counted>, Infallible> {
    let Some(counted) = slot.begin(request.headers()) else { return Ok(no_slot()) };
    let is_whole = Arc::new(AtomicBool::new(request.body().is_end_stream()));
    let watched = |body| Watched { body, progress: counted.progress(), is_whole: is_whole.clone() };
    let mut request = request.map(|body| Body::new(watched(body)));
    request.extensions_mut().insert(PeerAddr(peer.ip()));
    let mut response = router.oneshot(request).await?;
    counted.progress().set_answered();
    if !is_whole.load(Ordering::Relaxed) {
        // It ends with the rest of the body unread: a proxy must not send another request on it meanwhile.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Counted { body, request: Some(counted) }))
}

/// Reply that the client of a proxy is told that has too many requests under way, or that there is no room for.
fn no_slot() -> Response<Counted> {
    let refused = reply(&Err(Refusal::Busy { retry_after: Duration::from_secs(5) }), None);
    let mut response = refused.map(|body| Counted { body: body.into(), request: None });
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The body of a request, whose end is told: from then on, until it is answered, the server takes the time. What is left of
/// it may be read when the next request is under way, or the connection gone, so it has no hold on either.
struct Watched {
    body: Incoming,
    progress: Progress,
    is_whole: Arc<AtomicBool>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let is_whole = match &polled {
            Poll::Ready(Some(Ok(_))) => self.body.is_end_stream(),
            Poll::Ready(None) => true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
        };
        if is_whole {
            self.is_whole.store(true, Ordering::Relaxed);
            self.progress.set_storing();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a reply, whose request is under way until it was taken.
struct Counted {
    body: Body,
    request: Option<connections::Request>,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.request = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

const MOST_CONNECTIONS: usize = 4_096;
const MOST_PRIVATE: usize = 256;
/// GitHub's heads have some 1 KiB. It is also the largest piece in which a body is read.
const MOST_HEAD: usize = 64 << 10;
const PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;

    use super::*;

    /// A listener that answers with the peer's address; it ends when the sender is used or dropped.
    async fn listening(
        bounds: Bounds,
    ) -> (std::net::SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let peer = async |request: Request| request.extensions().get::<PeerAddr>().unwrap().0.to_string();
        let (stop, stopped) = oneshot::channel::<()>();
        let router = Router::new().route("/", get(peer));
        let connections = Connections::new("test", Plan::public(bounds.connections), Clients::Alike);
        let port = (listener, router, connections);
        let serving = tokio::spawn(serve(port, bounds, async { drop(stopped.await) }));
        (address, stop, serving)
    }

    async fn all(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        text
    }

    #[tokio::test]
    async fn whoever_does_not_come_to_the_end_of_a_head_is_let_go() {
        let bounds = Bounds { head_time: Duration::from_millis(50), ..Bounds::default() };
        let (address, _stop, _) = listening(bounds).await;
        for head in ["", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            let told =
                tokio::time::timeout(Duration::from_secs(20), all(&mut stream)).await.expect("it is closed");
            assert!(!told.contains("200 OK"), "{told}");
        }
    }

    const ASKED: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    /// A connection from this address, and the first bytes of the reply to a request on it.
    async fn asking(from: &str, address: std::net::SocketAddr) -> TcpStream {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        stream.write_all(ASKED).await.unwrap();
        let mut reply = [0; 12];
        stream.read_exact(&mut reply).await.unwrap();
        assert_eq!(&reply, b"HTTP/1.1 200");
        stream
    }

    async fn is_closed(stream: &mut TcpStream) -> bool {
        let mut rest = Vec::new();
        tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await.is_ok()
    }

    #[tokio::test]
    async fn when_all_connections_are_taken_idle_ones_of_whoever_has_most_make_room() {
        let bounds = Bounds { connections: 4, head_time: Duration::from_secs(600), ..Bounds::default() };
        let (address, _stop, _) = listening(bounds).await;
        let mut many = [asking("127.0.0.2", address).await, asking("127.0.0.2", address).await];
        let mut one = asking("127.0.0.3", address).await;
        let _other = asking("127.0.0.4", address).await;
        assert!(is_closed(&mut many[0]).await, "the oldest of those of one address");
        one.write_all(ASKED).await.unwrap();
        assert_ne!(one.read(&mut [0; 64]).await.unwrap(), 0, "the only one of its address goes on");
    }

    #[tokio::test]
    async fn whoever_reads_no_reply_is_let_go() {
        let bounds = Bounds { write_time: Duration::from_millis(100), ..Bounds::default() };
        let (address, _stop, _) = listening(bounds).await;
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        let many = ASKED.repeat(100);
        let writing = async { while stream.write_all(&many).await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(60), writing).await.expect("the connection ends");
    }

    #[tokio::test]
    async fn whoever_ends_what_it_sends_is_answered_all_the_same() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (release, released) = tokio::sync::watch::channel(false);
        let slow = async move || {
            released.clone().wait_for(|is_released| *is_released).await.unwrap();
            "stored"
        };
        let bounds = Bounds { head_time: Duration::from_secs(600), ..Bounds::default() };
        let connections = Connections::new("test", Plan::public(bounds.connections), Clients::Alike);
        let port = (listener, Router::new().route("/", get(slow)), connections);
        tokio::spawn(serve(port, bounds, std::future::pending()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(ASKED).await.unwrap();
        stream.shutdown().await.unwrap();
        // Without a reply to come it would be closed here, and the handler dropped.
        let mut byte = [0];
        let early = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut byte)).await;
        assert!(early.is_err(), "it was closed before the reply");
        release.send(true).unwrap();
        let told = tokio::time::timeout(Duration::from_secs(20), all(&mut stream)).await.expect("it ends");
        assert!(told.ends_with("stored"), "{told}");
    }

    #[tokio::test]
    async fn a_shutdown_lets_requests_end_and_then_returns() {
        let (address, stop, serving) = listening(Bounds::default()).await;
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut byte = [0];
        idle.peek(&mut byte).await.unwrap();
        stop.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(20), serving).await.expect("it ends").unwrap();
        assert!(all(&mut idle).await.contains("200 OK"));
        assert!(TcpStream::connect(address).await.is_err());
    }
}
