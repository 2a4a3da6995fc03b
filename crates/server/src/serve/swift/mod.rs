//! Runs of ms-swift: from a pushed config to a command for the version that is installed.

mod compose;
mod installed;

pub(super) use compose::SwiftComposer;
pub(super) use installed::Versions;
