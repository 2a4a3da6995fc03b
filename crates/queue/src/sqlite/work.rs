use std::panic::{AssertUnwindSafe, catch_unwind};

use swifthook_core::QueueError;
use tokio::sync::oneshot;

use super::transaction::Transaction;
use crate::rules::Rules;

/// Something that is asked of the thread that writes.
pub(super) trait Work: Send {
    /// Does it, within a transaction that others share. May be called again, in another transaction, if this one
    /// could not be kept; answers whether it can be.
    fn run(&mut self, rules: &mut Rules<'_, Transaction<'_>>) -> Outcome;

    /// The transaction is durable: whoever asked is told what `run` said.
    fn answer(self: Box<Self>);

    /// Nothing of it was stored.
    fn fail(self: Box<Self>, error: &str);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// What was done can be kept.
    Kept,
    /// The store failed in the middle of it.
    Broken,
}

/// A question with somebody who waits for the answer.
pub(super) struct Question<T, F> {
    what: F,
    said: Option<Result<T, QueueError>>,
    asker: oneshot::Sender<Result<T, QueueError>>,
}

impl<T, F> Question<T, F>
where
    F: FnMut(&mut Rules<'_, Transaction<'_>>) -> Result<T, QueueError>,
{
    pub(super) fn new(what: F) -> (Self, oneshot::Receiver<Result<T, QueueError>>) {
        let (asker, answer) = oneshot::channel();
        (Self { what, said: None, asker }, answer)
    }
}

impl<T, F> Work for Question<T, F>
where
    T: Send,
    F: FnMut(&mut Rules<'_, Transaction<'_>>) -> Result<T, QueueError> + Send,
{
    fn run(&mut self, rules: &mut Rules<'_, Transaction<'_>>) -> Outcome {
        // What is half done is rolled back, so nothing that a panic left behind is looked at again.
        let said = catch_unwind(AssertUnwindSafe(|| (self.what)(rules)));
        let said = said.unwrap_or_else(|_| Err(QueueError::store("the request made the store panic")));
        let outcome = match &said {
            Err(QueueError::Store { .. }) => Outcome::Broken,
            _ => Outcome::Kept,
        };
        self.said = Some(said);
        outcome
    }

    fn answer(self: Box<Self>) {
        let said = self.said.unwrap_or_else(|| Err(QueueError::store("the request was not run")));
        // Whoever has gone away does not want to know.
        let _ = self.asker.send(said);
    }

    fn fail(self: Box<Self>, error: &str) {
        let said = match self.said {
            Some(Err(said @ QueueError::Store { .. })) => said,
            _ => QueueError::store(error.to_owned()),
        };
        let _ = self.asker.send(Err(said));
    }
}
