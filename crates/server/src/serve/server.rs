use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::{Router, middleware};
use swifthook_core::{Current, Gpus, Intake};
use swifthook_runner::Drain;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::backends::Backends;
use super::broker::Broker;
use super::catalog::ServerCatalog;
use super::connections::{Clients, Connections};
use super::door::{Door, observe};
use super::error::StartError;
use super::health::Health;
use super::listener::{self, Bounds};
use super::metrics::Metrics;
use super::ranges::Ranges;
use super::reconcile::{self, Reconciler};
use super::reload::Handle;
use super::slots::Plan;
use super::store::Store;
use super::throttle::{Throttle, throttle};
use super::works::{self, Ports, Works};
use super::{old_runs, snapshot, tidy, token, wrong_port};
use crate::api::Api;
use crate::config::Config;

/// A server that has everything it needs, and waits to be [run](Server::run).
///
/// It handles no signals and sets up no logging: whoever runs it does.
pub struct Server {
    hooks: Port,
    admin: Port,
    works: Option<Works>,
    store: Arc<dyn Store>,
    broker: Option<Broker>,
    shutdown: CancellationToken,
    handle: Handle,
    reconciler: Reconciler,
    addresses: Addresses,
}

/// Listener, what it answers with, and who may connect.
type Port = (TcpListener, Router, Connections);

/// Where a server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Hooks, `/healthz` and `/readyz`.
    pub hooks: SocketAddr,
    /// API and metrics.
    pub admin: SocketAddr,
}

