//! Benchmarks of swifthook.
