//! A simulated world: a clock that moves when nobody is busy, a launcher whose runs follow a script, workers that crash,
//! sleep and come back, and a seed from which everything follows.
//!
//! Everything here waits with Tokio's timers. On a paused clock (`start_paused`) hours pass in milliseconds, and one
//! thread and one seed give one story.
//!
//! [`ScriptedLauncher`], [`ScriptedWorkspace`] and [`ScriptedGpus`] are for tests that tell a story themselves; [`live`]
//! and [`live_out_of_reach`] make them up.

mod clock;
mod gate;
mod gpus;
mod launcher;
mod life;
mod pushes;
mod random;
mod scene;
mod seat;

mod workspace;

pub use clock::{Clock, clock};
pub use gpus::ScriptedGpus;
pub use launcher::{Course, Ending, RunRecord, ScriptedLauncher, SubmitFault};
pub use life::{Life, Store, Summary, live, live_out_of_reach};
pub use pushes::{decided, push, repository};
pub use random::Random;
pub use seat::{Employee, Seat};
pub use workspace::{Asked, ScriptedWorkspace};
