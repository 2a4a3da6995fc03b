//! The bytes of bodies that are in memory, and who may have how many of them.
//!
//! The last quarter of all is kept for small bodies, and five sixteenths for clients that have proven a signature: one body of
//! each goes there, and a few small ones. With all others such a client has no more than four times what it leaves of the rest.
//! Clients that have not proven one have less: together half for large bodies and a quarter for small ones, and of either one
//! address no more than it leaves free, one network no more than three times that (the *dynamic threshold* of buffers that
//! many queues share). A body that is alone in memory has what there is for its size, and so have bodies whose client is not
//! known.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard};

use super::client::{ClientAddr, ClientNetwork, Reputation};

/// The bytes of bodies that are in memory, of every request of a receiver.
#[derive(Clone, Debug, Default)]
pub(super) struct Budget(Arc<Mutex<Used>>);

#[derive(Debug, Default)]
struct Used {
    all: usize,
    proven: usize,
    unproven: BySize,
    clients: HashMap<ClientAddr, BySize>,
    /// Of clients that are unknown: neighbours of one that has proven a signature are most likely more of the same.
    networks: HashMap<ClientNetwork, BySize>,
}

/// Bytes of small and of large bodies.
type BySize = [usize; 2];

/// Size that a body has, or is announced to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// At most 1 MiB.
    Small,
    /// More.
    Large,
}

/// What one request has taken; given back when it is dropped.
pub(super) struct Share {
    budget: Budget,
    part: Part,
}

/// Whose bytes they are, and how many.
#[derive(Clone, Copy)]
struct Part {
    owner: Option<Owner>,
    size: Size,
    taken: usize,
}

/// Whose bytes they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) client: ClientAddr,
    pub(super) reputation: Reputation,
}

/// Limits in the way of more bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spent {
    /// All that there is for such bodies is taken.
    Budget,
    /// The client, or the network of its client, has its share.
    Share,
}

impl Budget {
    pub(super) fn share(&self, owner: Option<Owner>) -> Share {
        Share { budget: self.clone(), part: Part { owner, size: Size::Small, taken: 0 } }
    }

