use std::panic::{AssertUnwindSafe, catch_unwind};

use swifthook_core::QueueError;
use tokio::sync::oneshot;

use super::failure::Failure;
use super::transaction::Transaction;
use crate::rules::Rules;

/// Something that is asked of the thread that writes.
pub(super) trait Work: Send {
    /// Does it, within a transaction that others share. May be called again, in another transaction, if this one
    /// could not be kept; answers whether it can be.
    fn run(&mut self, rules: &mut Rules<'_, Transaction<'_>>) -> Outcome;

    /// Whether it brings something new, which can be refused when there is no room.
    fn is_new(&self) -> bool;

    /// The transaction is durable: whoever asked is told what `run` said.
    fn answer(self: Box<Self>);

    /// Nothing of it was stored.
    fn fail(self: Box<Self>, error: &str);
}

#[derive(Debug)]
pub(super) enum Outcome {
    /// What was done can be kept.
    Kept,
    /// The store failed in the middle of it.
    Broken(Failure),
}

/// A question with somebody who waits for the answer.
pub(super) struct Question<T, F> {
    what: F,
    is_new: bool,
    said: Option<Result<T, QueueError>>,
    asker: oneshot::Sender<Result<T, QueueError>>,
}

impl<T, F> Question<T, F>
where
    F: FnMut(&mut Rules<'_, Transaction<'_>>) -> Result<T, QueueError>,
{
    pub(super) fn new(what: F) -> (Self, oneshot::Receiver<Result<T, QueueError>>) {
        let (asker, answer) = oneshot::channel();
        (Self { what, is_new: false, said: None, asker }, answer)
    }

    /// The question of somebody who brings something new.
    pub(super) fn of_intake(what: F) -> (Self, oneshot::Receiver<Result<T, QueueError>>) {
        let (this, answer) = Self::new(what);
        (Self { is_new: true, ..this }, answer)
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
            Err(error @ QueueError::Store { .. }) => Outcome::Broken(Failure::of(error)),
            _ => Outcome::Kept,
        };
        self.said = Some(said);
        outcome
    }

    fn is_new(&self) -> bool {
        self.is_new
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
