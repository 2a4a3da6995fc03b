//! Working trees and diffs, by the `git` command.

mod backend;
mod command;
mod config;
mod diff;
mod file;
mod mirror;

pub use backend::GitWorkspace;
pub use config::{Credentials, InvalidRemote, Remote};
