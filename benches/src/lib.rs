//! What the benchmarks of swifthook share.

pub mod cpu;
pub mod payload;
pub mod pushes;
pub mod turns;
