//! What runs jobs, and what tells of them.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use http::header;
use swifthook_core::{Current, Gpu, Gpus, Job, NoGpus, Standing};
use swifthook_launch::{GpuProbe, Looks};
use swifthook_runner::{Handle, Moment, Options, Runner};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::backends::Backends;
use super::broker::Broker;
use super::catalog::ServerCatalog;
use super::connections::Connections;
use super::logs::{self, Arrivals, LogKeeper, Notes};
use super::metrics::{self, Metrics};
use super::points;
use super::store::Store;
use crate::api::{Changes, Hidden};
use crate::config::Config;

/// The runner of a process, and what goes along with it.
pub(super) struct Works {
    runner: Runner,
    arrivals: Arrivals,
    store: Arc<dyn Store>,
    state_dir: PathBuf,
    host: Arc<str>,
    is_shared: bool,
}

impl Works {
    pub(super) fn new(
        config: &Config,
        backends: &Backends,
        catalog: Arc<ServerCatalog>,
        metrics: Arc<Metrics>,
        changes: Changes,
    ) -> Self {
        let (notes, arrivals) = Notes::new();
        let (host, state_dir) = (&*backends.host, config.store.state_dir.clone());
        let options = Options {
            slots: config.worker.slots,
            labels: config.worker.labels.clone(),
            drain: config.worker.drain,
            version: env!("CARGO_PKG_VERSION").into(),
            observer: Arc::new(observer(metrics, changes, notes)),
            gpus: match &backends.gpus {
                Some(gpus) => gpus.clone(),
                None => Arc::new(NoGpus),
            },
            ..Options::new(&format!("{host}-{}", std::process::id()), host, state_dir.clone())
        };
        Self {
            runner: Runner::new(backends.store.clone(), backends.workspace.clone(), catalog, options),
            arrivals,
            store: backends.store.clone(),
            state_dir,
            host: host.into(),
            is_shared: config.store.url.is_shared(),
        }
    }

    pub(super) fn handle(&self) -> Handle {
        self.runner.handle()
    }

    /// Works until `shutdown`, and looks whenever there is something new in the store.
    pub(super) async fn run(self, hidden: Hidden, shutdown: impl Future<Output = ()> + Send) {
        let Self { runner, arrivals, store, state_dir, host, is_shared } = self;
        let wake = wake(runner.handle(), store.watch());
        let looks = Looks::new(logs::MOST_LOOKS, logs::PATIENCE);
        let logs = LogKeeper { store, state_dir, host, hidden, looks, is_shared };
        let over = CancellationToken::new();
        let running = async {
            runner.run(shutdown).await;
            over.cancel();
        };
        tokio::select! {
            _ = async { tokio::join!(running, logs.run(arrivals, over.cancelled())) } => {}
            () = wake => {}
        }
    }
}

/// Tells the runner whenever there is something new in the store. Never ends.
async fn wake(runner: Handle, mut news: watch::Receiver<u64>) {
    while news.changed().await.is_ok() {
        runner.wake();
    }
    std::future::pending().await
}

/// What the runner tells of, in the log, the numbers and the streams of events.
fn observer(metrics: Arc<Metrics>, changes: Changes, notes: Notes) -> impl Fn(&Job, &Moment) + Send + Sync {
    move |job, moment| {
        notes.take(job, moment);
        match moment {
            Moment::Claimed | Moment::Adopted => changes.take_in_hand(job.id),
            Moment::PutOff | Moment::Diffed | Moment::Finished | Moment::Released | Moment::Lost => {
                changes.let_go(job.id);
            }
            _ => {}
        }
        match moment {
            Moment::Started => points::reach("started"),
            Moment::CheckedOut => points::reach("checked_out"),
            Moment::Ended => points::reach("finishing"),
            Moment::Finished => points::reach("finished"),
            Moment::Alarmed(why) => metrics.alarmed(&why.word),
            _ => {}
        }
        let progress = match moment {
            Moment::Progressed(progress) => Some(*progress),
            _ => None,
        };
        changes.tell(job.id, progress);
        if progress.is_some() {
            return;
        }
        let (state, reason) = (job.state.stage, job.state.reason.as_ref().map(|reason| &*reason.word));
        if *moment == Moment::Finished {
            changes.forget(job.id);
            if state.is_final() {
                metrics.finished(state);
            }
        }
        debug!(job = %job.id, recipe = &*job.change.recipe, moment = ?moment, state = state.word(), reason, "job");
    }
}

/// The ports of a process, for their numbers.
#[derive(Clone)]
pub(super) struct Ports {
    pub(super) connections: Vec<Connections>,
    /// Service that takes deliveries; `None` where none are taken.
    pub(super) receiver: Option<Arc<Current>>,
}

impl Ports {
    fn numbers(&self) -> String {
        let of = |connections: &Connections| (connections.port(), connections.counts());
        let counts: Vec<_> = self.connections.iter().map(of).collect();
        metrics::ports(&counts, self.receiver.as_ref().map(|receiver| receiver.load().in_flight()))
    }
}

/// `/metrics`.
pub(super) fn exposition(
    metrics: Arc<Metrics>,
    store: Arc<dyn Store>,
    broker: Option<Broker>,
    gpus: Option<Arc<GpuProbe>>,
    ports: Ports,
) -> Router {
    type Shared = (Arc<Metrics>, Arc<dyn Store>, Option<Broker>, Option<Arc<GpuProbe>>, Ports);
    let show = get(async |State((metrics, store, broker, gpus, ports)): State<Shared>| {
        let jobs = store.open_jobs().await.unwrap_or_default();
        let mut text = metrics.text(&jobs);
        text.push_str(&ports.numbers());
        text.push_str(&broker.map(|broker| metrics::messages(broker.counts())).unwrap_or_default());
        if let Some(gpus) = gpus.filter(|gpus| gpus.are_there()) {
            text.push_str(&gpu_numbers(&gpus, &*store).await);
        }
        ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
    });
    Router::new().route("/metrics", show).with_state((metrics, store, broker, gpus, ports))
}

/// The GPUs of this machine, by what they do. Where the driver or the store does not answer there is no number.
async fn gpu_numbers(gpus: &GpuProbe, store: &dyn Store) -> String {
    let (Ok(seen), Ok(leases)) = (gpus.peek().await, store.gpu_leases().await) else { return String::new() };
    let machine = gpus.machine();
    let ours: Vec<_> = leases.into_iter().filter(|lease| lease.machine == machine).collect();
    let state = |gpu: &Gpu| match &gpu.standing {
        _ if ours.iter().any(|lease| lease.uuid == gpu.uuid) => "leased",
        Standing::Idle | Standing::Settling => "free",
        Standing::InUse(_) => "in_use",
        Standing::Broken(_) => "broken",
    };
    let count = |word| seen.iter().filter(|gpu| state(gpu) == word).count();
    metrics::gpus(["leased", "free", "in_use", "broken"].map(|word| (word, count(word))))
}
