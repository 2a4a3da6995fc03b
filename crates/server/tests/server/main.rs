//! The real program, as its users have it.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod addresses;
mod command_line;
mod many;
mod serve;
mod store;
mod world;
