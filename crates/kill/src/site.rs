use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Failure;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::repository;
use crate::services::Services;
use crate::setup::SetUp;

/// A folder with a repository, a configuration for each process, and all that they write.
pub(crate) struct Site {
    folder: TempDir,
    pub(crate) places: Vec<Place>,
    /// The commits of each branch, oldest first.
    pub(crate) branches: Vec<Vec<String>>,
    pub(crate) backlog: usize,
    pub(crate) has_broker: bool,
}

/// What is known of a process whether it runs or not.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) config: PathBuf,
    /// Where it says whether it is ready; a receiver has its hooks there.
    pub(crate) address: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// A server, where its store is read.
    Receiver {
        admin: SocketAddr,
    },
    Worker,
}

impl Site {
    /// For processes that stand on these services; without a database their jobs are in a file.
    pub(crate) fn new(set_up: &SetUp, services: &Services) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("swifthook-kill-").tempdir()?;
        let branches = repository::make(&repository::path(folder.path()))?;
        let mut site = Self {
            folder,
            places: Vec::new(),
            branches,
            backlog: set_up.backlog(),
            has_broker: set_up.broker,
        };
        fs::write(site.marks(), "")?;
        fs::create_dir_all(site.locks())?;
        fs::create_dir_all(site.points())?;
        site.lay_out(set_up, services)?;
        Ok(site)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The file in which runs leave their marks.
    pub(crate) fn marks(&self) -> PathBuf {
        self.path().join("marks")
    }

    /// A file for each group, which a run of it holds locked.
    pub(crate) fn locks(&self) -> PathBuf {
        self.path().join("locks")
    }

    /// Where points are armed.
    pub(crate) fn points(&self) -> PathBuf {
        self.path().join("points")
    }

    pub(crate) fn hooks(&self) -> Vec<SocketAddr> {
        let receivers = self.places.iter().filter(|place| matches!(place.role, Role::Receiver { .. }));
        receivers.map(|place| place.address).collect()
    }

    /// Where the store is read.
    pub(crate) fn admin(&self) -> SocketAddr {
        let admin = self.places.iter().find_map(|place| match place.role {
            Role::Receiver { admin } => Some(admin),
            Role::Worker => None,
        });
        admin.expect("there is a receiver")
    }

    /// Leaves the folder where it is.
    pub(crate) fn keep(self) -> PathBuf {
        self.folder.keep()
    }

    fn lay_out(&mut self, set_up: &SetUp, services: &Services) -> Result<(), Failure> {
        let mut free = free_addresses();
        let mut address = || free.next().ok_or("no port is free");
        let database = services.cluster.as_ref().map(Cluster::url);
        let store = database.unwrap_or_else(|| format!("sqlite:{}/swifthook.db", self.path().display()));
        // A URL with a password does not stand in a configuration.
        let broker = services.broker.is_some().then(|| self.path().join("broker"));
        if let (Some(file), Some(broker)) = (&broker, &services.broker) {
            fs::write(file, broker.url())?;
        }
        for number in 0..set_up.receivers {
            let (hooks, admin) = (address()?, address()?);
            let slots = if set_up.workers == 0 { SLOTS } else { 0 };
            let name = format!("receiver-{number}");
            let config = Config { site: self, store: &store, state: &name };
            let text = config.of_a_receiver(hooks, admin, slots, broker.as_deref());
            self.add(name, Role::Receiver { admin }, hooks, &text)?;
        }
        for number in 0..set_up.workers {
            let listen = address()?;
            let machine = format!("machine-{}", number % set_up.machines);
            let config = Config { site: self, store: &store, state: &machine };
            let text = config.of_a_worker(listen, SLOTS);
            self.add(format!("worker-{number}"), Role::Worker, listen, &text)?;
        }
        Ok(())
    }

    fn add(&mut self, name: String, role: Role, address: SocketAddr, text: &str) -> Result<(), Failure> {
        let config = self.path().join(format!("{name}.toml"));
        fs::write(&config, text)?;
        self.places.push(Place { name, role, config, address });
        Ok(())
    }
}

/// Ports that stay free while nothing listens there: below those that the kernel gives to connections.
fn free_addresses() -> impl Iterator<Item = SocketAddr> {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).expect("it is below ten thousand");
    (first..32_000).filter_map(|port| {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        TcpListener::bind(address).is_ok().then_some(address)
    })
}

pub(crate) const SECRET: &str = "a secret of the kill harness, long enough";
pub(crate) const TOKEN: &str = "a-token-of-the-kill-harness-of-enough-characters";
const SLOTS: usize = 4;
