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
use super::slots::{Full, Owner, Plan, RequestId, SlotId, Slots};

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

/// Means by which clients are told apart.
pub(super) enum Clients {
    /// By address, also behind trusted proxies; those that have proven a signature go first.
    Receiver(Arc<Current>),
    /// By address alone.
    Alike,
}

/// Events of the connections of a listener.
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
    progress: Progress,
    is_proxied: bool,
}

/// Means to tell how far a request is. It says nothing of another on the same connection, however long it is kept.
#[derive(Clone)]
pub(super) struct Progress {
    connections: Connections,
    slot: SlotId,
    request: RequestId,
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
        let has_room = self.make_room(&mut table, owner, reputation);
        let news = table.news(Instant::now());
        if !has_room {
            drop(table);
            self.tell(news);
            return None;
        }
        let id = table.slots.acquire(owner, reputation);
        table.counts.open += 1;
        let (evict, evicted) = oneshot::channel();
        table.evictions.insert(id, evict);
        drop(table);
        self.tell(news);
        let slot = Slot { connections: self.clone(), id, peer, is_proxied: owner == Owner::Proxy };
        Some((slot, evicted))
    }

    /// Waits until most of those that gave way are closed, so that files stay within their number.
    pub(super) async fn settled(&self) {
        while self.counts().open > self.0.most + (self.0.most / 8).min(CLOSING) {
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
                        return true;
                    }
                }
                Err(Full) => {
                    table.counts.refused += 1;
                    return false;
                }
            }
        }
    }

    /// Tells whether the owner of a slot is better known than was noted; it is noted then.
    fn is_better_known(&self, table: &mut Table, slot: SlotId) -> bool {
        let Some(owner @ Owner::Client(client)) = table.slots.owner(slot) else { return false };
        table.slots.improve(owner, self.0.clients.reputation(client))
    }

    /// Logs what happened, without the lock: a log that takes its time would hold up whoever connects.
    fn tell(&self, news: Option<Counts>) {
        let Some(Counts { open, evicted, refused }) = news else { return };
        warn!(
            port = self.0.port,
            open,
            evicted,
            refused,
            "all connections are taken: those of clients with many, and of unknown ones, make room"
        );
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
    /// Those that are open, and what happened to others since the last news, where it is time to tell.
    fn news(&mut self, now: Instant) -> Option<Counts> {
        let Counts { open, evicted, refused } = self.counts;
        let (evicted, refused) = (evicted - self.untold.evicted, refused - self.untold.refused);
        if (evicted, refused) == (0, 0) || !self.told.is_time(now) {
            return None;
        }
        self.untold = self.counts;
        Some(Counts { open, evicted, refused })
    }

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
        let begun = if self.is_proxied {
            self.begin_for_client(headers)
        } else {
            self.connections.table().slots.begin(self.id)
        };
        // It takes the lock when it is dropped, so that there is none where there is nothing to take back.
        let progress = |request| Progress { connections: self.connections.clone(), slot: self.id, request };
        begun.map(|request| Request { progress: progress(request), is_proxied: self.is_proxied })
    }

    /// Hands the slot of a proxy over to the client of this request.
    fn begin_for_client(&self, headers: &HeaderMap) -> Option<RequestId> {
        let (owner, reputation) = self.connections.0.clients.behind(self.peer, headers);
        let mut table = self.connections.table();
        if !table.slots.release(self.id) {
            return None;
        }
        let begun = if self.connections.make_room(&mut table, owner, reputation) {
            table.slots.put(self.id, owner, reputation);
            table.slots.begin(self.id)
        } else {
            table.slots.put(self.id, Owner::Proxy, Reputation::Proven);
            None
        };
        let news = table.news(Instant::now());
        drop(table);
        self.connections.tell(news);
        begun
    }
}

impl Request {
    /// Means to tell how far it is.
    pub(super) fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

impl Progress {
    /// Notes that the body is there.
    pub(super) fn set_storing(&self) {
        self.connections.table().slots.set_storing(self.slot, self.request);
    }

    /// Notes that the request was answered.
    pub(super) fn set_answered(&self) {
        self.connections.table().slots.set_answered(self.slot, self.request);
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
        let Progress { connections, slot, request } = &self.progress;
        let mut table = connections.table();
        if table.slots.end(*slot, *request) && self.is_proxied && table.slots.release(*slot) {
            table.slots.put(*slot, Owner::Proxy, Reputation::Proven);
        }
    }
}

/// Those that may still be closing while others are accepted.
const CLOSING: usize = 64;
const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use swifthook_core::{Receiver, Secret, SecretSet, Timestamp};

    use super::*;

