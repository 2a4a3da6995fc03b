//! A job: one training of one change, from queued to its end.

mod event;
mod evidence;
mod rerun;
mod signal;
mod spec;
mod stage;
mod state;

pub use event::{Command, Diffed, Event, Exit, Illegal, Prepared, StopKind};
pub use evidence::Evidence;
pub use rerun::Rerun;
pub(crate) use signal::exit_code_in_words;
pub use signal::{is_crash, signal_in_words};
pub use spec::{Change, Debounce, Job, JobSpec, Retry, Superseding};
pub use stage::Stage;
pub use state::State;

#[cfg(test)]
mod tests;
