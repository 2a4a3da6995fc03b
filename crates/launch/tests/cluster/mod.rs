//! A Kubernetes cluster that is *simulated*, in this process: an API server with the semantics of real objects, the
//! controllers that Jobs need, and a node that runs the containers of pods as processes of this machine.
//!
//! What it does as the real one: names are taken once (409), versions conflict (409), Jobs' templates do not change (422), what
//! a watch is to go on from is forgotten (410), deletion waits for finalizers and grace, dependents go with what they belong
//! to, `$(NAME)` is replaced in commands, variables of the cluster are added. What it does not: it knows one namespace and three
//! kinds, has no admission, pulls no images, and mounts volumes by replacing their paths in commands and variables.

mod api;
mod controllers;
mod faults;
mod logs;
mod node;
mod store;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use kube::Client;
use serde_json::Value;
use tokio::sync::watch;

pub(crate) use faults::Fault;
pub(crate) use store::Kind;
use store::Store;

/// A body as it is sent.
pub(crate) type Sent = UnsyncBoxBody<Bytes, io::Error>;

/// The cluster. Copies are the same one.
#[derive(Clone)]
pub(crate) struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    store: Mutex<Store>,
    /// Says that something has changed.
    changed: watch::Sender<u64>,
    logs: logs::Logs,
    disk: PathBuf,
}

/// Which Kubernetes it is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// Since 1.26: the pods of a Job are counted by a finalizer, so one that somebody deletes has failed.
    Counting,
    /// Before: such a pod is as if it had never been, and the Job gets another one, which may begin while the first one
    /// still saves. As 1.20 was seen to do.
    Forgetful,
}

impl Cluster {
    /// A cluster in which nothing happens by itself: pods are what a test makes of them.
    pub(crate) fn idle(disk: &Path) -> Self {
        let inner = Inner {
            store: Mutex::new(Store::default()),
            changed: watch::Sender::new(0),
            logs: logs::Logs::default(),
            disk: disk.to_owned(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// A cluster with one node, which has its volumes in `disk`.
    pub(crate) fn with_a_node(disk: &Path) -> Self {
        Self::of(Age::Counting, disk)
    }

    /// The same as it was at some time.
    pub(crate) fn of(age: Age, disk: &Path) -> Self {
        let cluster = Self::idle(disk);
        cluster.change(|store| store.is_forgetful = age == Age::Forgetful);
        tokio::spawn(controllers::run(Arc::downgrade(&cluster.inner)));
        tokio::spawn(node::run(Arc::downgrade(&cluster.inner)));
        cluster
    }

    /// Somebody who asks its API server.
    pub(crate) fn client(&self) -> Client {
        let cluster = self.clone();
        let service = tower::service_fn(move |request| api::answer(cluster.clone(), request));
        Client::new(service, "default")
    }

    /// One round of its controllers.
    pub(crate) fn control(&self) {
        self.change(controllers::step);
    }

    /// What is there of this name.
    pub(crate) fn object(&self, kind: Kind, name: &str) -> Option<Value> {
        self.store().get(kind, name).cloned()
    }

    pub(crate) fn objects(&self, kind: Kind) -> Vec<Value> {
        self.store().all(kind).cloned().collect()
    }

    /// How many objects of this name were ever made that satisfy `is_wanted`.
    pub(crate) fn ever_made(&self, kind: Kind, name: &str, is_wanted: impl Fn(&Value) -> bool) -> usize {
        self.store()
            .made
            .iter()
            .filter(|(of, object)| *of == kind && object["metadata"]["name"] == name && is_wanted(object))
            .count()
    }

    /// Nobody reaches the API server any more, and all its streams break.
    pub(crate) fn cut_off(&self) {
        self.change(|store| {
            store.faults.is_cut_off = true;
            store.break_streams();
        });
    }

    pub(crate) fn reconnect(&self) {
        self.change(|store| store.faults.is_cut_off = false);
    }

    /// How many watches somebody still listens to.
    pub(crate) fn watches(&self) -> usize {
        self.store().watches()
    }

    /// Forgets what has happened so far: who goes on from there has to begin anew.
    pub(crate) fn forget_history(&self) {
        self.change(Store::forget_history);
    }

    /// A container of this pod writes.
    pub(crate) fn say(&self, uid: &str, text: &str) {
        let logs = &self.inner.logs;
        logs.of(uid).unwrap_or_else(|| logs.begin(uid)).write(text.as_bytes());
    }

    /// It writes nothing more.
    pub(crate) fn hush(&self, uid: &str) {
        self.inner.logs.of(uid).unwrap().end();
    }

    /// What goes wrong with each request, in order of their coming.
    pub(crate) fn plan_faults(&self, next: impl FnMut(&str, &str) -> Fault + Send + 'static) {
        self.change(|store| store.faults.next = Box::new(next));
    }

    /// Changes something as somebody who needs no permission.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        self.inner.change(change)
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.inner.store()
    }
}

impl Inner {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        let mut store = self.store();
        let outcome = change(&mut store);
        let version = store.version();
        drop(store);
        self.changed.send_if_modified(|known| std::mem::replace(known, version) != version);
        outcome
    }
}

/// Now, as objects have it.
fn now() -> String {
    let now = k8s_openapi::jiff::Timestamp::now();
    k8s_openapi::jiff::Timestamp::from_second(now.as_second()).unwrap().to_string()
}
