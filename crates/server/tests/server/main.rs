//! The real program, as its users have it.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod addresses;
mod command_line;
mod going;
mod gpus;
mod many;
mod sandbox;
mod serve;
mod service_manager;
mod store;
mod swift;
mod uv;
mod world;
