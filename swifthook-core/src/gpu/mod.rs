//! GPUs: what a machine has, what a run asks for, and which it gets.
//!
//! Nothing here looks at a machine or at a store: what they say comes in, and a choice or a reason goes out.

mod choice;
mod device;
mod memory;
mod request;

pub use choice::{GpuBook, GpuGrant, GpuLease, GpuWaiter, Shortage};
pub use device::{Gpu, Gpus, NoGpus, Standing, Untold};
pub use memory::{Growth, MemoryEstimate, RanOut, Workload};
pub use request::GpuRequest;
