//! The command line.

mod args;
mod check;
mod environment;
mod failure;
mod send;
mod toy_trainer;

pub use args::{Arguments, Command, CommonArguments, run};
pub use send::SendArguments;
