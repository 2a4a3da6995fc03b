//! Files that somebody else can write to, read and written without being led astray.
//!
//! A run can put anything into its directory: a link to a secret of the server, a pipe that nobody writes to, a file of
//! a terabyte without a byte in it, a million folders in one another. So all that is looked at there is opened by
//! [`Beneath`]: relative to the descriptor of a directory and beneath it, without following a link, without waiting,
//! and only if it is a regular file. What is read of it, and how many entries are listed, the caller bounds; and since a
//! disk may not answer at all, it is done within a look of [`Looks`].
//!
//! What is removed goes by [`remove_tree`], which follows no link either, and needs no more memory or descriptors for a
//! deep tree than for a flat one.

mod dir;
mod looks;
mod remove;
mod resolve;

pub(crate) use dir::place_beneath;
pub use dir::{Beneath, Entry};
pub use looks::{Late, Looks};
pub use remove::remove_tree;
