use std::path::PathBuf;

use crate::clock::{Clock, system_clock};

/// How a store on SQLite is opened.
#[derive(Clone)]
pub struct Options {
    /// Where it takes the time from.
    pub clock: Clock,
    /// How many requests are written in one transaction, at most.
    pub batch: usize,
    /// How many pages the file may have; `None` is as many as the disk has room for.
    pub max_pages: Option<u32>,
    /// How many bytes of the disk are kept for recording the end of what runs when the disk is full; 0 for none. While
    /// they cannot be had new pushes are refused.
    pub reserve: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { clock: system_clock(), batch: 256, max_pages: None, reserve: 16 << 20 }
    }
}

/// A store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "`{}` is in use{}: a store on SQLite belongs to one process (its lock file is `{}`)",
        path.display(),
        owner.map(|pid| format!(" by process {pid}")).unwrap_or_default(),
        lock.display()
    )]
    InUse {
        /// The store.
        path: PathBuf,
        /// The lock file.
        lock: PathBuf,
        /// The process, where the lock file names one.
        owner: Option<u32>,
    },
    /// A newer version of this software has written it.
    #[error("`{}` has schema {found}, and this version knows {known} and older ones", path.display())]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest schema that is known here.
        known: u32,
    },
    /// It is on a file system whose locks bind nobody else.
    #[error(
        "`{}` is on {file_system}, where locks bind nobody else: put it on a disk of this machine, or use PostgreSQL",
        path.display()
    )]
    NoLocks {
        /// The store.
        path: PathBuf,
        /// The file system.
        file_system: &'static str,
    },
    /// It is a database of something else.
    #[error("`{}` is a database, but not one of swifthook", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot open `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
    /// SQLite refused.
    #[error("cannot open `{}`", path.display())]
    Sqlite {
        /// The store.
        path: PathBuf,
        /// What it said.
        #[source]
        source: rusqlite::Error,
    },
}
