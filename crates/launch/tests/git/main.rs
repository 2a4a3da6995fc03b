//! The git workspace on real repositories.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

mod comparisons;
#[expect(dead_code, reason = "other tests need the rest of it")]
#[path = "../git_server/mod.rs"]
mod git_server;
mod histories;
mod lfs;
mod mirrors;
mod redirects;
mod secrets;
mod submodules;
mod trees;
mod world;
