//! What the benchmarks of swifthook share.

pub mod cpu;
pub mod marks;
pub mod payload;
pub mod pushes;
pub mod runs;
pub mod turns;
