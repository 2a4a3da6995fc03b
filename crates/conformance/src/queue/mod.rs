//! What a queue promises, one behaviour a function.
//!
//! A backend implements [`QueueBench`] for its tests and expands [`queue_conformance!`](crate::queue_conformance)
//! once: that makes a test of every behaviour, so that none can be left out. A backend that outlives its process
//! expands [`durable_queue_conformance!`](crate::durable_queue_conformance) too.
//!
//! Time is the bench's own; no behaviour waits for the real one, except those that tell what happens in the
//! background.

mod admission;
mod bench;
mod claims;
mod durable;
mod failures;
mod gpus;
mod history;
mod intake;
mod leases;
mod list;
mod lives;
mod logs;
mod memory;
mod ports;
mod repeats;
mod reruns;
mod retention;
pub(crate) mod scene;
mod superseding;
mod workers;

pub use bench::{DurableBench, Queue, QueueBench};
pub(crate) use list::on_a_runtime;
pub use list::{run, run_durable};
