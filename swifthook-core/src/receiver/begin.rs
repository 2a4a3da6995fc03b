use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, Method};
use ipnet::IpNet;

use super::address;
use super::budget::{Budget, Owner};
use super::client::{ClientAddr, Reputation};
use super::identities::{Identities, Identity};
use super::judge::Unsigned;
use super::proofs::Proofs;
use super::{Builder, Hook, Limits, Reading, Refusal};
use crate::headers::{self, EventHint, MediaType};
use crate::id::RepoName;
use crate::intake::ConfigDigest;
use crate::recipe::Recipe;
use crate::signature::Claimed;

/// An immutable snapshot of hooks and recipes, of which one `Arc` serves all requests. A reload makes a new one and
/// swaps it in [`Current`](super::Current).
///
/// An adapter is a loop over the frames of a body and can get no step wrong, since each is made from the one before.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use std::sync::Arc;
/// use swifthook_core::{Outcome, Receiver, Secret, SecretSet, Timestamp, Verdict, reply};
/// # use swifthook_core::{Push, TriggerPolicy};
/// # struct Always;
/// # impl TriggerPolicy for Always {
/// #     fn decide(&self, _: &Push, _: Timestamp) -> Verdict { Verdict::launch() }
/// # }
///
/// let secret = Secret::new("2026", "correct horse battery staple")?;
/// let receiver = Arc::new(
///     Receiver::builder()
///         .hook("github", "/webhook", SecretSet::new(vec![secret.clone()])?, &["acme/*"])
///         .recipe("sft", "acme/models", Always)
///         .build()?,
/// );
///
/// let body = Bytes::from_static(br#"{"zen":"Keep it logically awesome.","hook_id":1}"#);
/// let (head, ()) = http::Request::post("/webhook")
///     .header("content-type", "application/json")
///     .header("x-github-event", "ping")
///     .header("x-hub-signature-256", secret.sign(&body))
///     .body(())?
///     .into_parts();
///
/// let mut reading = receiver.begin("/webhook", &head, None)?;
/// reading.push(body)?;
/// let outcome = reading.finish(Timestamp(1_795_514_400_000));
/// assert!(matches!(outcome, Ok(Outcome::Pong)));
/// assert_eq!(reply(&outcome, None).status(), 200);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Receiver {
    /// By their paths, without a slash at the end.
    pub(super) hooks: HashMap<Box<str>, Arc<Hook>>,
    /// By their names in lower case.
    pub(super) repositories: HashMap<Box<str>, Repository>,
    pub(super) limits: Limits,
    pub(super) trusted_proxies: Vec<IpNet>,
    pub(super) config: ConfigDigest,
    pub(super) in_flight: Budget,
    pub(super) proofs: Proofs,
    pub(super) identities: Identities,
}

/// A repository that the configuration knows, with its recipes in their order.
pub(super) struct Repository {
    pub(super) name: RepoName,
    pub(super) recipes: Vec<Recipe>,
}

impl Receiver {
    /// Begins to put a receiver together.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Begins to read a delivery: checks path, method, media type, encoding, announced length, form of the
    /// signature and address, before a byte of the body is read. The first that is wrong is told.
    ///
    /// `path` is the path of the hook, which may differ from that of `head` where a router has taken off a prefix. A slash
    /// at its end makes no difference.
    /// `peer` is the address that the connection comes from; without it a hook with `allow_from` refuses, and the
    /// request has no part in the shares of [`Limits::in_flight`].
    ///
    /// # Errors
    ///
    /// See [`Refusal`].
    pub fn begin(
        self: &Arc<Self>,
        path: &str,
        head: &Parts,
        peer: Option<IpAddr>,
    ) -> Result<Reading, Refusal> {
        let hook = self.hook(path).ok_or(Refusal::UnknownPath)?;
        if head.method != Method::POST {
            return Err(Refusal::Method);
        }
        let media = MediaType::of(&head.headers)?;
        headers::refuse_encoded(&head.headers)?;
        let announced = headers::announced_length(&head.headers)?;
        if announced.is_some_and(|length| length > hook.max_body as u64) {
            return Err(Refusal::TooLarge { limit: hook.max_body });
        }
        let claimed = headers::signature(&head.headers)?;
        if !self.takes_from(hook, head, peer) {
            return Err(Refusal::Address);
        }
        let (event, guid) = (EventHint::of(&head.headers), headers::guid(&head.headers));
        let signed = Signed { length: announced, claimed };
        let owner = peer.and_then(|peer| self.owner(&head.headers, peer));
        Ok(Reading::start(self.clone(), hook.clone(), signed, Unsigned { media, event, guid }, owner))
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The digest of the configuration.
    #[must_use]
    pub fn config(&self) -> ConfigDigest {
        self.config
    }

    /// The hook that takes deliveries at a path.
    #[must_use]
    pub fn hook(&self, path: &str) -> Option<&Arc<Hook>> {
        self.hooks.get(bare(path))
    }

    /// The hooks, in no order.
    pub fn hooks(&self) -> impl Iterator<Item = &Arc<Hook>> + '_ {
        self.hooks.values()
    }

