use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use swifthook_core::Retention;
use tower::ServiceExt;

use super::error::StartError;
use super::store;
use super::token::Token;
use crate::api::Api;
use crate::config::Store;

/// The store of a server that does not run, behind the same API: for looking, and for clearing up.
pub struct Shelf {
    runtime: tokio::runtime::Runtime,
    router: Router,
    token: Token,
}

impl Shelf {
    /// Opens the store. One on SQLite is nobody else's until this is dropped.
    ///
    /// # Errors
    ///
    /// When there is none, it does not answer, or it is another process's.
    pub fn open(store: &Store, retention: Retention) -> Result<Self, StartError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(StartError::Runtime)?;
        let opened = runtime.block_on(store::existing(&store.url))?;
        let token = Token::fresh().map_err(StartError::Runtime)?;
        let mut api = Api::new(opened, token.clone(), store.state_dir.clone());
        api.retention = Arc::new(move || retention);
        let router = api.router(Router::new());
        Ok(Self { runtime, router, token })
    }

    /// A call of the API. Whatever changes a job is refused: that needs a server, for what follows from it.
    #[must_use]
    pub fn call(&self, method: Method, path: &str, body: Vec<u8>) -> (StatusCode, Vec<u8>) {
        if method != Method::GET && path != "/api/v1/store/prune" {
            return (StatusCode::METHOD_NOT_ALLOWED, Vec::new());
        }
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, self.token.bearer())
            .body(Body::from(body));
        let Ok(request) = request else { return (StatusCode::BAD_REQUEST, Vec::new()) };
        self.runtime.block_on(async {
            let response = match self.router.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            let status = response.status();
            let body = response.into_body().collect().await;
            (status, body.map(|body| body.to_bytes().to_vec()).unwrap_or_default())
        })
    }
}
