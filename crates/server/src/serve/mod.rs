//! `swifthook serve`: everything put together.

mod backends;
mod catalog;
mod door;
mod environment;
mod error;
mod health;
mod host;
mod listener;
mod logging;
mod metrics;
mod ranges;
mod recipes;
mod reload;
mod server;
mod shelf;
mod snapshot;
mod store;
mod systemd;
mod throttle;
mod token;
mod worker;
mod works;

pub(crate) use door::with_causes;
pub use error::StartError;
pub use listener::Bounds;
pub use logging::{LogArguments, LogFormat, init as init_logging};
pub use metrics::Metrics;
pub use ranges::RangesError;
pub use reload::{FileState, Handle as ServerHandle, ReloadError};
pub use server::{Addresses, Server};
pub use shelf::Shelf;
pub use snapshot::Error as UnusableConfig;
pub use systemd::warn_if_runs_would_be_killed;
pub(crate) use token::random;
pub use token::{FILE as TOKEN_FILE, InvalidToken, Token};
pub use worker::Worker;
