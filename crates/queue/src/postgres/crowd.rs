//! Pushes that come while the database is busy go into one transaction together, so that they share its locks, its look
//! at how refs moved, and its sync.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use swifthook_core::{DeliveryId, QueueError, Receipt};
use tokio::sync::{Notify, oneshot};

use super::transact::{Core, Needs, PATIENCE, may_pass};
use crate::rules::Submission;

/// Those that wait for their transaction.
pub(super) struct Crowd {
    core: Arc<Core>,
    waiting: Mutex<VecDeque<Waiting>>,
    has_some: Notify,
}

struct Waiting {
    submission: Submission,
    answer: oneshot::Sender<Result<Receipt, QueueError>>,
}

impl Crowd {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core, waiting: Mutex::default(), has_some: Notify::new() }
    }

    /// Stores a push.
    pub(super) async fn accept(&self, submission: Submission) -> Result<Receipt, QueueError> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { submission, answer };
        self.waiting.lock().expect("nothing panics under this lock").push_back(waiting);
        self.has_some.notify_one();
        answered.await.map_err(|_| QueueError::store("the store is closed"))?
    }

    /// Takes what waits into transactions, for as long as somebody lets it. Several do so at once.
    pub(super) async fn serve(self: Arc<Self>) {
        loop {
            self.has_some.notified().await;
            loop {
                let batch = self.take();
                if batch.is_empty() {
                    break;
                }
                self.store(batch).await;
            }
        }
    }

    /// The first that wait, without those that nobody waits for any more: they were answered that nothing is promised.
    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting.lock().expect("nothing panics under this lock");
        let mut batch = Vec::new();
        while batch.len() < MOST
            && let Some(next) = waiting.pop_front()
        {
            if !next.answer.is_closed() {
                batch.push(next);
            }
        }
        batch
    }

    /// If the database refuses a batch, but not for its connection, each has a transaction of its own, so that none
    /// suffers for another.
    async fn store(&self, batch: Vec<Waiting>) {
        let (submissions, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|one| (one.submission, one.answer)).unzip();
        let submissions = Arc::new(submissions);
        match self.transact(submissions.clone()).await {
            Ok(receipts) => {
                // Whoever has gone meanwhile will deliver again, and hear that it is known.
                answers.into_iter().zip(receipts).for_each(|(answer, receipt)| drop(answer.send(receipt)));
            }
            Err(error) if answers.len() == 1 || may_pass(&error) => {
                answers.into_iter().for_each(|answer| drop(answer.send(Err(again(&error)))));
            }
            Err(_) => {
                for (answer, submission) in answers.into_iter().zip(submissions.iter()) {
                    let alone = self.transact(Arc::new(vec![submission.clone()])).await;
                    let alone = alone.and_then(|mut receipts| {
                        receipts.pop().unwrap_or_else(|| Err(QueueError::store("the store said nothing")))
                    });
                    let _ = answer.send(alone);
                }
            }
        }
    }

    async fn transact(
        &self,
        batch: Arc<Vec<Submission>>,
    ) -> Result<Vec<Result<Receipt, QueueError>>, QueueError> {
        let needs = Needs::of_submissions(&batch);
        let stored = self.core.clone().transact_within(PATIENCE, needs, move |rules| {
            let mut receipts = Vec::with_capacity(batch.len());
            for submission in batch.iter() {
                match rules.accept_anew(submission) {
                    Err(error @ QueueError::Store { .. }) => return Err(error),
                    receipt => receipts.push(receipt),
                }
            }
            Ok(receipts)
        });
        stored.await
    }
}

/// The same error for another who waited.
fn again(error: &QueueError) -> QueueError {
    match error {
        QueueError::Store { source, is_permanent } => {
            QueueError::Store { source: source.to_string().into(), is_permanent: *is_permanent }
        }
        other => QueueError::store(other.to_string()),
    }
}

/// An id that is given when the transaction is there.
pub(super) const NOT_YET: DeliveryId = DeliveryId([0; 16]);
/// How many transactions of this process store pushes at once: while one waits for its sync another goes on.
pub(super) const AT_ONCE: usize = 3;
/// How many pushes one of them stores.
const MOST: usize = 32;
