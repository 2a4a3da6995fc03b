//! The list that every HTTP adapter passes.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use swifthook_conformance::http::Serving;
use swifthook_core::{Current, Intake};
use tokio::net::TcpListener;

fn serve(listener: TcpListener, receiver: Arc<Current>, intake: Arc<dyn Intake>) -> Serving {
    let app = Router::<()>::new()
        .merge(swifthook_axum::routes("/webhook", receiver.clone(), intake.clone()))
        .merge(swifthook_axum::routes("/other", receiver, intake))
        .layer(DefaultBodyLimit::max(1024));
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    Box::pin(async { axum::serve(listener, app).await.expect("axum serves until it is dropped") })
}

swifthook_conformance::http_list!(serve);
