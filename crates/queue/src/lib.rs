//! Job queues for swifthook.
//!
//! A queue takes decided pushes, keeps their jobs, hands them to workers and records what becomes of them. The
//! rules (which change is known, which job gives way to which, who may claim what) stand once, in `rules`, over a
//! small trait of what they need of a store; a backend is an implementation of that trait, so that two backends
//! cannot come to differ in what they promise.
//!
//! | queue | for |
//! | --- | --- |
//! | [`MemoryQueue`] | tests, and embedders whose jobs may die with the process |
//! | [`SqliteQueue`] | one machine: durable, in one file, for one process |
//! | `postgres::PostgresQueue` (feature `postgres`) | several machines: durable, shared by receivers and workers |
//!
//! `rabbitmq::RabbitIntake` (feature `rabbitmq`) stands in front of one of them: a push is accepted when the broker has
//! it, and moved into the store from there. Whatever brings messages so is the producer of [`Message`]s, and each queue
//! is a [`MessageStore`] for them.

mod chain;
mod clock;
mod codec;
mod copy;
mod ids;
mod keeper;
mod known;
mod memory;
mod message;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
mod repeats;
mod rules;
mod sqlite;
mod store;
mod tips;
mod workers;

pub use clock::{Clock, system_clock};
pub use copy::{Copied, CopyError, Location, copy};
pub use memory::MemoryQueue;
pub use message::{Message, MessageStore, Stored, Unreadable};
pub use sqlite::{BackupError, OpenError, Options, SqliteQueue};
pub use tips::{Compared, Move, Standing, TipStore, Tips};
