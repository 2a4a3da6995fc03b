use std::sync::atomic::{AtomicU64, Ordering};

use swifthook_core::{DeliveryId, JobId, Timestamp};

/// Makes UUIDv7 ids, each greater than the one before, whatever the clock does.
///
/// The 48 bits of the time and the 12 after the version are one number that only grows, so these 60 bits alone
/// tell ids of one queue apart and put them in order; the rest is random.
#[derive(Debug)]
pub(crate) struct Ids {
    last: AtomicU64,
    noise: AtomicU64,
    is_scattered: bool,
}

impl Ids {
    /// Ids that follow `last`, the greatest number in use.
    pub(crate) fn after(last: u64) -> Self {
        let seed = uuid::Uuid::now_v7().as_u64_pair().1;
        Self { last: AtomicU64::new(last), noise: AtomicU64::new(seed), is_scattered: false }
    }

    /// Ids for a store that gets them from several processes: in each millisecond they begin at a random number, so that
    /// two processes hardly ever make the same one.
    #[cfg(feature = "rabbitmq")]
    pub(crate) fn scattered() -> Self {
        Self { is_scattered: true, ..Self::after(0) }
    }

    pub(crate) fn job(&self, now: Timestamp) -> JobId {
        JobId(self.next(now))
    }

    pub(crate) fn delivery(&self, now: Timestamp) -> DeliveryId {
        DeliveryId(self.next(now))
    }

    fn next(&self, now: Timestamp) -> [u8; 16] {
        let first = if self.is_scattered { self.random() & COUNTER >> 1 } else { 0 };
        let at_least = u64::try_from(now.0).unwrap_or(0) << COUNTER_BITS | first;
        let last = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(at_least.max(last + 1)))
            .expect("the closure always answers");
        join(at_least.max(last + 1), self.random())
    }

    /// SplitMix64 from a random seed: ids are no secrets, and the kernel need not be asked for each.
    fn random(&self) -> u64 {
        let state = self.noise.fetch_add(GOLDEN, Ordering::Relaxed).wrapping_add(GOLDEN);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

/// The least number of an id that is made at `at`.
pub(crate) fn number_at(at: Timestamp) -> u64 {
    u64::try_from(at.0).unwrap_or(0).min(u64::MAX >> 17) << COUNTER_BITS
}

/// When an id with that number was made.
pub(crate) fn time_of(number: u64) -> Timestamp {
    Timestamp((number >> COUNTER_BITS).cast_signed())
}

/// The id of a number and its random rest.
pub(crate) fn join(number: u64, rest: u64) -> [u8; 16] {
    let (time, counter) = (number >> COUNTER_BITS, number & COUNTER);
    let high = time << 16 | VERSION << 12 | counter;
    (u128::from(high) << 64 | u128::from(rest & REST | VARIANT)).to_be_bytes()
}

/// The number of an id and its rest.
pub(crate) fn split(id: [u8; 16]) -> (u64, u64) {
    let id = u128::from_be_bytes(id);
    let (high, rest) = ((id >> 64) as u64, id as u64);
    (high >> 16 << COUNTER_BITS | high & COUNTER, rest)
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const COUNTER_BITS: u32 = 12;
const COUNTER: u64 = (1 << COUNTER_BITS) - 1;
const VERSION: u64 = 7;
const VARIANT: u64 = 0b10 << 62;
const REST: u64 = (1 << 62) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_while_the_clock_stands_still_or_goes_back() {
        let ids = Ids::after(0);
        let made: Vec<_> =
            (0..10_000).map(|i| ids.job(Timestamp(1_795_514_400_000 - i64::from(i % 7)))).collect();
        assert!(made.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn an_id_is_a_uuid_of_version_7_that_tells_its_time() {
        let id = Ids::after(0).job(Timestamp(1_795_514_400_000));
        let uuid = uuid::Uuid::from_bytes(id.0);
        assert_eq!(uuid.get_version_num(), 7);
        assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(uuid.get_timestamp().unwrap().to_unix().0, 1_795_514_400);
        let (number, rest) = split(id.0);
        assert_eq!(join(number, rest), id.0);
    }
}