    /// Four connections of a receiver that trusts the proxies of 10.0.0.0/8.
    fn hooks() -> (Connections, Arc<Current>) {
        let secrets = SecretSet::one(SECRET).unwrap();
        let receiver = Receiver::builder()
            .hook("github", "/webhook", secrets, &["acme/*"])
            .recipe("sft", "acme/models", swifthook_core::condition::branches(["main"]).unwrap())
            .trusted_proxies(vec!["10.0.0.0/8".parse().unwrap()]);
        let receiver = Arc::new(Current::new(receiver.build().unwrap()));
        let plan = Plan { slots: 4, kept: 1, cuts_requests: true };
        (Connections::new("hooks", plan, Clients::Receiver(receiver.clone())), receiver)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn forwarded(client: &str) -> HeaderMap {
        [(http::HeaderName::from_static("x-forwarded-for"), client.parse().unwrap())].into_iter().collect()
    }

    /// Takes a signed push from this address.
    fn prove(receiver: &Current, peer: &str) {
        let (before, after) = ("a".repeat(40), "b".repeat(40));
        let commit = serde_json::json!({
            "id": after, "message": "m", "added": [], "removed": [], "modified": ["a.yaml"],
        });
        let push = serde_json::json!({
            "ref": "refs/heads/main", "before": before, "after": after,
            "created": false, "deleted": false, "forced": false,
            "repository": { "id": 1, "name": "models", "full_name": "acme/models", "pushed_at": 0 },
            "pusher": { "name": "dev" }, "sender": { "login": "dev" },
            "commits": [commit], "head_commit": commit,
        });
        let body = Bytes::from(push.to_string());
        let (head, ()) = http::Request::post("/webhook")
            .header("content-type", "application/json")
            .header("x-github-event", "push")
            .header("x-hub-signature-256", Secret::new("it", SECRET).unwrap().sign(&body))
            .body(())
            .unwrap()
            .into_parts();
        let mut reading = receiver.load().begin("/webhook", &head, Some(address(peer))).unwrap();
        reading.push(body).unwrap();
        reading.finish(Timestamp(0)).unwrap();
    }

    #[test]
    fn on_a_connection_that_gives_way_no_request_begins() {
        let (connections, _) = hooks();
        let mut direct: Vec<_> = (0..4).map(|_| connections.admit(address("192.0.2.1")).unwrap()).collect();
        let (slot, evicted) = &mut direct[0];
        assert_eq!(evicted.try_recv(), Ok(()), "three are for strangers");
        assert!(slot.begin(&HeaderMap::new()).is_none());
        drop(direct);
        let mut proxied: Vec<_> = (0..5).map(|_| connections.admit(address("10.0.0.1")).unwrap()).collect();
        let (slot, evicted) = &mut proxied[0];
        assert_eq!(evicted.try_recv(), Ok(()), "there are four");
        assert!(slot.begin(&forwarded("192.0.2.9")).is_none());
        drop(proxied);
        assert_eq!(connections.counts().open, 0);
    }

    #[test]
    fn a_client_that_proves_a_signature_is_not_cut_while_its_push_is_stored() {
        let (connections, receiver) = hooks();
        let (slot, mut evicted) = connections.admit(address("140.82.112.1")).unwrap();
        let _storing = slot.begin(&HeaderMap::new()).unwrap();
        prove(&receiver, "140.82.112.1");
        let strangers: Vec<_> =
            (0..9).filter_map(|last| connections.admit(IpAddr::from([192, 0, last, 1]))).collect();
        assert_eq!(strangers.len(), 9);
        assert!(evicted.try_recv().is_err(), "it goes on");
    }

    #[test]
    fn by_way_of_a_proxy_a_client_has_its_share_while_it_asks() {
        let (connections, receiver) = hooks();
        let mut admitted: Vec<_> = (0..4).map(|_| connections.admit(address("10.0.0.1")).unwrap()).collect();
        assert_eq!(connections.counts(), Counts { open: 4, evicted: 0, refused: 0 }, "a proxy has no share");
        let begin = |at: usize, client: &str| admitted[at].0.begin(&forwarded(client));
        let requests = [0, 1, 2].map(|at| begin(at, "192.0.2.1").unwrap());
        let beyond = begin(3, "192.0.2.1");
        assert_eq!(connections.counts().evicted, 1, "strangers have three, and its own oldest makes room");
        drop((requests, beyond));
        prove(&receiver, "140.82.112.1");
        let own = admitted[3].0.begin(&forwarded("140.82.112.1"));
        assert!(own.is_some());
        assert_eq!(admitted.iter_mut().filter_map(|(_, evicted)| evicted.try_recv().ok()).count(), 1);
        drop(own);
        drop(admitted);
        let table = connections.table();
        assert_eq!((table.slots.taken(), table.evictions.len(), table.counts.open), (0, 0, 0));
    }

    #[test]
    fn by_way_of_a_proxy_what_is_left_of_a_request_takes_no_slot_from_the_next() {
        let (connections, _) = hooks();
        let (slot, _evicted) = connections.admit(address("10.0.0.1")).unwrap();
        let first = slot.begin(&forwarded("192.0.2.1")).unwrap();
        let late = first.progress();
        let _second = slot.begin(&forwarded("198.51.100.1")).unwrap();
        late.set_storing();
        drop(first);
        let owner = connections.table().slots.owner(slot.id);
        assert_eq!(owner, Some(Owner::Client(ClientAddr::of(address("198.51.100.1")))));
    }

    const SECRET: &str = "correct horse battery staple 2026";
}
