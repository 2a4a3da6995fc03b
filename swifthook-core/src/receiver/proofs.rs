use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::client::{ClientAddr, ClientNetwork};
use crate::time::Timestamp;

/// Remembers from where right signatures came lately, for each hook apart: the owner of one cannot drive out what
/// speaks for the clients of another. Receivers that follow each other share one.
#[derive(Clone)]
pub(super) struct Proofs(Arc<Mutex<Hooks>>);

type Hooks = HashMap<Arc<str>, Proven>;

/// A push with a right signature.
#[derive(Clone, Copy)]
pub(super) struct Proof {
    pub(super) client: ClientAddr,
    pub(super) signature: [u8; 32],
    /// The time that is signed with it.
    pub(super) pushed_at: Timestamp,
}

struct Proven {
    /// Time since which signatures are remembered.
    since: Option<Timestamp>,
    clients: HashMap<ClientAddr, Timestamp>,
    networks: HashMap<ClientNetwork, usize>,
    signatures: Signatures,
}

/// The last right signatures. Whoever has recorded a delivery sends it from his own address, for which it must not
/// speak.
#[derive(Default)]
struct Signatures {
    known: HashSet<[u8; 32]>,
    in_order: VecDeque<([u8; 32], Timestamp)>,
}

impl Proofs {
    /// Remembers nothing yet, for these hooks, whose deliveries are taken since then: the first one tells where it is
    /// `None`.
    pub(super) fn new(hooks: impl Iterator<Item = Arc<str>>, since: Option<Timestamp>) -> Self {
        Self(Arc::new(Mutex::new(hooks.map(|hook| (hook, Proven::new(since))).collect())))
    }

    /// Carries this one over to the hooks of `later`: those that are new begin with nothing, and those that are gone are forgotten.
    pub(super) fn continued_by(&self, later: &Self) -> Self {
        let new = std::mem::take(&mut *later.hooks());
        let mut hooks = self.hooks();
        hooks.retain(|hook, _| new.contains_key(hook));
        for (hook, proven) in new {
            hooks.entry(hook).or_insert(proven);
        }
        self.clone()
    }

    /// Notes that deliveries are taken by now.
    pub(super) fn begin(&self, now: Timestamp) {
        self.hooks().values_mut().for_each(|proven| {
            proven.since.get_or_insert(now);
        });
    }

    /// Notes that this came to a hook. One that came before, to whatever hook, speaks for whoever sent it first; one that
    /// was pushed some time ago may have come when nothing was remembered, or when it was forgotten since.
    pub(super) fn note(&self, hook: &str, proof: Proof, now: Timestamp) {
        let mut hooks = self.hooks();
        // Two hooks may have one secret.
        if hooks.values().any(|proven| proven.signatures.known.contains(&proof.signature)) {
            return;
        }
        if hooks.get_mut(hook).is_some_and(|proven| proven.note(proof, now)) {
            hooks.values_mut().for_each(|proven| proven.forget(now));
        }
    }

    pub(super) fn has(&self, client: ClientAddr) -> bool {
        self.hooks().values().any(|proven| proven.clients.contains_key(&client))
    }

    /// Tells whether a client of the network is proven.
    pub(super) fn has_near(&self, client: ClientAddr) -> bool {
        self.hooks().values().any(|proven| proven.networks.contains_key(&client.network()))
    }

    fn hooks(&self) -> MutexGuard<'_, Hooks> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

impl Proven {
    fn new(since: Option<Timestamp>) -> Self {
        Self { since, clients: HashMap::new(), networks: HashMap::new(), signatures: Signatures::default() }
    }

    /// Tells whether it speaks for a client that was not known before.
    fn note(&mut self, proof: Proof, now: Timestamp) -> bool {
        let is_remembered = self.since.is_some_and(|since| since <= proof.pushed_at);
        let is_fresh = now.since(proof.pushed_at) <= FRESH && proof.pushed_at.since(now) <= FRESH;
        if !(is_remembered && is_fresh && self.signatures.add(proof.signature, now)) {
            return false;
        }
        let is_new = self.clients.insert(proof.client, now).is_none();
        if is_new {
            *self.networks.entry(proof.client.network()).or_default() += 1;
        }
        is_new
    }

