//! Runs as processes of this machine.

mod backend;
mod clear;
mod config;
mod progress;
mod run_dir;
mod start;

pub use config::LocalLauncher;
pub(crate) use run_dir::{Begun, Ended, Order, RunDir, StopRequest, VERSION};
