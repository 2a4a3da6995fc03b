//! Test lists that every swifthook backend and adapter passes.
//!
//! - [`launcher`]: what a launcher promises, with real processes

pub mod launcher;
