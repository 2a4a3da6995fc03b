//! Test lists that every swifthook backend and adapter passes.
//!
//! - [`http`]: what an HTTP adapter promises, over real sockets
//! - [`intake`]: what an intake promises, whatever stands between it and the store
//! - [`launcher`]: what a launcher promises, with real processes
//! - [`queue`]: what a queue promises, in a time of the test's own
//! - [`world`]: a simulated world for queues and runners
//!
//! and what they are made of, for tests of your own: push payloads in GitHub's shape ([`payload`]), their signature
//! ([`sign`]), a [`client`] that sends them in raw bytes, and an intake in memory ([`RecordingIntake`]).

pub mod client;
pub mod http;
#[expect(clippy::unwrap_used, reason = "an answer that is not as promised ends the test")]
pub mod intake;
pub mod launcher;
pub mod payload;
#[expect(clippy::unwrap_used, reason = "an answer that is not as promised ends the test")]
pub mod queue;
mod recording;
mod sign;
pub mod world;

pub use recording::RecordingIntake;
pub use sign::sign;
