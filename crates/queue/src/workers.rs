use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use swifthook_core::{Duty, Heartbeat, KnownWorker, Timestamp};

/// The workers of a store that belongs to one process: with it, they are gone.
#[derive(Debug, Default)]
pub(crate) struct Workers(Mutex<BTreeMap<Arc<str>, KnownWorker>>);

impl Workers {
    pub(crate) fn heard(&self, beat: &Heartbeat, now: Timestamp) {
        let mut known = self.known();
        if beat.duty == Duty::Ends {
            known.remove(&beat.name);
            return;
        }
        let before = known.get(&beat.name).filter(|_| beat.duty != Duty::Begins);
        let worker = KnownWorker {
            name: beat.name.clone(),
            host: beat.host.clone(),
            labels: beat.labels.clone(),
            slots: beat.slots,
            busy: beat.busy,
            version: beat.version.clone(),
            gpus: beat.gpus.clone(),
            started_at: before.map_or(now, |before| before.started_at),
            seen_at: now,
            is_draining: beat.duty == Duty::Drains,
        };
        known.insert(beat.name.clone(), worker);
    }

    pub(crate) fn all(&self, now: Timestamp) -> Vec<KnownWorker> {
        let mut known = self.known();
        known.retain(|_, worker| worker.seen_at.after(FORGOTTEN_AFTER) > now);
        known.values().cloned().collect()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, KnownWorker>> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

/// When a worker is listed no more that was not heard of. Until then it is seen that it is missing.
pub(crate) const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3_600);
