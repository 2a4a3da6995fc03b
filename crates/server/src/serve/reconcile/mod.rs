//! Pushes that no delivery told of: GitHub never delivers again by itself, so whatever is pushed while nobody listens
//! is found by looking at where the refs are.

mod look;
mod once;
mod timer;

pub(super) use look::Reconciler;
pub(crate) use once::once;
pub(super) use timer::watch;
