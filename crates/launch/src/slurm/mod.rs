//! Runs as jobs of a Slurm cluster.
//!
//! What is said to Slurm is in `script.rs` and what its states mean in `state.rs`. What runs on the node is `run.sh`; the
//! files of a run and what a crash leaves behind stand in `files.rs`.

mod backend;
mod command;
mod config;
mod end;
mod files;
mod queue;
mod quote;
mod refusal;
mod script;
mod state;

pub use config::{SlurmLauncher, SlurmOptions};
