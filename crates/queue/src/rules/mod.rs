//! What a queue promises, written once for every backend: each method of [`Rules`] is one transaction.

mod accept;
mod claim;
mod command;
mod contest;
mod enqueue;
mod gpus;
mod happen;
mod lease;
mod ports;
mod prune;
mod submission;
mod timeline;
mod tips;

pub(crate) use happen::Rules;
pub(crate) use submission::{Submission, with_specs};
pub(crate) use timeline::with_beginning;
