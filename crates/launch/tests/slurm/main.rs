//! Runs on a real Slurm. Needs Debian's packages slurm-wlm and munge, and fails without them.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

mod cluster;
mod contract;
#[path = "../lines/mod.rs"]
mod lines;
mod nodes;
mod processes;
#[path = "../support/mod.rs"]
mod support;
mod trouble;