    /// Who sent a request: the last address that no trusted proxy has written itself. `None` where a proxy wrote
    /// something that is no address.
    #[must_use]
    pub fn client(&self, headers: &HeaderMap, peer: IpAddr) -> Option<IpAddr> {
        address::client(peer, headers, &self.trusted_proxies)
    }

    /// The client in whose share a request is: `None` for what a trusted proxy asks by itself. All of whom a proxy says
    /// nothing that is an address are one client.
    #[must_use]
    pub fn client_addr(&self, headers: &HeaderMap, peer: IpAddr) -> Option<ClientAddr> {
        match self.client(headers, peer) {
            Some(client) if self.is_trusted_proxy(client) => None,
            Some(client) => Some(ClientAddr::of(client)),
            None => Some(ClientAddr::nobody()),
        }
    }

    /// Tells whether this is a proxy whose `X-Forwarded-For` is believed.
    #[must_use]
    pub fn is_trusted_proxy(&self, peer: IpAddr) -> bool {
        address::contains(&self.trusted_proxies, peer)
    }

    /// Standing of a client: by the signed pushes that came by way of this receiver and of those that it replaced
    /// in [`Current`](super::Current), in the last eight days, and were made within five minutes before they came.
    #[must_use]
    pub fn reputation(&self, client: ClientAddr) -> Reputation {
        if self.proofs.has(client) {
            return Reputation::Proven;
        }
        let mut allowed = self.hooks.values().flat_map(|hook| &hook.allow_from);
        if self.proofs.has_near(client) || allowed.any(|network| client.is_in(network)) {
            return Reputation::Expected;
        }
        Reputation::Unknown
    }

    /// The bytes of bodies that are in memory.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.all()
    }

    /// Remembers what was known of a repository before this process: what a [queue](crate::History::identities) has kept.
    /// What comes by way of this receiver it remembers itself.
    pub fn remember(&self, known: Identity) {
        self.identities.learn(&known.hook, known.id, &known.name);
    }

    /// The recipes of a repository, in their order.
    #[must_use]
    pub fn recipes(&self, repository: &RepoName) -> &[Recipe] {
        let known = self.repositories.get(repository.as_str().to_ascii_lowercase().as_str());
        known.map_or(&[], |known| &known.recipes)
    }

    /// This one in the place of `earlier`.
    pub(super) fn continuing(self, earlier: &Self) -> Self {
        Self {
            in_flight: earlier.in_flight.clone(),
            identities: earlier.identities.clone(),
            proofs: earlier.proofs.continued_by(&self.proofs),
            ..self
        }
    }

    fn owner(&self, headers: &HeaderMap, peer: IpAddr) -> Option<Owner> {
        let client = self.client_addr(headers, peer)?;
        Some(Owner { client, reputation: self.reputation(client) })
    }

    fn takes_from(&self, hook: &Hook, head: &Parts, peer: Option<IpAddr>) -> bool {
        let client = || self.client(&head.headers, peer?);
        hook.allow_from.is_empty()
            || client().is_some_and(|client| address::contains(&hook.allow_from, client))
    }
}

/// A path without a slash at its end: people write it or not.
pub(super) fn bare(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

/// What the bytes of a body are checked against.
pub(super) struct Signed {
    pub(super) length: Option<u64>,
    pub(super) claimed: Claimed,
}

impl Repository {
    pub(super) fn new(name: &RepoName) -> Self {
        Self { name: name.clone(), recipes: Vec::new() }
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let repositories = self.repositories.values().map(|repository| &repository.name);
        f.debug_struct("Receiver")
            .field("hooks", &self.hooks.keys())
            .field("repositories", &repositories.collect::<Vec<_>>())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
