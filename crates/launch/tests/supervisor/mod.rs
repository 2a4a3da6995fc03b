//! The supervisor under test.

use std::path::PathBuf;

/// That of this build, unless another is named, which may be a script that runs it in a world of its own.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("SWIFTHOOK_TEST_SUPERVISOR")
        .map_or_else(|| env!("CARGO_BIN_EXE_swifthook-supervise").into(), PathBuf::from)
}
