//! The receiver: from a request to a verdict, without a socket and without a clock.
//!
//! [`Receiver::begin`] looks at path, method, headers and address before a byte of the body is read;
//! [`Reading::push`] takes the body as it comes; [`Reading::finish`] verifies, reads and decides.

mod address;
mod begin;
mod budget;
mod builder;
mod client;
mod current;
mod found;
mod hook;
mod identities;
mod judge;
mod limits;
mod proofs;
mod reading;
mod refusal;
mod replay;

pub use address::PeerAddr;
pub use begin::Receiver;
pub use builder::{Builder, ConfigError};
pub use client::{ClientAddr, ClientNetwork, Reputation};
pub use current::Current;
pub use found::FoundTip;
pub use hook::{Hook, Verified};
pub use identities::Identity;
pub use judge::Outcome;
pub use limits::Limits;
pub use reading::Reading;
pub use refusal::Refusal;
pub use replay::CannotReplay;
