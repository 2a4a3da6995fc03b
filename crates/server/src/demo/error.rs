use std::io;
use std::path::{Path, PathBuf};

use crate::config::Mistakes;
use crate::send::SendError;
use crate::serve::StartError;

/// The demo did not come to its good end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// There is no git.
    #[error("git cannot be run; the demo needs nothing else")]
    NoGit(#[source] io::Error),
    /// Git refused.
    #[error("git {command}: {said}")]
    Git {
        /// Its subcommand.
        command: String,
        /// What it said.
        said: String,
    },
    /// A file could not be read or written.
    #[error("cannot use {path}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The configuration made for the demo is wrong.
    #[error(transparent)]
    Config(#[from] Mistakes),
    /// The server did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The server did not answer.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The server's API did not answer.
    #[error("no answer from {url}")]
    Api {
        /// What was asked.
        url: String,
        /// What came instead.
        source: ureq::Error,
    },
    /// Ended by whoever watches; nothing is left of it.
    #[error("ended by signal {signal}")]
    Interrupted {
        /// Which.
        signal: i32,
    },
    /// Something went another way than the demo was to show.
    #[error("{0}")]
    Unexpected(String),
}

impl DemoError {
    pub(super) fn unexpected(what: impl Into<String>) -> Self {
        Self::Unexpected(what.into())
    }

    pub(super) fn folder(path: &Path, source: io::Error) -> Self {
        Self::Folder { path: path.to_owned(), source }
    }
}
