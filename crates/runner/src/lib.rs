//! The loop that takes a swifthook job from queued to its end: claim, admit, check out, submit, poll, collect, finish.
//!
//! A [`Runner`] works on any [`JobQueue`](swifthook_core::JobQueue), any [`Workspace`](swifthook_core::Workspace) and
//! any [`TrainingLauncher`](swifthook_core::TrainingLauncher). What the configuration of the moment says of a job it
//! asks a [`Catalog`]; whoever wants to watch gives it an [`Observer`].
//!
//! What it promises, whatever fails around it:
//!
//! - A job that may have a run is looked for before anything is submitted. Only evidence (ended, vanished, or a launcher
//!   that says there is none) lets another attempt begin; a launcher that cannot be reached is waited for.
//! - A job whose lease was lost is let go at once: nothing of it is touched any more, and its run goes on.
//! - A shutdown releases every job and leaves every run running. The next runner adopts them. One that
//!   [drains](Drain::Yield) lets them save and make way first.
//! - A panic of a launcher, workspace, catalog or observer is an error of that call. A panic of the runner's own is the
//!   loss of that one job.
//!
//! An attempt has the directory `<state_dir>/runs/<job>-<attempt>`, with the working tree in `tree` and the result in
//! `output`. The workspace and the launcher make it; the runner itself touches no disk. When an attempt is over, its
//! working tree is removed and the rest stays.

mod catalog;
mod clock;
mod compose;
mod dispatcher;
mod guard;
mod observer;
mod options;
mod orders;
mod pace;
mod runner;
mod spec;
mod store;
mod stranded;
mod task;
mod timer;
mod watchdog;

pub use catalog::{Catalog, Terms};
pub use clock::Clock;
pub use compose::{Compose, Composed, Draft, Uncomposed};
pub use observer::{Moment, Observer};
pub use options::{Drain, Options};
pub use runner::{Handle, Runner, Status};
pub use watchdog::{Then, Watch};
