//! Where a launcher has what keeps its runs.

use std::path::{Path, PathBuf};

use swifthook_core::RunKey;

/// The directory of what keeps a run, which its launcher has beside that of the runs.
pub(crate) fn control(runs: &Path, key: &RunKey) -> PathBuf {
    let name = match runs.file_name().unwrap().to_str().unwrap() {
        "runs" => "control".to_owned(),
        name => format!("{name}.control"),
    };
    runs.with_file_name(name).join(key.to_string())
}
