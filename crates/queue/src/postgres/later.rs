//! Pushes for which nothing is to run: answered first and written soon after, many in one transaction.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use swifthook_core::{Delivery, DeliveryId, IntakeError, QueueError, Receipt};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::transact::{Core, Needs, may_pass};
use crate::chain::Place;
use crate::ignored::{FLUSH_AFTER, Ignored, MOST_IGNORED, Pushed};
use crate::rules::Submission;

/// Those that wait, and those that are being written.
pub(super) struct Later {
    pub(super) ignored: Ignored,
    core: Arc<Core>,
    has_some: Notify,
    is_crowded: Notify,
    /// One writes at a time.
    turn: tokio::sync::Mutex<()>,
    under_way: Mutex<HashSet<Place>>,
}

/// What became of those that waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    All,
    Some,
    /// The store refuses them for now.
    None,
}

impl Later {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self {
            ignored: Ignored::default(),
            core,
            has_some: Notify::new(),
            is_crowded: Notify::new(),
            turn: tokio::sync::Mutex::default(),
            under_way: Mutex::default(),
        }
    }

    /// Takes a push for which nothing is to run. `None` if it is to be written before it is answered, as nothing is
    /// promised that the store refuses.
    pub(super) async fn take(&self, submission: &Submission) -> Result<Option<Receipt>, IntakeError> {
        if self.ignored.is_failing() {
            return Ok(None);
        }
        let delivery = self.core.ids.delivery(self.core.about_now());
        let receipt = Delivery { id: delivery, ..submission.delivery.clone() };
        match self.ignored.push(Submission { delivery: receipt, ..submission.clone() }).await {
            Pushed::First => self.has_some.notify_one(),
            Pushed::Crowding => self.is_crowded.notify_one(),
            Pushed::Later => {}
            Pushed::Refused => return Err(IntakeError::passing("the store is closed")),
        }
        Ok(Some(Receipt::Stored { delivery, jobs: Vec::new() }))
    }

    /// Writes what waits, for as long as somebody lets it.
    pub(super) async fn serve(self: Arc<Self>) {
        loop {
            self.has_some.notified().await;
            let _ = timeout(FLUSH_AFTER, self.is_crowded.notified()).await;
            loop {
                match self.write().await {
                    Written::All => break,
                    Written::Some => {}
                    Written::None => sleep(TRY_AGAIN).await,
                }
            }
        }
    }

    /// Writes what waits of a ref before a job of it is enqueued: these came before, and the chain of commits may lead
    /// through them.
    pub(super) async fn write_those_of(&self, place: &Place) {
        let is_under_way = || self.under_way.lock().expect("nothing panics under this lock").contains(place);
        while !self.ignored.is_failing() && (self.ignored.holds(place) || is_under_way()) {
            self.write().await;
        }
    }

    /// Writes what is left, and takes no more.
    pub(super) async fn close(&self) {
        let _turn = self.turn.lock().await;
        let mut left = self.ignored.close();
        while !left.is_empty() {
            let rest = left.split_off(left.len().min(MOST_IGNORED));
            let batch = Arc::new(std::mem::replace(&mut left, rest));
            if let Err(error) = self.transact(batch.clone(), PATIENCE_AT_THE_END).await {
                self.ignored.lose(&batch, &error.to_string());
            }
        }
    }

    async fn write(&self) -> Written {
        let _turn = self.turn.lock().await;
        let (batch, is_all) = self.ignored.take(MOST_IGNORED);
        if batch.is_empty() {
            return Written::All;
        }
        let places = batch.iter().map(|one| (one.delivery.repository.clone(), one.delivery.ref_name.clone()));
        *self.under_way.lock().expect("nothing panics under this lock") = places.collect();
        let is_written = self.write_batch(Arc::new(batch)).await;
        self.under_way.lock().expect("nothing panics under this lock").clear();
        match (is_written, is_all) {
            (false, _) => Written::None,
            (true, true) => Written::All,
            (true, false) => Written::Some,
        }
    }

    /// If the store fails with a batch but not for its connection, each has a transaction of its own, so that none
    /// suffers for another.
    async fn write_batch(&self, batch: Arc<Vec<Submission>>) -> bool {
        match self.transact(batch.clone(), PATIENCE).await {
            Ok(()) => self.ignored.written(&batch),
            Err(error) if may_pass(&error) => {
                self.ignored.put_back(Arc::unwrap_or_clone(batch));
                return false;
            }
            Err(error) if batch.len() == 1 => self.ignored.lose(&batch, &error.to_string()),
            Err(_) => {
                for one in Arc::unwrap_or_clone(batch) {
                    let one = Arc::new(vec![one]);
                    match self.transact(one.clone(), PATIENCE).await {
                        Ok(()) => self.ignored.written(&one),
                        Err(error) => self.ignored.lose(&one, &error.to_string()),
                    }
                }
            }
        }
        true
    }

    async fn transact(&self, batch: Arc<Vec<Submission>>, patience: Duration) -> Result<(), QueueError> {
        let write = self.core.clone().transact_within(patience, Needs::default(), move |rules| {
            batch.iter().try_for_each(|submission| rules.accept(submission).map(drop))
        });
        write.await
    }
}

/// An id that is given when the transaction is there.
pub(super) const NOT_YET: DeliveryId = DeliveryId([0; 16]);
/// How long a connection that was lost is tried again: these were promised within a second.
const PATIENCE: Duration = Duration::from_millis(400);
const PATIENCE_AT_THE_END: Duration = Duration::from_secs(3);
/// How long those rest that the store refuses.
const TRY_AGAIN: Duration = Duration::from_secs(1);
