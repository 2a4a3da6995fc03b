//! The connections of a listener: each has a [slot](super::slots), and is told when it has to give way.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use http::HeaderMap;
use swifthook_core::{ClientAddr, Current, Reputation};
use tokio::sync::{Notify, oneshot};
use tracing::warn;

use super::occasionally::Occasionally;
use super::slots::{Full, Owner, Plan, SlotId, Slots};

/// The connections of one listener.
#[derive(Clone)]
pub(super) struct Connections(Arc<Shared>);

struct Shared {
    /// The name of the listener, in the log and among the numbers.
    port: &'static str,
    clients: Clients,
    most: usize,
    table: Mutex<Table>,
    closed: Notify,
}

/// How clients are told apart.
pub(super) enum Clients {
    /// By address, also behind trusted proxies; those that have proven a signature go first.
    Receiver(Arc<Current>),
    /// By address alone.
    Alike,
}

/// What happened to the connections of a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Those that are open.
    pub(super) open: usize,
    /// Those that were closed to make room.
    pub(super) evicted: u64,
    /// Those that were closed, and requests that were refused, since no other could give way.
    pub(super) refused: u64,
}

struct Table {
    slots: Slots,
    evictions: HashMap<SlotId, oneshot::Sender<()>>,
    counts: Counts,
    told: Occasionally,
    untold: Counts,
}

/// The slot of a connection, until it is dropped.
pub(super) struct Slot {
    connections: Connections,
    id: SlotId,
    peer: IpAddr,
    is_proxied: bool,
}

/// A request under way, until it is dropped.
pub(super) struct Request {
    connections: Connections,
    id: SlotId,
    is_proxied: bool,
}

impl Connections {
    pub(super) fn new(port: &'static str, plan: Plan, clients: Clients) -> Self {
        let table = Table {
            slots: Slots::new(plan),
            evictions: HashMap::new(),
            counts: Counts::default(),
            told: Occasionally::new(MINUTE),
            untold: Counts::default(),
        };
        let (most, table, closed) = (plan.slots, Mutex::new(table), Notify::new());
        Self(Arc::new(Shared { port, clients, most, table, closed }))
    }

    /// Gives a slot to a connection from `peer`, if need be that of another, and what it is told by when its turn has
    /// come to give way. `None` where none can.
    pub(super) fn admit(&self, peer: IpAddr) -> Option<(Slot, oneshot::Receiver<()>)> {
        let (owner, reputation) = self.0.clients.owner(peer);
        let mut table = self.table();
        if !self.make_room(&mut table, owner, reputation) {
            return None;
        }
        let id = table.slots.acquire(owner, reputation);
        table.counts.open += 1;
        let (evict, evicted) = oneshot::channel();
        table.evictions.insert(id, evict);
        let slot = Slot { connections: self.clone(), id, peer, is_proxied: owner == Owner::Proxy };
        Some((slot, evicted))
    }

    /// Waits until most of those that gave way are closed, so that files stay within their number.
    pub(super) async fn settled(&self) {
        while self.counts().open > self.0.most + self.0.most / 8 {
            self.0.closed.notified().await;
        }
    }

    /// Closes one that is worth little: there are no files left, though there are slots.
    pub(super) fn shed(&self) {
        let mut table = self.table();
        if let Some(victim) = table.slots.victim(Owner::Proxy, Reputation::Proven) {
            table.evict(victim);
        }
    }

    pub(super) fn port(&self) -> &'static str {
        self.0.port
    }

    pub(super) fn counts(&self) -> Counts {
        self.table().counts
    }

    fn make_room(&self, table: &mut Table, owner: Owner, reputation: Reputation) -> bool {
        loop {
            match table.slots.victim_for(owner, reputation) {
                Ok(None) => return true,
                Ok(Some(victim)) => {
                    // It may have proven a signature a moment ago, and its push be on its way into the store.
                    if !self.is_better_known(table, victim) {
                        table.evict(victim);
                        self.tell(table);
                        return true;
                    }
                }
                Err(Full) => {
                    table.counts.refused += 1;
                    self.tell(table);
                    return false;
                }
            }
        }
    }

    /// Whether the owner of a slot is better known than was noted; it is noted then.
    fn is_better_known(&self, table: &mut Table, slot: SlotId) -> bool {
        let Some(owner @ Owner::Client(client)) = table.slots.owner(slot) else { return false };
        table.slots.improve(owner, self.0.clients.reputation(client))
    }

    fn tell(&self, table: &mut Table) {
        if table.told.is_time(Instant::now()) {
            let Counts { open, evicted, refused } = table.counts;
            warn!(
                port = self.0.port,
                open,
                evicted = evicted - table.untold.evicted,
                refused = refused - table.untold.refused,
                "all connections are taken: those of clients with many, and of unknown ones, make room"
            );
            table.untold = table.counts;
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().expect("nothing panics under this lock")
    }
}

impl Clients {
    fn owner(&self, peer: IpAddr) -> (Owner, Reputation) {
        let client = ClientAddr::of(peer);
        match self {
            Self::Receiver(receiver) if receiver.load().is_trusted_proxy(peer) => {
                (Owner::Proxy, Reputation::Proven)
            }
            _ => (Owner::Client(client), self.reputation(client)),
        }
    }

    fn reputation(&self, client: ClientAddr) -> Reputation {
        match self {
            Self::Receiver(receiver) => receiver.load().reputation(client),
            Self::Alike => Reputation::Unknown,
        }
    }

    /// Whose request it is that came by way of a proxy; the proxy's own where it names nobody.
    fn behind(&self, peer: IpAddr, headers: &HeaderMap) -> (Owner, Reputation) {
        let client = match self {
            Self::Receiver(receiver) => receiver.load().client_addr(headers, peer),
            Self::Alike => None,
        };
        match client {
            Some(client) => (Owner::Client(client), self.reputation(client)),
            None => (Owner::Proxy, Reputation::Proven),
        }
    }
}

impl Table {
    fn evict(&mut self, slot: SlotId) {
        self.slots.release(slot);
        self.counts.evicted += 1;
        if let Some(evict) = self.evictions.remove(&slot) {
            // Nobody listens any more where it is closed already.
            let _: Result<(), ()> = evict.send(());
        }
    }
}

impl Slot {
    /// Begins a request with these headers. `None` where its client has no slot, or the connection is giving way.
    pub(super) fn begin(&self, headers: &HeaderMap) -> Option<Request> {
        let request =
            Request { connections: self.connections.clone(), id: self.id, is_proxied: self.is_proxied };
        if !self.is_proxied {
            return self.connections.table().slots.set_busy(self.id, true).then_some(request);
        }
        let (owner, reputation) = self.connections.0.clients.behind(self.peer, headers);
        let mut table = self.connections.table();
        if !table.slots.release(self.id) {
            return None;
        }
        let has_room = self.connections.make_room(&mut table, owner, reputation);
        if has_room {
            table.slots.put(self.id, owner, reputation, true);
        } else {
            table.slots.put(self.id, Owner::Proxy, Reputation::Proven, false);
        }
        drop(table);
        has_room.then_some(request)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut table = self.connections.table();
        table.slots.release(self.id);
        table.evictions.remove(&self.id);
        table.counts.open -= 1;
        drop(table);
        self.connections.0.closed.notify_one();
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let mut table = self.connections.table();
        if !self.is_proxied {
            table.slots.set_busy(self.id, false);
        } else if table.slots.release(self.id) {
            table.slots.put(self.id, Owner::Proxy, Reputation::Proven, false);
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);
