//! Test lists that every swifthook backend and adapter passes.
//!
//! - [`launcher`]: what a launcher promises, with real processes
//! - [`world`]: a simulated world for queues and runners

pub mod launcher;
pub mod world;