    /// Forgets those that are over, and the oldest where they are too many.
    fn forget(&mut self, now: Timestamp) {
        let is_over = |at: &Timestamp| now.since(*at) > LATELY;
        let mut gone: Vec<_> =
            self.clients.iter().filter(|(_, at)| is_over(at)).map(|(client, _)| *client).collect();
        if self.clients.len() - gone.len() > MOST_CLIENTS {
            gone.extend(self.clients.iter().min_by_key(|(_, at)| **at).map(|(client, _)| *client));
        }
        for client in gone {
            if self.clients.remove(&client).is_some()
                && let Some(count) = self.networks.get_mut(&client.network())
            {
                *count -= 1;
                if *count == 0 {
                    self.networks.remove(&client.network());
                }
            }
        }
    }
}

impl Signatures {
    /// Remembers one. Where all are young it is not: one that was forgotten too early could be sent once more.
    fn add(&mut self, signature: [u8; 32], now: Timestamp) -> bool {
        if self.in_order.len() >= MOST_SIGNATURES {
            let over = self.in_order.front().filter(|(_, at)| now.since(*at) > 2 * FRESH);
            let Some((oldest, _)) = over.copied() else { return false };
            self.in_order.pop_front();
            self.known.remove(&oldest);
        }
        self.in_order.push_back((signature, now));
        self.known.insert(signature)
    }
}

/// Time for which a right signature speaks for its client: over a week without a push.
const LATELY: Duration = Duration::from_secs(8 * 86_400);
/// Distance that the time of a push may be from now, either way, for it to speak for a client.
const FRESH: Duration = Duration::from_secs(300);
/// GitHub delivers from some dozens of addresses.
const MOST_CLIENTS: usize = 1_024;
const MOST_SIGNATURES: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_514_400_000);

    fn client(number: u32) -> ClientAddr {
        ClientAddr::of(std::net::IpAddr::from(number.to_be_bytes()))
    }

    fn signature(number: u32) -> [u8; 32] {
        std::array::from_fn(|at| number.to_be_bytes()[at % 4])
    }

    const HOOKS: [&str; 2] = ["github", "other"];

    fn proofs() -> Proofs {
        Proofs::new(HOOKS.into_iter().map(Arc::from), Some(NOW))
    }

    /// Notes a push that was made just now.
    fn note(proofs: &Proofs, by: u32, signed: u32, now: Timestamp) {
        let proof = Proof { client: client(by), signature: signature(signed), pushed_at: now };
        proofs.note("github", proof, now);
    }

    #[test]
    fn a_hook_that_a_reload_adds_remembers_from_then_on() {
        let (earlier, later) = (proofs(), NOW.after(Duration::from_secs(60)));
        note(&earlier, 1, 1, NOW);
        let new = Proofs::new(["github", "new"].into_iter().map(Arc::from), Some(later));
        let proofs = earlier.continued_by(&new);
        assert!(proofs.has(client(1)), "it goes on");
        let recorded =
            |number| Proof { client: client(number), signature: signature(number), pushed_at: NOW };
        proofs.note("new", recorded(1 << 16), later);
        proofs.note("other", recorded(1 << 17), later);
        assert!(!proofs.has(client(1 << 16)) && !proofs.has(client(1 << 17)));
        proofs.note("new", Proof { pushed_at: later, ..recorded(1 << 18) }, later);
        assert!(proofs.has(client(1 << 18)));
    }

    #[test]
    fn signatures_that_could_be_sent_once_more_are_not_forgotten() {
        let proofs = proofs();
        (0..=4_096).for_each(|number| note(&proofs, number, number, NOW));
        assert!(!proofs.has(client(4_096)), "there are too many");
        let later = NOW.after(2 * FRESH + Duration::from_secs(1));
        note(&proofs, 5_000, 5_000, later);
        assert!(proofs.has(client(5_000)), "those are over");
    }

    #[test]
    fn a_signature_speaks_for_whoever_sent_it_first() {
        let proofs = proofs();
        note(&proofs, 1, 1, NOW);
        note(&proofs, 1 << 16, 1, NOW);
        assert!(proofs.has(client(1)) && !proofs.has(client(1 << 16)));
        assert!(proofs.has_near(client(2)) && !proofs.has(client(2)) && !proofs.has_near(client(1 << 16)));
    }

    #[test]
    fn a_proof_is_over_after_a_week_and_a_day() {
        let proofs = proofs();
        note(&proofs, 1, 1, NOW);
        note(&proofs, 1 << 16, 2, NOW.after(LATELY));
        assert!(proofs.has(client(1)));
        note(&proofs, 1 << 17, 3, NOW.after(LATELY + Duration::from_secs(1)));
        assert!(!proofs.has(client(1)) && !proofs.has_near(client(2)) && proofs.has(client(1 << 16)));
    }

    #[test]
    fn many_of_them_do_not_fill_the_memory() {
        let proofs = proofs();
        for number in 0..20_000 {
            note(&proofs, number, number, NOW.after(Duration::from_secs(number.into())));
        }
        let hooks = proofs.hooks();
        let proven = &hooks["github"];
        assert_eq!((proven.clients.len(), proven.signatures.known.len()), (MOST_CLIENTS, MOST_SIGNATURES));
        assert_eq!(proven.networks.values().sum::<usize>(), MOST_CLIENTS);
    }
}
