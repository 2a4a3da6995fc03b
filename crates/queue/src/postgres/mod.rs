//! The queue on PostgreSQL: receivers and workers on several machines share one database.
//!
//! Each request is one transaction, in which the same rules run as in every other queue. What may not happen at once
//! is kept apart by advisory locks, which a transaction takes in one order before it reads: one for the ref that a
//! change belongs to, one for each group. Claims come one after the other, and pass by rows that somebody works on.
//! Time is that of the database.
//!
//! Connections are encrypted where the server can, and its certificate is checked where the URL says so: see
//! [`Target`].

mod backend;
mod config;
mod copy;
mod crowd;
mod due;
mod gpus;
mod listener;
mod lists;
mod logs;
mod old;
mod pool;
mod ports;
mod reader;
mod rows;
mod schema;
mod target;
mod tips;
mod tls;
mod transact;
mod transaction;
mod workers;

pub use backend::PostgresQueue;
pub use config::{OpenError, Options};
pub(crate) use copy::alone;
pub use target::{InvalidUrl, Target};
