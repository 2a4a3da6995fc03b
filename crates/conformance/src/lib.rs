//! Test lists that every swifthook backend and adapter passes.
//!
//! - [`launcher`]: what a launcher promises, with real processes
//! - [`queue`]: what a queue promises, in a time of the test's own
//! - [`world`]: a simulated world for queues and runners

pub mod launcher;
#[expect(clippy::unwrap_used, reason = "an answer that is not as promised ends the test")]
pub mod queue;
pub mod world;
