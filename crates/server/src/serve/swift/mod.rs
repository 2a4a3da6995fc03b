//! Runs of ms-swift: from a pushed config to a command for the version that is installed.

mod compose;
mod installed;

pub(super) use compose::{MOST_LOOKS, PATIENCE, SwiftComposer};
pub(crate) use compose::{table_of, verb_of};
pub(crate) use installed::Versions;
