//! The command line.

mod address;
mod args;
mod ask;
mod check;
mod check_configs;
mod deliveries;
mod delivery_text;
mod demo;
mod environment;
mod failure;
mod id;
mod init;
mod job_text;
mod jobs;
mod listener;
mod makes_way;
mod manager;
mod many;
mod memory;
mod reach;
mod reconcile;
mod screen;
mod send;
mod serve;
mod shared_user;
mod store;
mod store_text;
mod toy_trainer;
mod worker;
mod workers;

pub use args::{Arguments, Command, CommonArguments, run};
pub use check::CheckArguments;
pub use send::SendArguments;
