//! The log of a run: a file into which a run writes what it likes, and as much.
//!
//! [`LogCap`] keeps its beginning and its end, and makes what is between them a hole in the file: space that takes nothing
//! of the disk and reads as zeros. So whoever writes need not know of it, and nobody has to stay between a run and its
//! log. [`LogReader`] leaves holes out, and says in their place how much is not there. In the file itself a line before the
//! hole says so, for whoever looks at it with other programs.

mod cap;
mod hole;
mod reader;

pub use cap::{LogCap, Uncut};
pub use reader::LogReader;
