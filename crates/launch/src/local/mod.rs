//! Runs as processes of this machine.

mod backend;
mod checkpoints;
mod clear;
mod config;
mod enclose;
mod evidence;
mod follow;
mod lock;
mod memory;
mod record;
mod remove;
mod run_dir;
mod start;
mod tail;

#[cfg(any(feature = "kubernetes", feature = "slurm"))]
pub(crate) use checkpoints::still_there;
pub use config::LocalLauncher;
#[cfg(feature = "slurm")]
pub(crate) use enclose::prepare;
pub(crate) use enclose::withdraw;
pub use enclose::{give, leave_a_way};
#[cfg(any(feature = "kubernetes", feature = "slurm"))]
pub(crate) use follow::Follows;
#[cfg(any(feature = "kubernetes", feature = "slurm"))]
pub(crate) use lock::Lock;
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
