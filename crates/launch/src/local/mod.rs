//! Runs as processes of this machine.

mod backend;
mod checkpoints;
mod clear;
mod config;
mod enclose;
mod evidence;
mod follow;
mod give;
mod lock;
mod make;
mod memory;
mod record;
mod remove;
mod run_dir;
mod start;
mod tail;

#[cfg(any(feature = "kubernetes", feature = "slurm"))]
pub(crate) use checkpoints::still_there;
pub use clear::kill_marked;
pub use config::LocalLauncher;
pub use enclose::leave_a_way;
#[cfg(feature = "slurm")]
pub(crate) use enclose::prepare;
pub(crate) use enclose::withdraw;
#[cfg(any(feature = "kubernetes", feature = "slurm"))]
pub(crate) use follow::Follows;
pub use give::{give, give_beneath};
#[cfg(any(feature = "kubernetes", feature = "slurm"))]
pub(crate) use lock::Lock;
pub use make::make_for;
#[cfg(feature = "slurm")]
pub(crate) use memory::{end_of, with_its_end};
#[cfg(feature = "slurm")]
pub(crate) use record::Note;
pub(crate) use record::{Begun, Ended, Order, StopRequest, VERSION};
#[cfg(feature = "kubernetes")]
pub(crate) use remove::shared_control_of;
pub use remove::{Held, hold_run, known_runs, remove_run};
pub(crate) use run_dir::RunDir;
#[cfg(feature = "slurm")]
pub(crate) use run_dir::{control_of, make_both};
