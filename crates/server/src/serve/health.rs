//! `/healthz` and `/readyz`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde::Serialize;
use swifthook_runner::Handle;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::broker::Broker;
use super::door::with_causes;
use super::metrics::Metrics;
use super::store::Store;

/// What has to be well for the server to be.
#[derive(Clone)]
pub(super) struct Health(Arc<Parts>);

struct Parts {
    store: Arc<dyn Store>,
    runner: Option<Handle>,
    broker: Option<Broker>,
    /// Outcomes of the last pushes, where some are taken.
    pushes: Option<Arc<Metrics>>,
    /// Last findings, so that asking often does not cost the store as often.
    last: Mutex<Option<(Instant, Found)>>,
}

/// Faults by the name of the part.
type Found = [(&'static str, Option<String>); 3];

#[derive(Serialize)]
struct Report {
    status: &'static str,
    /// The names of the parts that are not well.
    failing: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
}

impl Health {
    /// Asks these: there is no `runner` where none is to be at work, no `broker` where pushes are stored at once, and there
    /// are no `pushes` where none are taken.
    pub(super) fn new(
        store: Arc<dyn Store>,
        runner: Option<Handle>,
        broker: Option<Broker>,
        pushes: Option<Arc<Metrics>>,
    ) -> Self {
        Self(Arc::new(Parts { store, runner, broker, pushes, last: Mutex::default() }))
    }

    /// For everybody: names of what fails, and no causes.
    pub(super) fn public(self) -> Router {
        Router::new()
            .route("/healthz", get(alive))
            .route("/readyz", get(async |State(health): State<Self>| health.report(false).await))
            .with_state(self)
    }

    /// For administrators: causes too.
    pub(super) fn private(self) -> Router {
        let ready = get(async |State(health): State<Self>| health.report(true).await);
        Router::new().route("/readyz", ready).with_state(self)
    }

    async fn report(self, with_reasons: bool) -> Response {
        let parts = self.0.found().await;
        let failing: Vec<_> = parts.iter().filter(|(_, why)| why.is_some()).map(|(name, _)| *name).collect();
        let causes =
            if with_reasons { parts.into_iter().filter_map(|(_, why)| why).collect() } else { Vec::new() };
        let (code, status) = if failing.is_empty() {
            (StatusCode::OK, "ready")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready")
        };
        (code, Json(Report { status, failing, causes })).into_response()
    }
}

impl Parts {
    async fn found(&self) -> Found {
        let mut last = self.last.lock().await;
        if let Some((at, found)) = &*last
            && at.elapsed() < FRESH
        {
            return found.clone();
        }
        let found = self.find().await;
        *last = Some((Instant::now(), found.clone()));
        found
    }

    async fn find(&self) -> Found {
        // What can be read cannot always be written: a disk may be full.
        let asked = async {
            self.store.deliveries(None, 1).await?;
            self.store.check_writable().await
        };
        let store = match timeout(PATIENCE, asked).await {
            // What is written to ask is not all that a push writes.
            Ok(Ok(())) => {
                // One that goes by way of a broker is the broker's to take.
                let pushes = self.pushes.as_ref().filter(|_| self.broker.is_none());
                let refuses = pushes.is_some_and(|pushes| pushes.refuses());
                refuses.then(|| "the last push could not be stored".to_owned())
            }
            Ok(Err(error)) => Some(with_causes(&error)),
            Err(_) => Some("the store does not answer in time".to_owned()),
        };
        let is_idle = self.runner.as_ref().is_some_and(|runner| !runner.status().is_running);
        let runner = is_idle.then(|| "no runner is at work".to_owned());
        let broker = self.broker.as_ref().and_then(Broker::trouble);
        [("store", store), ("runner", runner), ("broker", broker)]
    }
}

async fn alive() -> Json<Report> {
    Json(Report { status: "ok", failing: Vec::new(), causes: Vec::new() })
}

const PATIENCE: Duration = Duration::from_secs(2);
/// Time for which what was found is told again: a look is a write, and anybody may ask.
const FRESH: Duration = Duration::from_secs(1);
