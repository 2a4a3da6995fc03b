//! The queue in memory: the reference for every other.

mod backend;
mod world;

pub use backend::MemoryQueue;
