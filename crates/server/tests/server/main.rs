//! The real program, as its users have it.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod addresses;
mod authority;
mod command_line;
mod container;
mod decide;
mod flood;
mod going;
mod gpus;
mod hostile_text;
mod limits;
mod many;
mod ports;
mod reconcile;
mod sandbox;
mod sandbox_attacks;
mod serve;
mod service_manager;
mod store;
mod swift;
mod told;
mod user;
mod uv;
mod world;
