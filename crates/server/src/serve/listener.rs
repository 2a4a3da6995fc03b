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
