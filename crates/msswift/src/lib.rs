//! ms-swift for swifthook, without sockets, files, processes or clocks.
//!
//! - [`Table`]: which flags a verb of an ms-swift version takes, made from the installed package by
//!   `scripts/ms-swift-tables`.
//! - [`Config`]: a pushed YAML or JSON file, read within bounds; [`check`] makes [`Flags`] of it, or tells everything
//!   that is wrong with it.
//! - [`Launch`]: verb, flags and surroundings become a command and its environment.
//! - [`LogReader`]: what a run tells of itself in `logging.jsonl`, read by whatever pieces it comes in.
//! - [`SwiftTraces`]: the same for a launcher, and when a checkpoint is whole.
//!
//! An id is nothing without its hub: [`Permissions`] say of which [`Hub`] a recipe lets a config name what, and a run is
//! told which hub to ask. `scripts/ms-swift-fetches` finds out what ms-swift would fetch besides.
//!
//! A pushed config is untrusted input. Under [`Trust::Data`] only keys on a list of ours pass, each with values of its
//! class; what we do not know is refused, so that a new version of ms-swift opens no hole. A value never becomes an
//! argument of its own that could be taken for a flag.

mod allowed;
mod check;
mod checkpoint;
mod class;
mod config;
mod data_set;
mod fetches;
mod flags;
mod hub;
mod json;
mod kernels;
mod launch;
mod mistake;
mod names;
mod pattern;
mod permissions;
mod progress;
mod range;
mod revision;
mod scalar;
mod table;
mod traces;
mod verb;
mod version;

pub use allowed::Allowed;
pub use check::{Rules, Trust, check, is_ours, look, look_together};
pub use config::Config;
pub use flags::{Flag, Flags, Local, LocalKind};
pub use hub::{Hub, UnknownHub};
pub use kernels::{Packages, look_at_kernels};
pub use launch::{Command, Launch, Processes};
pub use mistake::Mistake;
pub use pattern::InvalidPattern;
pub use permissions::Permissions;
pub use progress::{Log, LogReader};
pub use revision::Revisions;
pub use scalar::Format;
pub use table::{Argument, Kind, Table};
pub use traces::SwiftTraces;
pub use verb::{UnknownVerb, Verb};
pub use version::{InvalidVersion, Version};
