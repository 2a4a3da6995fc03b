//! Pushes that came before. A signature covers the body alone, so whoever has recorded a delivery can send it again as
//! often as he likes; what a store keeps of that is bounded.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use sha2::{Digest, Sha256};
use swifthook_core::{Delivery, DeliveryId, Receipt, Source, Timestamp};

use crate::codec;
use crate::rules::Submission;

/// The pushes that this process has stored in the last day, as far as there is room.
///
/// The first [`MOST_RECEIPTS`] receipts of a push are kept whole. One more of the same day that leads to no new job is
/// answered in the name of the first, and leaves none. A person's redelivery that trains again leads to a new job.
/// What a broker brings always leaves one: its id was promised before anybody could know.
#[derive(Debug, Default)]
pub(crate) struct Repeats(Mutex<Known>);

/// Repeats of all deliveries of one body by one hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Body([u8; 16]);

#[derive(Debug, Default)]
struct Known {
    bodies: HashMap<Body, Receipts>,
    /// The oldest first.
    order: VecDeque<Body>,
}

#[derive(Clone, Copy, Debug)]
struct Receipts {
    first: DeliveryId,
    count: usize,
    since: Timestamp,
}

impl Repeats {
    /// Names the receipt that stands for this push, where enough of its receipts are kept.
    pub(crate) fn recognize(&self, submission: &mut Submission, now: Timestamp) -> Body {
        let body = Body::of(&submission.delivery);
        let receipts = self.known().bodies.get(&body).copied();
        let enough = receipts.filter(|receipts| receipts.is_young(now) && receipts.count >= MOST_RECEIPTS);
        submission.stands_for = enough.map(|receipts| receipts.first);
        body
    }

    /// Counts what was stored, or is promised.
    pub(crate) fn stored(&self, body: Body, receipt: &Receipt, now: Timestamp) {
        if let Receipt::Stored { delivery, .. } = receipt {
            self.count(body, *delivery, now);
        }
    }

    fn count(&self, body: Body, receipt: DeliveryId, now: Timestamp) {
        let mut known = self.known();
        match known.bodies.get_mut(&body) {
            Some(receipts) if receipts.first == receipt => {}
            Some(receipts) if receipts.is_young(now) => {
                receipts.count += 1;
                if receipts.count == MOST_RECEIPTS {
                    let first = receipts.first;
                    drop(known);
                    tracing::info!(
                        delivery = %first,
                        receipts = MOST_RECEIPTS,
                        "a push came so often today that one more which brings nothing new is counted alone"
                    );
                }
            }
            Some(receipts) => *receipts = Receipts { first: receipt, count: 1, since: now },
            None => known.insert(body, Receipts { first: receipt, count: 1, since: now }),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

impl Known {
    fn insert(&mut self, body: Body, receipts: Receipts) {
        if self.order.len() >= MOST_BODIES
            && let Some(oldest) = self.order.pop_front()
        {
            self.bodies.remove(&oldest);
        }
        self.order.push_back(body);
        self.bodies.insert(body, receipts);
    }
}

impl Receipts {
    fn is_young(&self, now: Timestamp) -> bool {
        now.since(self.since) < DAY
    }
}

impl Body {
    /// By all that a store keeps of a body, and by the hook and the configuration. The GUID is not signed; verdicts may
    /// name the hour.
    fn of(delivery: &Delivery) -> Self {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update(bytes.len().to_le_bytes());
            hash.update(bytes);
        };
        let source = match &delivery.source {
            Source::Hook { hook, .. } => codec::json(&("hook", hook)),
            other => codec::json(other),
        };
        part(&source);
        part(&codec::json(&(&delivery.repository, &delivery.ref_name, &delivery.before, &delivery.head)));
        part(&codec::json(&(&delivery.sender, &delivery.facts, delivery.path_count, delivery.config)));
        part(&codec::paths_blob(&delivery.paths).unwrap_or_default());
        let digest = hash.finalize();
        Self(std::array::from_fn(|at| digest[at]))
    }
}

/// Limit of receipts of a push that are kept in a day.
const MOST_RECEIPTS: usize = 16;
/// Shorter than the shortest retention: the first receipt is there as long as it stands for others.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Limit of pushes that are remembered: some megabytes.
const MOST_BODIES: usize = 65_536;
