//! The configuration, `swifthook.toml`.
//!
//! A configuration is read as a whole: [`Config::load`] gives either one in which nothing is wrong, or every mistake
//! with its line and column. What is reserved for later is a mistake too, and never ignored.

mod digest;
mod hook;
mod intake;
mod load;
mod mistake;
mod model;
mod queueing;
mod reader;
mod recipe;
mod retention;
mod run;
mod secret;
mod sections;
mod store_url;
mod swift;
mod trigger;
mod units;

pub use intake::Intake;
pub use load::Contact;
pub use mistake::{Mistake, Mistakes, Place};
pub use model::{
    Config, Hook, Purpose, Queueing, Recipe, Refs, Repository, Run, Server, Store, Swift, Trigger, Value,
    Worker,
};
pub use retention::SHORTEST_RETENTION;
pub use secret::{Missing, Outside};
pub use store_url::{PostgresUrl, StoreUrl};
