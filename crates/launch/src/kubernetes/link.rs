//! One kind of object, as far as it is known: kept by a watch that goes on for as long as somebody looks.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::{Error, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use swifthook_core::Timestamp;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::error::{is_expired, retry_after};

/// All objects of one kind that a selector chooses.
pub(super) struct Table<K> {
    objects: Mutex<HashMap<String, K>>,
    link: watch::Sender<Link>,
}

/// Whether what is known is of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// The server tells of each change.
    Live,
    /// It does not, since then.
    Lost(Timestamp),
}

impl<K> Table<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default,
{
    pub(super) fn new() -> Self {
        Self { objects: Mutex::default(), link: watch::Sender::new(Link::Lost(now())) }
    }

    pub(super) fn get(&self, name: &str) -> Option<K> {
        self.objects().get(name).cloned()
    }

    pub(super) fn choose(&self, mut is_wanted: impl FnMut(&K) -> bool) -> Vec<K> {
        self.objects().values().filter(|object| is_wanted(object)).cloned().collect()
    }

    /// Whether it tells of now. What was lost a moment ago gets some time to come back.
    pub(super) async fn link(&self) -> Link {
        let mut link = self.link.subscribe();
        let known = *link.borrow_and_update();
        if let Link::Lost(since) = known {
            let patience = PATIENCE.saturating_sub(now().since(since));
            let _ = timeout(patience, link.wait_for(|link| *link == Link::Live)).await;
        }
        *self.link.borrow()
    }

    /// Keeps the table, and never returns.
    pub(super) async fn keep(&self, api: Api<K>, selector: &str) {
        let mut backoff = Backoff::default();
        loop {
            let Err(error) = self.list_and_watch(&api, selector, &mut backoff).await else { continue };
            self.lose(&error);
            sleep(retry_after(&error).unwrap_or_else(|| backoff.next())).await;
        }
    }

    /// Returns when the server has forgotten what it was to go on from.
    async fn list_and_watch(&self, api: &Api<K>, selector: &str, backoff: &mut Backoff) -> Result<(), Error> {
        let listed = within(api.list(&ListParams::default().labels(selector))).await?;
        let mut version = listed.metadata.resource_version.unwrap_or_default();
        let objects = listed.items.into_iter().map(|object| (object.name_any(), object)).collect();
        *self.objects() = objects;
        self.link.send_replace(Link::Live);
        loop {
            match self.watch(api, selector, &mut version, backoff).await {
                Ok(()) => {}
                Err(error) if is_expired(&error) => {
                    // It answered as if it went on, and told then that it could not: what is known is of before.
                    self.doubt();
                    return Ok(());
                }
                Err(error) => {
                    // What was missed meanwhile is still told, if the server has not forgotten it by then.
                    self.lose(&error);
                    sleep(retry_after(&error).unwrap_or_else(|| backoff.next())).await;
                }
            }
        }
    }

    /// One watch, which the server ends now and then. `version` is how far it came.
    async fn watch(
        &self,
        api: &Api<K>,
        selector: &str,
        version: &mut String,
        backoff: &mut Backoff,
    ) -> Result<(), Error> {
        let params = WatchParams::default().labels(selector).timeout(WATCH_SECONDS);
        let mut events = std::pin::pin!(within(api.watch(&params, version)).await?);
        self.link.send_replace(Link::Live);
        loop {
            let event = timeout(SILENCE, events.try_next()).await.unwrap_or_else(|_| Err(silent()));
            // Before the connection is let go of: who sees that it is gone sees this too.
            match event.inspect_err(|error| self.lose(error))? {
                Some(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    *version = object.resource_version().unwrap_or_default();
                    self.objects().insert(object.name_any(), object);
                }
                Some(WatchEvent::Deleted(object)) => {
                    *version = object.resource_version().unwrap_or_default();
                    self.objects().remove(&object.name_any());
                }
                Some(WatchEvent::Bookmark(mark)) => *version = mark.metadata.resource_version,
                Some(WatchEvent::Error(status)) => return Err(Error::Api(status)),
                None => return Ok(()),
            }
            *backoff = Backoff::default();
        }
    }

    /// Whether what is known was of now until this was called.
    fn doubt(&self) -> bool {
        self.link.send_if_modified(|link| {
            let was_live = *link == Link::Live;
            if was_live {
                *link = Link::Lost(now());
            }
            was_live
        })
    }

    fn lose(&self, error: &Error) {
        if self.doubt() {
            tracing::warn!(%error, kind = %K::kind(&K::DynamicType::default()), "the watch of the cluster is lost");
        }
    }

    fn objects(&self) -> MutexGuard<'_, HashMap<String, K>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ever longer pauses, until something was heard.
struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Backoff {
    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

/// A request that is not answered in time has failed.
pub(super) async fn within<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(ANSWER, request).await.unwrap_or_else(|_| Err(silent()))
}

fn silent() -> Error {
    Error::Service("the API server does not answer".into())
}

pub(super) fn now() -> Timestamp {
    SystemTime::now().into()
}

/// How long a watch that was lost, or has not begun, may take to come back before its runs count as out of reach.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a watch is, as the server is asked.
const WATCH_SECONDS: u32 = 60;
/// A connection on which nothing was heard for longer than that is dead.
const SILENCE: Duration = Duration::from_secs(75);
const ANSWER: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