    pub(super) fn all(&self) -> usize {
        self.used().all
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

impl Share {
    /// Takes `more` bytes of `all`, for a body that is of this size by now.
    pub(super) fn take(&mut self, more: usize, all: usize, size: Size) -> Result<(), Spent> {
        if more == 0 {
            return Ok(());
        }
        let (mut used, before) = (self.budget.used(), self.part);
        let mut more = more;
        if before.size != size {
            // What it has is of the other size by now, as if it came only now.
            used.give_back(&before);
            more = more.saturating_add(before.taken);
            self.part = Part { size, taken: 0, ..before };
        }
        let fits = used.fits(&self.part, more, all);
        if fits.is_ok() {
            used.add(&self.part, more);
            self.part.taken += more;
        } else if before.size != size {
            self.part = before;
            used.add(&before, before.taken);
        }
        fits
    }

    /// Bytes that it has taken.
    pub(super) fn taken(&self) -> usize {
        self.part.taken
    }

    pub(super) fn client(&self) -> Option<ClientAddr> {
        self.part.owner.map(|owner| owner.client)
    }

    /// Tells whether it has to make haste, since its like have more than half of what they may have.
    pub(super) fn is_pressed(&self, all: usize) -> bool {
        let Some(owner) = self.part.owner.filter(|owner| owner.reputation != Reputation::Proven) else {
            return false;
        };
        self.budget.used().unproven[self.part.size as usize] > owner.pool(self.part.size, all) / 2
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.part.taken > 0 {
            self.budget.used().give_back(&self.part);
        }
    }
}

impl Owner {
    /// Share that clients that have proven nothing may have together, for bodies of this size.
    fn pool(&self, size: Size, all: usize) -> usize {
        let pool = match size {
            Size::Small => all / 4,
            Size::Large => all / 2,
        };
        if self.reputation == Reputation::Expected { pool + all / 16 } else { pool }
    }
}

impl Used {
    fn fits(&self, part: &Part, more: usize, all: usize) -> Result<(), Spent> {
        let fits = |used: usize, ceiling: usize| used.checked_add(more).is_some_and(|sum| sum <= ceiling);
        let for_its_size = match part.size {
            Size::Small => all,
            Size::Large => all - all / 4,
        };
        let is_alone = self.all == part.taken;
        let spent = |is_within: bool| if is_within { Ok(()) } else { Err(Spent::Budget) };
        let Some(owner) = part.owner.filter(|_| !is_alone) else {
            return spent(fits(self.all, for_its_size));
        };
        let line = shared(all);
        if owner.reputation == Reputation::Proven {
            let held: usize = self.clients.get(&owner.client).into_iter().flatten().sum();
            let is_first = held == part.taken;
            if held.saturating_add(more) <= all / SMALL_PART || is_first && part.size == Size::Small {
                return spent(fits(self.all, all));
            }
            if is_first {
                return spent(fits(self.all, all - all / 16));
            }
            return leaves(held, more, line.saturating_sub(self.all), PROVEN);
        }
        let (pool, used) = (owner.pool(part.size, all), self.unproven[part.size as usize]);
        spent(fits(self.all, line) && fits(used, pool))?;
        let held = |of: Option<&BySize>| of.map_or(0, |held| held[part.size as usize]);
        leaves(held(self.clients.get(&owner.client)), more, pool - used, UNPROVEN)?;
        match owner.reputation {
            Reputation::Unknown => {
                leaves(held(self.networks.get(&owner.client.network())), more, pool - used, NETWORK)
            }
            Reputation::Expected | Reputation::Proven => Ok(()),
        }
    }

    fn add(&mut self, part: &Part, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.all += bytes;
        let Some(Owner { client, reputation }) = part.owner else { return };
        let size = part.size as usize;
        match reputation {
            Reputation::Proven => self.proven += bytes,
            Reputation::Unknown | Reputation::Expected => self.unproven[size] += bytes,
        }
        self.clients.entry(client).or_default()[size] += bytes;
        if reputation == Reputation::Unknown {
            self.networks.entry(client.network()).or_default()[size] += bytes;
        }
    }

    fn give_back(&mut self, part: &Part) {
        self.all -= part.taken;
        let Some(Owner { client, reputation }) = part.owner else { return };
        match reputation {
            Reputation::Proven => self.proven -= part.taken,
            Reputation::Unknown | Reputation::Expected => self.unproven[part.size as usize] -= part.taken,
        }
        take_off(&mut self.clients, client, part);
        if reputation == Reputation::Unknown {
            take_off(&mut self.networks, client.network(), part);
        }
    }
}

fn take_off<K: Hash + Eq>(held: &mut HashMap<K, BySize>, key: K, part: &Part) {
    if let Some(bytes) = held.get_mut(&key) {
        bytes[part.size as usize] -= part.taken;
        if *bytes == [0, 0] {
            held.remove(&key);
        }
    }
}

/// Tells whether one of whom `held` bytes are may have `more`: it has at most `factor` times what is then left of `room`.
fn leaves(held: usize, more: usize, room: usize, factor: usize) -> Result<(), Spent> {
    let left = room.saturating_sub(more).saturating_mul(factor);
    if held.saturating_add(more) > left { Err(Spent::Share) } else { Ok(()) }
}

/// Room that is not kept for clients that have proven a signature: of the rest a quarter is for a largest body of one of them,
/// whatever strangers and another one hold, and a sixteenth for their small ones.
fn shared(all: usize) -> usize {
    all - all / 4 - all / 16
}

/// Alone it has half of what there is, two of them have a third each, and so on: some is always left.
const UNPROVEN: usize = 1;
/// All clients of a network have three quarters.
const NETWORK: usize = 3;
/// A client that has proven a signature may need most of it when many push at once, and has four fifths of what is shared.
const PROVEN: usize = 4;
/// As much of all, a sixty-fourth, each of them has in any case for many small bodies.
const SMALL_PART: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: usize = 1_000;

    fn owner(last: u8, reputation: Reputation) -> Option<Owner> {
        Some(Owner { client: ClientAddr::of([198, last / 4, 0, last].into()), reputation })
    }

    fn unknown(last: u8) -> Option<Owner> {
        owner(last, Reputation::Unknown)
    }

    /// Takes one byte after the other, as far as it goes.
    fn fill(share: &mut Share, size: Size) -> usize {
        while share.take(1, ALL, size).is_ok() {}
        share.part.taken
    }

    #[test]
    fn what_is_taken_is_given_back_on_drop() {
        let budget = Budget::default();
        let (mut one, mut two) = (budget.share(None), budget.share(None));
        assert!(one.take(600, ALL, Size::Small).is_ok() && two.take(401, ALL, Size::Small).is_err());
        assert!(
            two.take(400, ALL, Size::Small).is_ok() && one.take(1, ALL, Size::Small) == Err(Spent::Budget)
        );
        drop(one);
        assert!(
            two.take(600, ALL, Size::Small).is_ok() && two.take(usize::MAX, usize::MAX, Size::Small).is_err()
        );
        drop(two);
        assert_eq!(budget.used().all, 0);
    }

    #[test]
    fn one_address_leaves_as_much_as_it_has() {
        for (size, pool) in [(Size::Small, 250), (Size::Large, 500)] {
            let budget = Budget::default();
            let mut hoard: Vec<_> = (0..100).map(|_| budget.share(unknown(1))).collect();
            let held: usize = hoard
                .iter_mut()
                .map(|share| {
                    while share.part.taken < 10 && share.take(1, ALL, size).is_ok() {}
                    share.part.taken
                })
                .sum();
            assert_eq!(held, pool / 2);
            assert_eq!(hoard[99].take(1, ALL, size), Err(Spent::Share));
            let mut other = budget.share(unknown(200));
            assert_eq!(fill(&mut other, size), pool / 4, "and so does the next");
        }
    }

    #[test]
    fn a_network_of_addresses_leaves_room_to_others() {
        let budget = Budget::default();
        let of = |last: u8| {
            Some(Owner { client: ClientAddr::of([192, 0, 2, last].into()), reputation: Reputation::Unknown })
        };
        let mut hoard: Vec<_> = (0..=255).map(|last| budget.share(of(last))).collect();
        hoard
            .iter_mut()
            .for_each(|share| while share.part.taken < 10 && share.take(1, ALL, Size::Small).is_ok() {});
        assert_eq!(hoard.iter().map(|share| share.part.taken).sum::<usize>(), 187);
        assert!(budget.share(unknown(1)).take(30, ALL, Size::Small).is_ok());
    }

    #[test]
    fn a_body_that_is_alone_has_what_bodies_of_its_size_may_have() {
        for (size, most) in [(Size::Small, ALL), (Size::Large, 750)] {
            for of in [None, unknown(1), owner(1, Reputation::Proven)] {
                let budget = Budget::default();
                assert_eq!(fill(&mut budget.share(of), size), most, "{of:?}");
            }
        }
    }

    #[test]
    fn one_proven_client_leaves_a_largest_body_to_another() {
        use Reputation::{Proven, Unknown};
        for (size, each) in [(Size::Small, 9), (Size::Large, 250)] {
            for beside in [None, Some(1)] {
                let budget = Budget::default();
                let mut hoard: Vec<_> = (0..200).map(|_| budget.share(owner(1, Proven))).collect();
                let mut strangers: Vec<_> = (0..200).map(|_| budget.share(beside.and(unknown(9)))).collect();
                let take =
                    |share: &mut Share| while share.part.taken < each && share.take(1, ALL, size).is_ok() {};
                hoard.iter_mut().for_each(take);
                strangers.iter_mut().filter(|_| beside.is_some()).for_each(take);
                let most = budget.share(owner(200, Proven)).take(ALL / 4, ALL, Size::Large);
                assert_eq!(most, Ok(()), "{size:?} {beside:?} {}", budget.all());
                let mut small = budget.share(owner(200, Proven));
                assert_eq!(small.take(30, ALL, Size::Small), Ok(()), "{size:?}");
                let late = budget.share(owner(201, Unknown)).take(10, ALL, Size::Small);
                assert!(beside.is_some() || late.is_ok(), "a stranger has room, too");
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Take { share: usize, bytes: usize, size: Size },
        Drop { share: usize },
        New { client: u8, reputation: usize },
    }

    fn sizes() -> impl Strategy<Value = Size> {
        prop_oneof![Just(Size::Small), Just(Size::Large)]
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (any::<usize>(), 0..400_usize, sizes())
                .prop_map(|(share, bytes, size)| Step::Take { share, bytes, size }),
            1 => any::<usize>().prop_map(|share| Step::Drop { share }),
            3 => (0..250_u8, 0..4_usize).prop_map(|(client, reputation)| Step::New { client, reputation }),
        ];
        prop::collection::vec(step, 0..200)
    }

    fn live(steps: &[Step], reputations: [Option<Reputation>; 4]) -> (Budget, Vec<Share>) {
        let (budget, mut shares) = (Budget::default(), Vec::new());
        for step in steps {
            match *step {
                Step::New { client, reputation } => {
                    let of = reputations[reputation].and_then(|reputation| owner(client, reputation));
                    shares.push(budget.share(of));
                }
                Step::Take { share, bytes, size } if !shares.is_empty() => {
                    let at = share % shares.len();
                    let _: Result<(), Spent> = shares[at].take(bytes, ALL, size);
                }
                Step::Drop { share } if !shares.is_empty() => {
                    let at = share % shares.len();
                    drop(shares.swap_remove(at));
                }
                _ => {}
            }
            let used = budget.used();
            assert_eq!(used.all, shares.iter().map(|share: &Share| share.part.taken).sum::<usize>());
            assert!(used.all <= ALL);
        }
        (budget, shares)
    }

    proptest! {
        #[test]
        fn nothing_is_ever_leaked(steps in steps()) {
            use Reputation::{Expected, Proven, Unknown};
            let (budget, shares) = live(&steps, [None, Some(Unknown), Some(Expected), Some(Proven)]);
            drop(shares);
            let used = budget.used();
            prop_assert_eq!((used.all, used.proven, used.unproven), (0, 0, [0, 0]));
            prop_assert!(used.clients.is_empty() && used.networks.is_empty());
        }

        #[test]
        fn who_has_proven_a_signature_has_room_whatever_others_hold(steps in steps(), size in sizes()) {
            use Reputation::{Expected, Unknown};
            // A stranger that was alone has had all that there is: it began when nobody else was there.
            let first = Step::New { client: 0, reputation: 0 };
            let first = [first, Step::Take { share: 0, bytes: 1, size: Size::Small }];
            let steps: Vec<_> = first.into_iter().chain(steps.into_iter().filter(|step| !matches!(step, Step::Drop { .. }))).collect();
            let (budget, shares) = live(&steps, [Some(Unknown), Some(Unknown), Some(Expected), Some(Unknown)]);
            let alone = shares.iter().map(|share| share.part.taken).max().unwrap_or_default();
            prop_assume!(alone <= ALL / 4);
            let mut genuine = budget.share(owner(255, Reputation::Proven));
            prop_assert!(genuine.take(ALL / 4, ALL, size).is_ok(), "{:?}", budget.used());
        }
    }
}
