//! The receiver from outside, as an adapter uses it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod gitea;
mod github;
mod limits;
mod properties;
mod refusals;
mod renames;
mod replies;
mod world;
