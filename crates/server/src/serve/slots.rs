//! The places that a listener has for connections, and who gives way when all are taken.
//!
//! Nobody waits: a connection that comes takes the place of another that is worth less, or is closed. Worth less are
//! those whose client is less known; among equals those of whoever has most, network first and then address, idle ones
//! before others, and the oldest first. So many connections of one address cost that address's own, and a quarter of the
//! places is for those that have proven a signature, whoever else comes. One such client has half of the places at most, its
//! network three quarters. A request of theirs is cut for one of them that has fewer, and for nobody else; one whose body is
//! there is never cut.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use swifthook_core::{ClientAddr, ClientNetwork, Reputation};

/// Owner of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    /// A trusted proxy, between the requests of its clients. All of them are one, and no share binds it.
    Proxy,
    /// A client; behind a proxy only while a request of its own is under way.
    Client(ClientAddr),
}

/// One place, as long as it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SlotId(u64);

/// One request on a place, which no other request there is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestId(u64);

/// Numbers of places, and for whom they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// All of them; at least one.
    pub(super) slots: usize,
    /// Those among them that only proven clients get.
    pub(super) kept: usize,
    /// True if requests under way are cut, of clients that have proven nothing.
    pub(super) cuts_requests: bool,
}

/// There is no place, and none that this owner may take from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Places and who has them.
pub(super) struct Slots {
    plan: Plan,
    next: u64,
    owners: HashMap<SlotId, Owner>,
    held: HashMap<Owner, Held>,
    networks: HashMap<ClientNetwork, usize>,
    by_reputation: [usize; 3],
}

struct Held {
    reputation: Reputation,
    slots: BTreeMap<SlotId, State>,
}

/// Stages of a connection, what is missed least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Activity {
    /// No request is under way.
    Idle,
    /// A request was answered, and the reply is being taken: as long as the other side likes.
    Answered,
    /// A request is being received: as long as the other side likes, too.
    Receiving,
    /// The body is there, and is being verified and stored: as long as the server needs.
    Storing,
}

#[derive(Clone, Copy)]
struct State {
    activity: Activity,
    /// Since when a request is under way, or none is, as a number that only grows.
    since: u64,
}

impl Plan {
    /// For a port that everybody reaches.
    pub(super) fn public(slots: usize) -> Self {
        Self { slots, kept: slots / 4, cuts_requests: true }
    }

    /// For a port whose requests are short, but for those that showed a token: they stay.
    pub(super) fn private(slots: usize) -> Self {
        Self { slots, kept: 0, cuts_requests: false }
    }
}

