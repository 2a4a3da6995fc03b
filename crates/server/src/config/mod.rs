//! The configuration, `swifthook.toml`.
//!
//! A configuration is read as a whole: [`Config::load`] gives either one in which nothing is wrong, or every mistake
//! with its line and column. What is reserved for later is a mistake too, and never ignored.

mod confine;
mod digest;
mod examples;
mod gpus;
mod hook;
mod intake;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod launcher;
mod limits;
mod load;
mod mistake;
mod model;
mod only;
mod queueing;
mod reader;
mod recipe;
mod retention;
mod run;
mod secret;
mod sections;
#[cfg(feature = "slurm")]
mod slurm;
mod store_url;
mod swift;
mod trigger;
mod units;
mod watchdog;

pub use confine::{NOBODY_ELSE, program};
pub use intake::Intake;
pub use launcher::{Launcher, LauncherKind};
pub use limits::Limits;
pub use load::{Contact, Target};
pub use mistake::{Mistake, Mistakes, Place};
pub use model::{
    Bubblewrap, Cgroup, Config, Hook, Isolation, Purpose, Queueing, Recipe, Refs, Repository, Run, Server,
    Store, Swift, Trigger, Value, Worker,
};
pub use only::SwiftRecipe;
pub use retention::SHORTEST_RETENTION;
pub use secret::{Missing, Outside};
pub use store_url::{PostgresUrl, StoreUrl};
