//! The queue on SQLite: the embedded default.
//!
//! One thread owns the connection that writes. Whatever is asked while it waits for the disk is written together
//! in its next transaction, so that one sync serves many. Readers have connections of their own and never wait for
//! it. The file belongs to one process, which holds a lock file for as long as it lives. Beside it a reserve is kept on
//! the disk: when the disk is full, new pushes are refused, and what runs is recorded to its end there.

mod backend;
mod backup;
mod config;
mod copy;
mod disk;
mod due;
mod failure;
mod gpus;
mod lists;
mod lock;
mod logs;
mod names;
mod old;
mod ports;
mod reader;
mod reserve;
mod rows;
mod schema;
mod start;
mod tips;
mod transaction;
mod work;
mod writer;

pub use backend::SqliteQueue;
pub use backup::BackupError;
pub use config::{OpenError, Options};
pub(crate) use copy::alone;
