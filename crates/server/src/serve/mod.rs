//! `swifthook serve`: everything put together.

mod listener;
mod logging;
mod token;

pub use listener::{Bounds, serve};
pub use logging::{LogArguments, LogFormat, init as init_logging};
pub(crate) use token::random;
pub use token::{InvalidToken, Token};
