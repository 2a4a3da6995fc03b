//! The ready-made swifthook server: a push to GitHub becomes a model-training run.

pub mod api;
pub mod cli;
pub mod config;
pub mod demo;
mod preflight;
pub mod send;
pub mod serve;
pub mod toy;