impl Slots {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan,
            next: 0,
            owners: HashMap::new(),
            held: HashMap::new(),
            networks: HashMap::new(),
            by_reputation: [0; 3],
        }
    }

    /// Gives a place to one that comes, idle at first.
    pub(super) fn acquire(&mut self, owner: Owner, reputation: Reputation) -> SlotId {
        let slot = SlotId(self.tick());
        self.put(slot, owner, reputation);
        slot
    }

    /// Gives a slot, that nobody has, to this owner, idle at first.
    pub(super) fn put(&mut self, slot: SlotId, owner: Owner, reputation: Reputation) {
        self.know(owner, reputation);
        let since = self.tick();
        self.owners.insert(slot, owner);
        let held = self.held.entry(owner).or_insert_with(|| Held { reputation, slots: BTreeMap::new() });
        held.slots.insert(slot, State { activity: Activity::Idle, since });
        self.by_reputation[reputation as usize] += 1;
        if let Owner::Client(client) = owner {
            *self.networks.entry(client.network()).or_default() += 1;
        }
    }

    /// Begins a request, which takes the place of one before. `None` if the place was taken away.
    pub(super) fn begin(&mut self, slot: SlotId) -> Option<RequestId> {
        let since = self.tick();
        *self.state(slot)? = State { activity: Activity::Receiving, since };
        Some(RequestId(since))
    }

    /// Notes that the body of a request is there, where it is under way and not answered yet.
    pub(super) fn set_storing(&mut self, slot: SlotId, request: RequestId) {
        if let Some(state) = self.under_way(slot, request)
            && state.activity == Activity::Receiving
        {
            state.activity = Activity::Storing;
        }
    }

    /// Notes that a request was answered, where it is under way.
    pub(super) fn set_answered(&mut self, slot: SlotId, request: RequestId) {
        if let Some(state) = self.under_way(slot, request) {
            state.activity = Activity::Answered;
        }
    }

    /// Ends a request. `false` if it was no longer under way.
    pub(super) fn end(&mut self, slot: SlotId, request: RequestId) -> bool {
        let since = self.tick();
        let state = self.under_way(slot, request);
        state.map(|state| *state = State { activity: Activity::Idle, since }).is_some()
    }

    /// State of a place while this very request is under way there. What is left of an earlier one, which the connection
    /// outlives, must not speak for it.
    fn under_way(&mut self, slot: SlotId, request: RequestId) -> Option<&mut State> {
        self.state(slot).filter(|state| state.activity != Activity::Idle && state.since == request.0)
    }

    fn state(&mut self, slot: SlotId) -> Option<&mut State> {
        self.held.get_mut(self.owners.get(&slot)?)?.slots.get_mut(&slot)
    }

    /// Gives a place back. `false` if it was taken away before.
    pub(super) fn release(&mut self, slot: SlotId) -> bool {
        let Some(owner) = self.owners.remove(&slot) else { return false };
        let Some(held) = self.held.get_mut(&owner) else { return false };
        held.slots.remove(&slot);
        self.by_reputation[held.reputation as usize] -= 1;
        if held.slots.is_empty() {
            self.held.remove(&owner);
        }
        if let Owner::Client(client) = owner
            && let Some(count) = self.networks.get_mut(&client.network())
        {
            *count -= 1;
            if *count == 0 {
                self.networks.remove(&client.network());
            }
        }
        true
    }

    /// Notes that an owner is known this well, if that is better than before.
    pub(super) fn improve(&mut self, owner: Owner, reputation: Reputation) -> bool {
        let is_better = self.held.get(&owner).is_some_and(|held| reputation > held.reputation);
        if is_better {
            self.know(owner, reputation);
        }
        is_better
    }

    fn know(&mut self, owner: Owner, reputation: Reputation) {
        if let Some(held) = self.held.get_mut(&owner) {
            self.by_reputation[held.reputation as usize] -= held.slots.len();
            self.by_reputation[reputation as usize] += held.slots.len();
            held.reputation = reputation;
        }
    }

    /// Owner of this place.
    pub(super) fn owner(&self, slot: SlotId) -> Option<Owner> {
        self.owners.get(&slot).copied()
    }

    /// Number of places that are taken.
    pub(super) fn taken(&self) -> usize {
        self.owners.len()
    }

    /// Place for one more of `owner`: `None` where a place is free, else the one that has to give way.
    pub(super) fn victim_for(&self, owner: Owner, reputation: Reputation) -> Result<Option<SlotId>, Full> {
        let rank = self.rank(reputation, 1);
        if rank == Reputation::Proven && self.has_enough(owner) {
            return self.own_idle(owner).map(Some).ok_or(Full);
        }
        let [unknown, expected, _] = self.by_reputation;
        let is_full = self.taken() >= self.plan.slots
            || rank < Reputation::Proven && unknown + expected >= self.plan.slots - self.plan.kept;
        if is_full { self.victim(owner, rank).map(Some).ok_or(Full) } else { Ok(None) }
    }

    /// The place that is worth least, and less than one more of `owner`.
    pub(super) fn victim(&self, owner: Owner, rank: Reputation) -> Option<SlotId> {
        let lower = [Reputation::Unknown, Reputation::Expected].into_iter().filter(|lower| *lower < rank);
        lower
            .into_iter()
            .find_map(|lower| self.largest(lower, None))
            .or_else(|| self.largest(rank, Some(owner)))
    }

    /// Tells whether a client has half of all places, or its network three quarters: however many are free, the next one that
    /// has proven a signature finds some that nobody has to give up.
    fn has_enough(&self, owner: Owner) -> bool {
        let Owner::Client(client) = owner else { return false };
        let most = self.plan.slots;
        self.count(owner) >= most.div_ceil(2) || self.proven_beside(client.network()) >= most - most / 4
    }

    /// Number of places of a network that its proven clients have.
    fn proven_beside(&self, of: ClientNetwork) -> usize {
        let all = self.networks.get(&of).copied().unwrap_or_default();
        if all < self.plan.slots - self.plan.slots / 4 {
            return all;
        }
        let proven = self
            .held
            .iter()
            .filter(|(owner, held)| held.reputation == Reputation::Proven && network(**owner) == Some(of));
        proven.map(|(_, held)| held.slots.len()).sum()
    }

    /// The idle place that a client, or another of its network, would miss least.
    fn own_idle(&self, owner: Owner) -> Option<SlotId> {
        let idle = |of: Owner| {
            let (slot, state) = Self::worst(self.held.get(&of)?, Activity::Idle)?;
            Some((state.since, slot))
        };
        let around = || self.held.keys().filter(|other| network(**other) == network(owner));
        let own = idle(owner).or_else(|| around().filter_map(|other| idle(*other)).min());
        own.map(|(_, slot)| slot)
    }

    /// The place to give up among those of one rank: of the largest network's largest owner, with the newcomer as if it
    /// had one already.
    fn largest(&self, rank: Reputation, newcomer: Option<Owner>) -> Option<SlotId> {
        let more = |is_so: bool| usize::from(is_so);
        let key = |owner: Owner| {
            let joins = newcomer.is_some_and(|newcomer| network(newcomer) == network(owner));
            let of_network = match network(owner) {
                Some(network) => self.networks.get(&network).copied().unwrap_or_default(),
                None => self.count(owner),
            };
            (of_network + more(joins), self.count(owner) + more(newcomer == Some(owner)))
        };
        let has_none = newcomer.is_some_and(|newcomer| self.count(newcomer) == 0);
        // Those with as much give way to whoever has nothing.
        let may_cut = |owner: Owner| {
            newcomer.is_none_or(|newcomer| {
                newcomer != owner && key(owner) >= (key(newcomer).0, key(newcomer).1 + more(!has_none))
            })
        };
        let of_rank = self.held.iter().filter(|(_, held)| self.rank(held.reputation, 0) == rank);
        let candidates = of_rank.filter_map(|(owner, held)| {
            let (slot, state) = Self::worst(held, self.most_cut(held, rank, || may_cut(*owner)))?;
            Some(((key(*owner), Reverse(state.since)), slot))
        });
        candidates.max_by_key(|(key, _)| *key).map(|(_, slot)| slot)
    }

    /// Places of an owner that may be cut at most, where what it has proven protects it from all but `may_cut`.
    fn most_cut(&self, held: &Held, rank: Reputation, may_cut: impl FnOnce() -> bool) -> Activity {
        let is_proven = rank == Reputation::Proven || held.reputation == Reputation::Proven;
        if self.plan.cuts_requests && (!is_proven || may_cut()) {
            Activity::Receiving
        } else {
            Activity::Idle
        }
    }

    /// The place that an owner itself would miss least, among those that are at no more than this.
    fn worst(held: &Held, most: Activity) -> Option<(SlotId, State)> {
        let slots = held.slots.iter().filter(|(_, state)| state.activity <= most);
        slots.min_by_key(|(_, state)| (state.activity, state.since)).map(|(slot, state)| (*slot, *state))
    }

    fn count(&self, owner: Owner) -> usize {
        self.held.get(&owner).map_or(0, |held| held.slots.len())
    }

    /// Worth of a place. Neighbours of those that have proven a signature have half of what is kept: a stranger
    /// beside them must not keep out all other strangers.
    fn rank(&self, reputation: Reputation, more: usize) -> Reputation {
        let expected = self.by_reputation[Reputation::Expected as usize] + more;
        match reputation {
            Reputation::Expected if expected > self.plan.kept / 2 => Reputation::Unknown,
            _ => reputation,
        }
    }

    fn tick(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

fn network(owner: Owner) -> Option<ClientNetwork> {
    match owner {
        Owner::Client(client) => Some(client.network()),
        Owner::Proxy => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use Reputation::{Expected, Proven, Unknown};

    const PLAN: Plan = Plan { slots: 32, kept: 8, cuts_requests: true };

    fn client(address: impl Into<IpAddr>) -> Owner {
        Owner::Client(ClientAddr::of(address.into()))
    }

    /// One that comes: the slot that it gets, and whose it was before.
    fn come(
        slots: &mut Slots,
        owner: Owner,
        reputation: Reputation,
    ) -> Result<(SlotId, Option<Owner>), Full> {
        let victim = slots.victim_for(owner, reputation)?;
        let before = victim.and_then(|victim| slots.owner(victim));
        victim.map(|victim| slots.release(victim));
        Ok((slots.acquire(owner, reputation), before))
    }

    /// Slots that strangers of these addresses fill, each with as many connections.
    fn filled(addresses: impl IntoIterator<Item = [u8; 4]>, each: usize) -> Slots {
        let mut slots = Slots::new(PLAN);
        for address in addresses {
            for _ in 0..each {
                let _: Result<_, Full> = come(&mut slots, client(address), Unknown);
            }
        }
        slots
    }

    #[test]
    fn one_address_takes_from_itself_alone() {
        let mut slots = filled([[192, 0, 2, 1]], 1_000);
        assert_eq!(slots.taken(), 24, "a quarter is kept");
        let (_, before) = come(&mut slots, client([198, 51, 100, 1]), Unknown).unwrap();
        assert_eq!(before, Some(client([192, 0, 2, 1])));
        for _ in 0..100 {
            let (_, before) = come(&mut slots, client([192, 0, 2, 1]), Unknown).unwrap();
            assert_eq!(before, Some(client([192, 0, 2, 1])));
        }
    }

    #[test]
    fn a_network_of_addresses_takes_from_itself_alone() {
        let prefix = 0x2001_0db8_0001_0000_0000_0000_0000_0001_u128;
        let of = |number: u128| client(std::net::Ipv6Addr::from_bits(prefix + (number << 64)));
        let mut slots = Slots::new(PLAN);
        come(&mut slots, client([198, 51, 100, 1]), Unknown).unwrap();
        for number in 0..1_000 {
            let (_, before) = come(&mut slots, of(number), Unknown).unwrap();
            assert_ne!(before, Some(client([198, 51, 100, 1])));
        }
    }

    #[test]
    fn the_oldest_idle_one_goes_first_and_then_the_oldest() {
        let mut slots = Slots::new(Plan { slots: 3, kept: 0, cuts_requests: true });
        let address = client([192, 0, 2, 1]);
        let [first, second, third] = [0; 3].map(|_| slots.acquire(address, Unknown));
        slots.begin(first);
        assert_eq!(slots.victim_for(address, Unknown), Ok(Some(second)));
        let request = slots.begin(second).unwrap();
        assert!(slots.end(second, request));
        assert_eq!(slots.victim_for(address, Unknown), Ok(Some(third)));
        slots.begin(second);
        slots.begin(third);
        assert_eq!(slots.victim_for(address, Unknown), Ok(Some(first)));
    }

    #[test]
    fn administrators_keep_what_is_under_way() {
        let mut slots = Slots::new(Plan::private(2));
        let address = client([127, 0, 0, 1]);
        let [stream, idle] = [0; 2].map(|_| slots.acquire(address, Unknown));
        slots.begin(stream);
        assert_eq!(slots.victim_for(address, Unknown), Ok(Some(idle)));
        slots.begin(idle);
        assert_eq!(slots.victim_for(address, Unknown), Err(Full));
    }

    #[test]
    fn a_proxy_has_no_share_and_its_clients_have_one_each() {
        let mut slots = Slots::new(PLAN);
        let proxied: Vec<_> = (0..32).map(|_| come(&mut slots, Owner::Proxy, Proven).unwrap().0).collect();
        assert_eq!(slots.taken(), 32);
        assert_eq!(slots.victim_for(client([192, 0, 2, 1]), Unknown), Err(Full));
        for slot in &proxied[..24] {
            slots.release(*slot);
            assert_eq!(slots.victim_for(client([192, 0, 2, 1]), Unknown), Ok(None));
            slots.put(*slot, client([192, 0, 2, 1]), Unknown);
            slots.begin(*slot);
        }
        slots.release(proxied[24]);
        assert_eq!(slots.victim_for(client([198, 51, 100, 1]), Unknown), Ok(Some(proxied[0])));
        slots.put(proxied[24], Owner::Proxy, Proven);
        for last in [1, 2].repeat(10) {
            come(&mut slots, client([140, 82, 112, last]), Proven).unwrap();
        }
        for slot in proxied[..24].iter().chain(&proxied[25..]) {
            slots.release(*slot);
        }
        for _ in 0..11 {
            come(&mut slots, Owner::Proxy, Proven).unwrap();
        }
        let (_, before) = come(&mut slots, Owner::Proxy, Proven).unwrap();
        assert_eq!(before, Some(client([140, 82, 112, 1])), "who has most gives way");
    }

    #[test]
    fn neighbours_of_the_proven_keep_no_stranger_out() {
        let mut slots = filled((0..250).map(|last| [192, 0, last, 1]), 1);
        let (github, beside) = (client([140, 82, 112, 1]), client([140, 82, 112, 2]));
        let (_, before) = come(&mut slots, beside, Expected).unwrap();
        assert!(before.is_some_and(|before| before != beside));
        for _ in 0..100 {
            let _: Result<_, Full> = come(&mut slots, beside, Expected);
        }
        let (_, before) = come(&mut slots, client([198, 51, 100, 1]), Unknown).unwrap();
        assert_eq!(before, Some(beside), "it has the most by now");
        let (_, before) = come(&mut slots, github, Proven).unwrap();
        assert_eq!(before, None, "what is kept is kept for it");
    }

    /// One that comes and begins a request that does not end.
    fn come_busy(slots: &mut Slots, owner: Owner) -> Result<(SlotId, Option<Owner>), Full> {
        let (slot, before) = come(slots, owner, Proven)?;
        slots.begin(slot);
        Ok((slot, before))
    }

    /// The request that is under way there.
    fn request(slots: &mut Slots, slot: SlotId) -> RequestId {
        RequestId(slots.state(slot).unwrap().since)
    }

    fn store(slots: &mut Slots, slot: SlotId) {
        let request = request(slots, slot);
        slots.set_storing(slot, request);
    }

    #[test]
    fn one_proven_client_leaves_half_to_the_others_though_places_are_free() {
        let mut slots = Slots::new(PLAN);
        let (hoarder, other) = (client([192, 0, 2, 1]), client([198, 51, 100, 1]));
        let held = (0..100).filter(|_| come_busy(&mut slots, hoarder).is_ok()).count();
        assert_eq!(held, 16);
        assert!((0..16).all(|_| matches!(come_busy(&mut slots, other), Ok((_, None)))), "half is free");
        assert_eq!(come_busy(&mut slots, hoarder), Err(Full), "its own requests go on");
    }

    #[test]
    fn strangers_beside_a_proven_client_do_not_use_up_its_share() {
        let mut slots = Slots::new(PLAN);
        for last in 1..100 {
            if let Ok((slot, _)) = come(&mut slots, client([192, 0, 2, last]), Unknown) {
                slots.begin(slot);
            }
        }
        assert_eq!(slots.taken(), 24);
        assert!(come(&mut slots, client([192, 0, 2, 200]), Proven).is_ok());
    }

    #[test]
    fn what_is_being_stored_is_never_cut() {
        let mut slots = Slots::new(PLAN);
        let (many, other) = (client([192, 0, 2, 1]), client([198, 51, 100, 1]));
        let known: Vec<_> = (0..16).map(|_| come_busy(&mut slots, many).unwrap().0).collect();
        for last in 0..16 {
            come_busy(&mut slots, client([203, 0, last, 1])).unwrap();
        }
        known[1..].iter().for_each(|slot| store(&mut slots, *slot));
        assert_eq!(slots.victim_for(other, Proven), Ok(Some(known[0])));
        store(&mut slots, known[0]);
        let (_, before) = come_busy(&mut slots, other).expect("there is a slot");
        assert_eq!(before, Some(client([203, 0, 0, 1])), "one that has as few");
        let answered = request(&mut slots, known[3]);
        slots.set_answered(known[3], answered);
        slots.set_storing(known[3], answered);
        assert_eq!(
            slots.victim_for(client([198, 51, 101, 1]), Proven),
            Ok(Some(known[3])),
            "it was answered"
        );
    }

    #[test]
    fn what_is_left_of_a_request_says_nothing_of_the_next_on_its_connection() {
        let mut slots = Slots::new(Plan { slots: 1, kept: 0, cuts_requests: true });
        let slot = slots.acquire(client([192, 0, 2, 1]), Unknown);
        let first = slots.begin(slot).unwrap();
        slots.set_answered(slot, first);
        slots.set_storing(slot, first);
        assert_eq!(slots.state(slot).unwrap().activity, Activity::Answered, "its body is only drained");
        let second = slots.begin(slot).unwrap();
        slots.set_storing(slot, first);
        assert_eq!(slots.state(slot).unwrap().activity, Activity::Receiving);
        assert_eq!(slots.victim_for(client([198, 51, 100, 1]), Unknown), Ok(Some(slot)), "it can be cut");
        slots.set_storing(slot, second);
        slots.set_answered(slot, first);
        assert!(!slots.end(slot, first), "the second is under way");
        assert_eq!(slots.victim_for(client([198, 51, 100, 1]), Unknown), Err(Full), "it is being stored");
        assert!(slots.end(slot, second));
        slots.set_storing(slot, second);
        assert_eq!(slots.state(slot).unwrap().activity, Activity::Idle);
    }

    #[test]
    fn one_network_of_proven_clients_leaves_a_quarter_to_the_others() {
        let mut slots = Slots::new(PLAN);
        let held = (0..100).filter(|last| come_busy(&mut slots, client([192, 0, 2, *last])).is_ok()).count();
        assert_eq!(held, 24);
        assert!(
            (0..8).all(|last| matches!(come_busy(&mut slots, client([198, 51, 100, last])), Ok((_, None))))
        );
    }

    #[test]
    fn proven_clients_with_requests_that_do_not_end_keep_no_other_out() {
        for hoarders in [2, 8, 32] {
            let mut slots = Slots::new(PLAN);
            for number in (0..hoarders).cycle().take(200) {
                let _: Result<_, Full> = come_busy(&mut slots, client([192, 0, number, 1]));
            }
            assert_eq!(slots.taken(), 32, "{hoarders}");
            let (_, before) = come_busy(&mut slots, client([198, 51, 100, 1])).expect("there is a slot");
            assert!(before.is_some_and(|before| before != client([198, 51, 100, 1])), "{hoarders}");
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Come { owner: u8, reputation: usize },
        Leave { at: usize },
        Busy { at: usize, is_busy: bool },
        Improve { owner: u8 },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (any::<u8>(), 0..2_usize).prop_map(|(owner, reputation)| Step::Come { owner, reputation }),
            1 => any::<usize>().prop_map(|at| Step::Leave { at }),
            3 => (any::<usize>(), any::<bool>()).prop_map(|(at, is_busy)| Step::Busy { at, is_busy }),
            1 => any::<u8>().prop_map(|owner| Step::Improve { owner }),
        ];
        prop::collection::vec(step, 0..150)
    }

    fn address(owner: u8) -> Owner {
        client([198, 51 + owner / 64, owner % 8, owner])
    }

    /// The slots after these steps, with those that somebody believes to have.
    fn live(steps: &[Step], improves: bool) -> (Slots, Vec<SlotId>) {
        let (mut slots, mut known) = (Slots::new(PLAN), Vec::new());
        for step in steps {
            match *step {
                Step::Come { owner, reputation } => {
                    let came = come(&mut slots, address(owner), [Unknown, Expected][reputation]);
                    known.extend(came.map(|(slot, _)| slot));
                }
                Step::Leave { at } if !known.is_empty() => {
                    let slot = known.swap_remove(at % known.len());
                    slots.release(slot);
                }
                Step::Busy { at, is_busy } if !known.is_empty() => {
                    let slot = known[at % known.len()];
                    if is_busy {
                        slots.begin(slot);
                    } else if slots.owner(slot).is_some() {
                        let request = request(&mut slots, slot);
                        slots.end(slot, request);
                    }
                }
                Step::Improve { owner } if improves => {
                    slots.improve(address(owner), Proven);
                }
                _ => {}
            }
            assert!(slots.taken() <= PLAN.slots);
            assert_eq!(slots.by_reputation.iter().sum::<usize>(), slots.taken());
        }
        (slots, known)
    }

    proptest! {
        #[test]
        fn no_slot_is_ever_leaked(steps in steps()) {
            let (mut slots, known) = live(&steps, true);
            known.into_iter().for_each(|slot| {
                slots.release(slot);
            });
            prop_assert_eq!((slots.taken(), slots.by_reputation), (0, [0; 3]));
            prop_assert!(slots.held.is_empty() && slots.networks.is_empty() && slots.owners.is_empty());
        }

        #[test]
        fn a_proven_client_gets_in_whatever_strangers_do(steps in steps(), others in 0..16_usize) {
            let (mut slots, _) = live(&steps, false);
            for number in 0..=others {
                let github = client([140, 82, 112, u8::try_from(number).unwrap()]);
                let (slot, before) = come(&mut slots, github, Proven).expect("there is a slot");
                slots.begin(slot);
                prop_assert!(before.is_none_or(|before| !matches!(before, Owner::Client(client)
                    if client.network() == ClientAddr::of([140, 82, 112, 0].into()).network())));
            }
        }

        #[test]
        fn a_stranger_with_one_connection_goes_only_when_all_have_one(steps in steps()) {
            let (mut slots, _) = live(&steps, false);
            let lonely = client([203, 0, 113, 1]);
            let Ok((slot, _)) = come(&mut slots, lonely, Unknown) else { return Ok(()) };
            // Few addresses, each with as many connections as it likes.
            for owner in (0..8_u8).cycle().take(200) {
                let _: Result<_, Full> = come(&mut slots, client([192, 0, owner, 1]), Unknown);
            }
            prop_assert!(slots.owner(slot).is_some());
        }
    }
}
