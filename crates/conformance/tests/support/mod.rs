//! Runners over the memory queue, in a world whose clock a test moves.

#![expect(clippy::unwrap_used, reason = "what a test cannot have, it fails for")]

mod between;
mod play;

pub(crate) use between::Between;
pub(crate) use play::{Asks, Play, Working, recipe};
