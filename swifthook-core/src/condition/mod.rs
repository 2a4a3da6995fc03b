//! Conditions: statements about a push alone, in Kleene's three-valued logic.
//!
//! A condition is true, false with its reason, or unknown; unknown comes only from what the push does not tell
//! ([`Gap`](crate::Gap)). `all`, `any` and `not` live here and nowhere else, and De Morgan's laws and double
//! negation hold for them exactly.

mod paths;

pub use paths::{InvalidPattern, PathFilter};

use crate::policy::Reason;
use crate::push::{Gap, Push};

/// A statement about a push.
pub trait Condition: Send + Sync {
    /// Whether it holds. Must be a pure function of the push.
    fn holds(&self, push: &Push) -> Truth;
}

/// What a [`Condition`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not, and why.
    False(Reason),
    /// The push does not tell.
    Unknown(Gap),
}
