//! Working trees and diffs, by the `git` command.

mod backend;
mod command;
mod config;
mod diff;
mod failure;
mod file;
mod files;
mod heal;
mod lend;
mod lfs;
mod lock;
mod mirror;
mod process;
mod redirect;
mod submodule;
mod submodules;
mod tidy;
mod tips;
mod tree;

pub use backend::GitWorkspace;
pub use config::{Credentials, History, InvalidRemote, Remote};
#[cfg(feature = "kubernetes")]
pub(crate) use failure::NoAccess;
pub(crate) use lend::lend;
pub use mirror::borrowed_objects;
pub use submodule::{InvalidHost, check_host};
pub use tidy::Tidied;
