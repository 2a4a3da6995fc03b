//! Runs as processes of this machine.

mod backend;
mod clear;
mod config;
mod lock;
mod progress;
mod record;
mod run_dir;
mod start;

pub use config::LocalLauncher;
pub(crate) use record::{Begun, Ended, Order, StopRequest, VERSION};
pub(crate) use run_dir::RunDir;
