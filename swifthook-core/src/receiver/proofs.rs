use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::client::{ClientAddr, ClientNetwork};
use crate::time::Timestamp;

/// Remembers from where right signatures came lately. Receivers that follow each other share one.
#[derive(Clone, Default)]
pub(super) struct Proofs(Arc<Mutex<Proven>>);

#[derive(Default)]
struct Proven {
    clients: HashMap<ClientAddr, Timestamp>,
    networks: HashMap<ClientNetwork, usize>,
    signatures: Signatures,
}

/// The last right signatures. Whoever has recorded a delivery sends it from his own address, for which it must not
/// speak.
#[derive(Default)]
struct Signatures {
    known: HashSet<[u8; 32]>,
    in_order: VecDeque<[u8; 32]>,
}

impl Proofs {
    /// Notes that `client` has sent a body with this right signature. One that came before speaks for whoever sent it
    /// first.
    pub(super) fn note(&self, client: ClientAddr, signature: [u8; 32], now: Timestamp) {
        self.proven().note(client, signature, now);
    }

    pub(super) fn has(&self, client: ClientAddr) -> bool {
        self.proven().clients.contains_key(&client)
    }

    /// Whether a client of the network is proven.
    pub(super) fn has_near(&self, client: ClientAddr) -> bool {
        self.proven().networks.contains_key(&client.network())
    }

    fn proven(&self) -> MutexGuard<'_, Proven> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

impl Proven {
    fn note(&mut self, client: ClientAddr, signature: [u8; 32], now: Timestamp) {
        if !self.signatures.add(signature) {
            return;
        }
        if self.clients.insert(client, now).is_none() {
            *self.networks.entry(client.network()).or_default() += 1;
            self.forget(now);
        }
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
    fn add(&mut self, signature: [u8; 32]) -> bool {
        if !self.known.insert(signature) {
            return false;
        }
        self.in_order.push_back(signature);
        if self.in_order.len() > MOST_SIGNATURES
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

/// How long a right signature speaks for its client: over a week without a push.
const LATELY: Duration = Duration::from_secs(8 * 86_400);
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

    #[test]
    fn a_signature_speaks_for_whoever_sent_it_first() {
        let proofs = Proofs::default();
        proofs.note(client(1), signature(1), NOW);
        proofs.note(client(1 << 16), signature(1), NOW);
        assert!(proofs.has(client(1)) && !proofs.has(client(1 << 16)));
        assert!(proofs.has_near(client(2)) && !proofs.has(client(2)) && !proofs.has_near(client(1 << 16)));
    }

    #[test]
    fn a_proof_is_over_after_a_week_and_a_day() {
        let proofs = Proofs::default();
        proofs.note(client(1), signature(1), NOW);
        proofs.note(client(1 << 16), signature(2), NOW.after(LATELY));
        assert!(proofs.has(client(1)));
        proofs.note(client(1 << 17), signature(3), NOW.after(LATELY + Duration::from_secs(1)));
        assert!(!proofs.has(client(1)) && !proofs.has_near(client(2)) && proofs.has(client(1 << 16)));
    }

    #[test]
    fn many_of_them_do_not_fill_the_memory() {
        let proofs = Proofs::default();
        for number in 0..20_000 {
            proofs.note(client(number), signature(number), NOW.after(Duration::from_millis(number.into())));
        }
        let proven = proofs.proven();
        assert_eq!((proven.clients.len(), proven.signatures.known.len()), (MOST_CLIENTS, MOST_SIGNATURES));
        assert_eq!(proven.networks.values().sum::<usize>(), MOST_CLIENTS);
    }
}
