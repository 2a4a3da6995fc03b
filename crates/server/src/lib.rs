//! The swifthook server.

pub mod toy;
