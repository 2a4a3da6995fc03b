//! Sends a delivery as GitHub sends it: signed, with GitHub's headers, as JSON or as a form.
//!
//! The signature is made here and not by the code that checks it, so that a mistake in one does not hide in the
//! other.

mod answer;
mod delivery;

pub use answer::Answer;
pub use delivery::{Delivery, Encoding, SendError};
