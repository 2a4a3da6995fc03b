//! The swifthook server.

pub mod send;
pub mod toy;
