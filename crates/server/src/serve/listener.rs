//! Accepts connections and serves HTTP/1.1 on them, with limits for clients that are slow or many.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use swifthook_core::PeerAddr;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;
use tracing::{debug, warn};

/// How much a listener bears.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at once; more wait to be accepted.
    pub connections: usize,
    /// How long the head of a request may take, and how long a connection may be idle.
    pub head_time: Duration,
    /// How long requests under way may take to end at a shutdown.
    pub farewell: Duration,
}

/// As many connections as half of the files that this process may have open, ten seconds for a head.
impl Default for Bounds {
    fn default() -> Self {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let half =
            files.map_or(MOST_CONNECTIONS, |files| usize::try_from(files / 2).unwrap_or(MOST_CONNECTIONS));
        Self {
            connections: half.clamp(16, MOST_CONNECTIONS),
            head_time: Duration::from_secs(10),
            farewell: Duration::from_secs(10),
        }
    }
}

/// Serves `router` until `shutdown`, then lets the requests under way end.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    bounds: Bounds,
    shutdown: impl Future<Output = ()>,
) {
    let connections = Arc::new(Semaphore::new(bounds.connections));
    let graceful = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        match accepted {
            Ok((stream, permit)) => {
                tokio::spawn(connection(stream, permit, router.clone(), bounds, graceful.watcher()));
            }
            Err(error) => {
                // Most often no file is left for the connection: those that are open have to close first.
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(bounds.farewell, graceful.shutdown()).await.is_err() {
        warn!("requests that did not end in time were cut off");
    }
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = connections.clone().acquire_owned().await.expect("the semaphore is never closed");
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

async fn connection(
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    router: Router,
    bounds: Bounds,
    watcher: Watcher,
) {
    // Replies are small and complete: waiting for more to send would only delay them.
    let prepared = stream.set_nodelay(true).and_then(|()| stream.peer_addr());
    let Ok(peer) = prepared else { return };
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(PeerAddr(peer.ip()));
        router.clone().oneshot(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head_time)
        .max_buf_size(MOST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(served).await {
        debug!(%peer, %error, "a connection ended early");
    }
    drop(permit);
}

const MOST_CONNECTIONS: usize = 4_096;
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
        let serving = tokio::spawn(serve(listener, router, bounds, async { drop(stopped.await) }));
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

    #[tokio::test]
    async fn more_connections_than_allowed_wait_for_their_turn() {
        let (address, _stop, _) = listening(Bounds { connections: 1, ..Bounds::default() }).await;
        let first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut byte = [0];
        let early = tokio::time::timeout(Duration::from_millis(100), second.peek(&mut byte)).await;
        assert!(early.is_err(), "the one place is taken");
        drop(first);
        assert!(all(&mut second).await.ends_with("127.0.0.1"));
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
