//! The supervisor: a small process of ours that keeps one run, and outlives the server that asked for it.
//!
//! It leads a session of its own, so that what ends the server does not end it, and is the reaper of everything
//! under it, so that no descendant of the training gets away by `setsid` or a double fork. It holds the lock of the
//! run directory as its standard input, for all its life: see [`run_dir`](crate::local) for what that tells others.
//!
//! It does one thing at a time, and waits in one place for all that can happen: a signal, a child that ends, a
//! wake-up call, its time that is up.

mod asked;
#[cfg(feature = "kubernetes")]
mod check_out;
mod confine;
mod course;
mod disk;
mod events;
mod family;
#[cfg(feature = "kubernetes")]
mod install;
#[cfg(feature = "kubernetes")]
mod keep;
mod log_cap;
mod run;
mod sandboxed;
mod tasks;
mod watch;

pub use asked::supervise_if_asked;
pub(crate) use asked::{ARGUMENT, BEGUN, CANNOT_SUPERVISE, RUN_VARIABLE};
#[cfg(feature = "kubernetes")]
pub(crate) use check_out::{CHECK_OUT, FAILED, REFUSED, TREE, Wanted};
pub use confine::confined;
#[cfg(feature = "kubernetes")]
pub(crate) use install::INSTALL;
#[cfg(feature = "kubernetes")]
pub(crate) use keep::{BEGUN_BEFORE, KEEP, Kept, LEFT};
