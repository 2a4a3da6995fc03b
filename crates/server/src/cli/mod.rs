//! The command line.

mod args;
mod check;
mod environment;

pub use args::{Arguments, Command, CommonArguments, run};
