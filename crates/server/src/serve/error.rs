use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use swifthook_queue::OpenError;

use super::ranges::RangesError;
use super::snapshot;
use super::token::InvalidToken;
use crate::config::Missing;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] snapshot::Error),
    /// Where GitHub's deliveries come from is not known, and a hook takes them from there alone.
    #[error(transparent)]
    Ranges(#[from] RangesError),
    /// More connections are asked for than there are files for.
    #[error(
        "`connections = {asked}` in [limits] is too many: this process may have {files} files open, of which the store, git and runs need a quarter; say at most {}, or let it have more (`LimitNOFILE=` of systemd, `ulimit -n`)",
        files / 8 * 5
    )]
    TooManyConnections {
        /// Value in the configuration.
        asked: usize,
        /// The soft limit.
        files: usize,
    },
    /// The admin token is not where the configuration says.
    #[error("there is no admin token")]
    Token(#[from] Missing),
    /// The admin token is none.
    #[error(transparent)]
    InvalidToken(#[from] InvalidToken),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The store on PostgreSQL cannot be opened.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Postgres(#[from] swifthook_queue::postgres::OpenError),
    /// Only one process can have the store.
    #[error(
        "a worker needs a store on PostgreSQL: one on SQLite belongs to one process, and `swifthook serve` runs its jobs"
    )]
    NotShared,
    /// The store does not answer.
    #[error(transparent)]
    Queue(#[from] swifthook_core::QueueError),
    /// There is no store yet.
    #[error("there is no store `{}` yet", .0.display())]
    NoStore(PathBuf),
    /// The store is where this user may not write, as beside a configuration of `/etc`.
    #[error(
        "the store `{}` cannot be written: say where it may be, as in `[store] url = \"sqlite:/var/lib/swifthook/swifthook.db\"`",
        file.display()
    )]
    NotWritable {
        /// The store.
        file: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The folder of the store cannot be made.
    #[error("the folder `{}` of the store cannot be made", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// Something in the state directory cannot be read or made.
    #[error("the state directory `{}` cannot be used: `[store] state_dir` says where it is", directory.display())]
    StateDir {
        /// The directory.
        directory: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// Runs cannot have control groups where they should.
    #[error("runs cannot have control groups as `[worker] cgroup` says; `cgroup = \"off\"` does without")]
    Cgroup(#[source] io::Error),
    /// The system gives no threads or no randomness.
    #[error("the system does not give what every program needs")]
    Runtime(#[source] io::Error),
    /// A port is taken, or is not ours to take.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
}
