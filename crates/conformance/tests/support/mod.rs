//! Runners over the memory queue, in a world whose clock a test moves.

mod between;
mod play;

pub(crate) use between::Between;
pub(crate) use play::{Asks, Play, recipe};
