//! Launchers for swifthook: supervised local processes, and the git workspace.
//!
//! # Local runs
//!
//! [`LocalLauncher`] starts each run under a supervisor: the same binary, executed once more, which outlives us.
//! So the first thing in `main` is [`supervise_if_asked`]:
//!
//! ```no_run
//! swifthook_launch::supervise_if_asked();
//! // … your server
//! ```
//!
//! Whoever cannot do that ships the binary `swifthook-supervise` of this crate and names it with
//! [`LocalLauncher::supervised_by`].
//!
//! The files of a run directory, who writes them and what each crash leaves behind stand in
//! `src/local/run_dir.rs`. Linux only.
//!
//! # Working trees
//!
//! [`GitWorkspace`] checks out exactly the pushed commit, from a bare mirror for each repository.

mod git;
mod local;
mod process;
mod supervisor;

pub use git::{Credentials, GitWorkspace, InvalidRemote, Remote};
pub use local::LocalLauncher;
pub use supervisor::supervise_if_asked;
