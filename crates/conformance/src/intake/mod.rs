//! What an intake promises, whatever stands between it and the store: what was accepted is stored in the end, after any
//! crash, once per change.
//!
//! Whoever has an intake implements [`IntakeBench`] for its tests and expands
//! [`intake_conformance!`](crate::intake_conformance) once; if it outlives its process, also
//! [`DurableIntakeBench`] and [`durable_intake_conformance!`](crate::durable_intake_conformance); if a broker stands
//! before its store, also [`BrokeredBench`] and
//! [`brokered_intake_conformance!`](crate::brokered_intake_conformance). Queues are intakes too: [`OfQueue`] makes the
//! bench of one from the bench of the other.
//!
//! What is stored in the end is waited for, a minute at most.

mod accepted;
mod bench;
mod brokered;
mod crashes;
mod list;
mod site;

pub use bench::{BrokeredBench, DurableIntakeBench, IntakeBench, OfQueue};
pub use list::{run, run_brokered, run_durable};
