use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::backends::Backends;
use super::catalog::ServerCatalog;
use super::connections::Connections;
use super::error::StartError;
use super::health::Health;
use super::listener::{self, Bounds};
use super::metrics::Metrics;
use super::reload::Handle;
use super::server::{after, bind};
use super::store::Store;
use super::works::{self, Ports, Works};
use super::{old_runs, snapshot, tidy, token};
use crate::api::Api;
use crate::config::Config;

/// A process that runs jobs and takes no pushes: beside servers, on machines of its own. It has everything that it
/// needs, and waits to be [run](Worker::run).
///
/// It handles no signals and sets up no logging: whoever runs it does.
pub struct Worker {
    listens: Option<(TcpListener, Router, Connections)>,
    address: Option<SocketAddr>,
    works: Works,
    store: Arc<dyn Store>,
    shutdown: CancellationToken,
    handle: Handle,
}

impl Worker {
    /// Opens store and state directory, and takes the port of `[worker] listen` if there is one.
    ///
    /// # Errors
    ///
    /// When the store is not one that several processes share or does not answer, the port is taken, or something
    /// cannot be read or made.
    pub async fn open(config: Config) -> Result<Self, StartError> {
        if !config.store.url.is_shared() {
            return Err(StartError::NotShared);
        }
        let recipes = snapshot::recipes(&config)?;
        let backends = Backends::open(&config).await?;
        let catalog = Arc::new(ServerCatalog::new(recipes, &config.store.state_dir, &backends));
        let metrics = Arc::new(Metrics::default());
        let api = Api::new(backends.store.clone(), token::of(&config)?, config.store.state_dir.clone());
        let changes = api.changes.clone();
        let works = Works::new(&config, &backends, catalog.clone(), metrics.clone(), changes.clone());
        let shutdown = api.shutdown.clone();
        let (listens, address) = match config.worker.listen {
            None => (None, None),
            Some(address) => {
                let (listener, bound) = bind(address)?;
                let health = Health::new(backends.store.clone(), Some(works.handle()), None, None);
                let connections = listener::private_connections("worker");
                let ports = Ports { connections: vec![connections.clone()], receiver: None };
                let numbers = api.guard(works::exposition(
                    metrics,
                    backends.store.clone(),
                    None,
                    backends.gpus.clone(),
                    ports,
                ));
                (Some((listener, health.public().merge(numbers), connections)), Some(bound))
            }
        };
        let handle = Handle::new(config, None, catalog, backends.workspace, changes, backends.store.clone());
        Ok(Self { listens, address, works, store: backends.store, shutdown, handle })
    }

    /// Where it answers `/healthz`, `/readyz` and `/metrics`.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// A way to it from outside.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Works until `shutdown`. Then it claims nothing more and releases its jobs; their runs go on, unless `[worker] drain`
    /// lets them save and make way first.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let stop = self.shutdown;
        let stopped = || stop.clone().cancelled_owned();
        let listening = async {
            if let Some(port) = self.listens {
                listener::serve(port, Bounds::private(), stopped()).await;
            }
        };
        let working = self.works.run(self.handle.hidden(), stopped());
        let drain = self.handle.config().worker.drain;
        let asked = async {
            shutdown.await;
            info!("claiming nothing more; {}", after(drain));
            stop.cancel();
        };
        let clearing = old_runs::clear(self.store.clone(), self.handle.clone(), stopped());
        let tidying = tidy::tidy(self.store.clone(), self.handle.trees(), self.handle.clone(), stopped());
        tokio::join!(listening, working, asked, clearing, tidying);
        self.store.close().await;
    }
}
