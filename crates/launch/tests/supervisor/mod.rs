//! The launcher of this machine under test.

use std::path::{Path, PathBuf};

use swifthook_launch::{LocalLauncher, RunGroups};

/// With the supervisor of this build, unless another is named, which may be a script that runs it in a world of its own;
/// and with control groups, where a folder for them is named.
pub(crate) fn launcher(runs: &Path) -> LocalLauncher {
    let program = std::env::var_os("SWIFTHOOK_TEST_SUPERVISOR")
        .map_or_else(|| env!("CARGO_BIN_EXE_swifthook-supervise").into(), PathBuf::from);
    let launcher = LocalLauncher::new(runs).unwrap().supervised_by(program);
    match std::env::var_os("SWIFTHOOK_TEST_CGROUP") {
        Some(folder) => launcher.in_groups(RunGroups::at(folder).unwrap()),
        None => launcher,
    }
}
