//! A job: one training of one change, from queued to its end.

mod event;
mod evidence;
mod rerun;
mod spec;
mod stage;
mod state;

pub use event::{Command, Diffed, Event, Exit, Illegal, Prepared, StopKind};
pub use evidence::Evidence;
pub use rerun::Rerun;
pub use spec::{Change, Debounce, Job, JobSpec, Retry, Superseding};
pub use stage::Stage;
pub use state::State;

#[cfg(test)]
mod tests;
