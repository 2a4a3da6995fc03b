//! What the benchmarks of swifthook share.

pub mod payload;
pub mod turns;
