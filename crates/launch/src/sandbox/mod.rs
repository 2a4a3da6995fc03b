//! Runs within [bubblewrap](https://github.com/containers/bubblewrap).
//!
//! This program is executed once more, becomes the user of the run where root asks for that, looks at the machine as that
//! user, and then becomes bubblewrap. The pid stays. bubblewrap is told what to do in a file that it closes, since the run
//! sees its command line.

mod account;
mod enter;
mod families;
mod keyring;
mod mounts;
mod probe;
mod reach;
mod words;
mod written;

pub(crate) use account::in_memory;
#[cfg(feature = "slurm")]
pub(crate) use enter::told;
pub use enter::within;
pub(crate) use enter::{SANDBOX, enter, within_telling};
pub(crate) use keyring::{KEYRING, with_own_keyring};
pub use probe::can_sandbox;
