//! The git workspace on real repositories.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

mod histories;
mod lfs;
mod mirrors;
mod secrets;
mod submodules;
mod trees;
mod world;
