use std::error::Error;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use bytes::Bytes;
use tokio::net::TcpListener;

/// The measure of all others: axum that reads the body and does nothing with it.
pub(crate) fn serve(address: &str) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let app = Router::new().route("/webhook", post(read)).layer(DefaultBodyLimit::disable());
        Ok(axum::serve(TcpListener::bind(address).await?, app).await?)
    })
}

async fn read(body: Bytes) -> String {
    body.len().to_string()
}