impl Server {
    /// Opens store and state directory and takes the ports.
    ///
    /// # Errors
    ///
    /// When the store is another process's, a port is taken, or something cannot be read or made.
    pub async fn open(config: Config) -> Result<Self, StartError> {
        let bounds = public_bounds(&config)?;
        let backends = Backends::open(&config).await?;
        let ranges = Ranges::new(&config);
        let (asked, of) = (ranges.clone(), config.clone());
        let known = tokio::task::spawn_blocking(move || asked.of(&of)).await;
        let known = known.expect("asking for addresses does not panic")?;
        let (receiver, recipes) = snapshot::of(&config, &known)?;
        for known in backends.store.identities().await? {
            receiver.remember(known);
        }
        let token = token::of(&config)?;
        let hooks = bind(config.server.listen)?;
        let admin = bind(config.server.admin_listen)?;
        let addresses = Addresses { hooks: hooks.1, admin: admin.1 };

        let receiver = Arc::new(Current::new(receiver));
        let plan = Plan::public(bounds.connections);
        let connections = Connections::new("hooks", plan, Clients::Receiver(receiver.clone()));
        let admin_connections = listener::private_connections("admin");
        let catalog = Arc::new(ServerCatalog::new(recipes, &config.store.state_dir, &backends));
        let metrics = Arc::new(Metrics::default());
        let state_dir = config.store.state_dir.clone();
        let mut api = Api::new(backends.store.clone(), token, state_dir);
        let (changes, shutdown) = (api.changes.clone(), api.shutdown.clone());
        // Without slots it is there to take pushes, and leaves jobs and diffs to workers.
        let works = (config.worker.slots > 0)
            .then(|| Works::new(&config, &backends, catalog.clone(), metrics.clone(), changes.clone()));
        let runs = works.as_ref().map(Works::handle);
        let broker = config.intake.as_ref().map(Broker::connect);
        let health = Health::new(backends.store.clone(), runs, broker.clone(), Some(metrics.clone()));
        let intake =
            broker.as_ref().map_or_else(|| -> Arc<dyn Intake> { backends.store.clone() }, Broker::intake);
        let door = Door { intake, metrics: metrics.clone(), changes: changes.clone() };
        let store = backends.store.clone();
        let handle = Handle::new(
            config,
            Some((receiver.clone(), ranges)),
            catalog.clone(),
            backends.workspace,
            changes,
            store,
        );
        api.hidden = handle.hidden();
        let retention_of = handle.clone();
        api.retention = Arc::new(move || retention_of.config().retention);
        let launchers_of = handle.clone();
        api.capabilities = Arc::new(move |name| {
            let config = launchers_of.config();
            let launcher = config.launchers.iter().find(|launcher| *launcher.name == *name)?;
            Some(launcher.kind.capabilities())
        });
        api.gpus = backends.gpus.clone().map(|gpus| gpus as Arc<dyn Gpus>);
        let deciding = receiver.clone();
        api.render = Some(Arc::new(move |job| catalog.render(job)));
        api.replay = Some(Arc::new(move |delivery, now| deciding.load().replay(delivery, now)));
        let reconciler =
            Reconciler::new(backends.store.clone(), handle.trees(), receiver.clone(), handle.changes());
        api.reconciler = Some(Arc::new(reconciler.clone()));
        let counting = Arc::new(Throttle::new(receiver.clone()));
        let ports = Ports {
            connections: vec![connections.clone(), admin_connections.clone()],
            receiver: Some(receiver.clone()),
        };
        let (seeing, hooks_of) = (receiver.clone(), receiver.clone());
        let hook_routes = swifthook_axum::routes("/{*path}", receiver, Arc::new(door))
            .layer(middleware::from_fn_with_state(counting, throttle))
            .layer(middleware::from_fn_with_state((metrics.clone(), seeing), observe))
            .layer(middleware::from_fn(wrong_port::at_hooks))
            .merge(health.clone().public());
        let admin_routes = api.router(health.private().merge(works::exposition(
            metrics,
            backends.store.clone(),
            broker.clone(),
            backends.gpus.clone(),
            ports,
        )));
        let admin_routes = admin_routes.layer(middleware::from_fn_with_state(hooks_of, wrong_port::at_admin));
        Ok(Self {
            hooks: (hooks.0, hook_routes, connections),
            admin: (admin.0, admin_routes, admin_connections),
            store: backends.store,
            broker,
            works,
            shutdown,
            handle,
            reconciler,
            addresses,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// A way to it from outside.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until `shutdown`. Then requests under way end, jobs are released, and runs go on.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let stop = self.shutdown;
        let stopped = || stop.clone().cancelled_owned();
        let hooks = listener::serve(self.hooks, Bounds::default(), stopped());
        let admin = listener::serve(self.admin, Bounds::private(), stopped());
        let runner = async {
            if let Some(works) = self.works {
                works.run(self.handle.hidden(), stopped()).await;
            }
        };
        let moving = async {
            if let Some(broker) = &self.broker {
                broker.move_into(self.store.clone(), self.handle.changes(), stopped()).await;
            }
        };
        let drain = self.handle.config().worker.drain;
        let asked = async {
            shutdown.await;
            info!("shutting down; {}", after(drain));
            stop.cancel();
        };
        let clearing = old_runs::clear(self.store.clone(), self.handle.clone(), stopped());
        let tidying = tidy::tidy(self.store.clone(), self.handle.trees(), self.handle.clone(), stopped());
        let looking = reconcile::watch(self.reconciler, self.handle.clone(), stopped());
        tokio::join!(hooks, admin, runner, moving, asked, clearing, tidying, looking);
        // What is not written yet is written now, and the next server may have the store.
        self.store.close().await;
    }
}

/// The bounds of the hooks, with as many connections as the configuration says.
fn public_bounds(config: &Config) -> Result<Bounds, StartError> {
    let bounds = Bounds::default();
    let Some(asked) = config.limits.connections else { return Ok(bounds) };
    let files = listener::open_files();
    // An eighth is for the admin port.
    if asked > files / 8 * 5 {
        return Err(StartError::TooManyConnections { asked, files });
    }
    Ok(Bounds { connections: asked, ..bounds })
}

/// What becomes of runs, for people.
pub(super) fn after(drain: Drain) -> &'static str {
    match drain {
        Drain::Leave => "runs go on",
        Drain::Yield => "runs save and make way",
    }
}

pub(super) fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = listen(address).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Those that came and are not accepted yet: when there are more the kernel forgets some, who try again after a second.
/// It may allow fewer (`net.core.somaxconn`).
const BACKLOG: u32 = 16_384;
