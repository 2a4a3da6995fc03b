//! `swifthook demo`: the whole way of a push, on this machine, to watch.
//!
//! Nothing of it is staged. A temporary folder holds a repository, a configuration and a store; the server of this
//! binary serves them; git pushes; the deliveries are signed and posted over HTTP; the run is launched under its
//! supervisor from the pushed commit. With ms-swift on the `PATH` that trains, on the CPU; otherwise a
//! [toy](crate::toy) does, and the demo says so. Ctrl-C ends what it has begun, and removes the folder.

mod error;
mod follow;
mod interrupt;
mod next;
mod payload;
mod run;
mod screen;
mod server;
mod setting;
mod story;
mod trainer;
mod upstream;

pub use error::DemoError;
pub use story::tell;
