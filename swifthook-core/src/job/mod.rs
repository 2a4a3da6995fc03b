//! A job: one training of one change, from queued to its end.

mod event;
mod spec;
mod state;

pub use event::{Command, Diffed, Event, Exit, Illegal, StopKind};
pub use spec::{Change, Debounce, Job, JobSpec, Retry, Superseding};
pub use state::{Evidence, Stage, State};

#[cfg(test)]
mod tests;
