//! RabbitMQ in front of a store: a push is accepted as soon as the broker has it, whatever the store does.
//!
//! [`RabbitIntake`] publishes what was decided to a durable quorum queue, and promises something only when the broker
//! has confirmed it. [`RabbitIntake::move_into`] takes the messages from there into a store, as many processes at once as
//! one likes, and acknowledges each one after the store's commit. A message that can never be stored goes to the queue
//! `<queue>.dead` with its reason in the header [`REASON`], and holds up nobody.
//!
//! Both connections are made again by themselves, with growing pauses; while there is none, pushes are refused at once.
//! Publishing and consuming have a connection each, since a broker that is short of memory or disk stops reading from
//! connections that publish.
//!
//! Whoever may publish to the queue can have commands run wherever jobs of the store run. [`Options::keys`] closes that
//! door: with keys, each message carries an HMAC, and what does not is never stored.
//!
//! The user of the URL needs the permission to configure both queues, to write to the default exchange and to read.

mod backend;
mod config;
mod consumer;
mod dead;
mod lane;
mod link;
mod pause;
mod publisher;
mod signature;
mod topology;

pub use backend::{Counts, RabbitIntake};
pub use config::{Address, InvalidAddress, Options};
pub use dead::REASON;
