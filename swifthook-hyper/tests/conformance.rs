//! The list that every HTTP adapter passes.

use std::sync::Arc;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use swifthook_conformance::http::Serving;
use swifthook_core::{Current, Intake};
use tokio::net::TcpListener;

fn serve(listener: TcpListener, receiver: Arc<Current>, intake: Arc<dyn Intake>) -> Serving {
    let service = swifthook_hyper::service(receiver, intake);
    Box::pin(async move {
        loop {
            let (stream, peer) = listener.accept().await.expect("a listener accepts");
            let service = service.clone().with_peer(peer.ip());
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    })
}

swifthook_conformance::http_list!(serve);
