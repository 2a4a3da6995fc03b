use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use swifthook_core::{Current, Intake, PeerAddr};

use crate::receive::{answer, receive};

/// Takes signed pushes at every path for which the receiver has a hook.
///
/// Cheap to clone: one for each connection.
#[derive(Clone)]
pub struct HookService {
    receiver: Arc<Current>,
    intake: Arc<dyn Intake>,
    peer: Option<IpAddr>,
}

/// A service that verifies and decides with the receiver of the moment, and hands what was decided to `intake`.
#[must_use]
pub fn service(receiver: Arc<Current>, intake: Arc<dyn Intake>) -> HookService {
    HookService { receiver, intake, peer: None }
}

impl HookService {
    /// The same for a connection from `peer`.
    #[must_use]
    pub fn with_peer(self, peer: IpAddr) -> Self {
        Self { peer: Some(peer), ..self }
    }

    async fn respond<B>(self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Send + 'static,
    {
        let (head, body) = request.into_parts();
        let peer = head.extensions.get().map(|PeerAddr(peer)| *peer).or(self.peer);
        let received = receive(&self.receiver, &head, peer, Box::pin(body)).await;
        answer(received, &*self.intake).await.map(Full::new)
    }
}

impl<B> hyper::service::Service<Request<B>> for HookService
where
    B: Body<Data = Bytes> + Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async { Ok(service.respond(request).await) })
    }
}

impl<B> tower_service::Service<Request<B>> for HookService
where
    B: Body<Data = Bytes> + Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        hyper::service::Service::call(self, request)
    }
}
