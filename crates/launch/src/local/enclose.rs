//! What a run finds that is started within something.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;

use swifthook_core::RunSpec;

use super::run_dir::RunDir;

/// Makes what the run writes into beside its result, and gives it to the run's user: `progress.jsonl` and `tmp`, since its
/// enclosure may show it nothing else of its directory.
pub(super) fn prepare(dir: &RunDir, run: &RunSpec) -> io::Result<()> {
    if run.enclosure.prefix.is_empty() {
        return Ok(());
    }
    let (progress, tmp) = (dir.path.join("progress.jsonl"), dir.path.join("tmp"));
    OpenOptions::new().append(true).create(true).mode(0o600).open(&progress)?;
    fs::create_dir_all(&tmp)?;
    let Some((user, group)) = run.enclosure.owner else { return Ok(()) };
    for path in [&progress, &tmp, &run.working_dir, &run.output_dir] {
        chown(path, Some(user), Some(group))?;
    }
    match (dir.path.parent(), dir.path.parent().and_then(Path::parent)) {
        (Some(runs), Some(state_dir)) => leave_a_way(state_dir, &[runs, &dir.path]),
        _ => Ok(()),
    }
}

/// Lets other users through a state directory and the folders `through` it that lead to something of theirs: they can
/// neither list them, nor get at anything beside.
///
/// # Errors
///
/// When the permissions cannot be set.
pub fn leave_a_way(state_dir: &Path, through: &[&Path]) -> io::Result<()> {
    close_others(state_dir)?;
    for passage in [&[state_dir], through].concat() {
        let mode = passage.metadata()?.permissions().mode();
        fs::set_permissions(passage, Permissions::from_mode(mode & !0o066 | 0o011))?;
    }
    Ok(())
}

/// Takes what others may do with the files and folders of a directory, except those that lead to something of theirs.
fn close_others(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let Ok(metadata) = path.symlink_metadata() else { continue };
        let is_passage = PASSAGES.iter().any(|passage| name == *passage);
        if !is_passage && !metadata.is_symlink() && metadata.permissions().mode() & 0o077 != 0 {
            let mode = metadata.permissions().mode() & !0o077;
            match fs::set_permissions(&path, Permissions::from_mode(mode)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
    }
    Ok(())
}

/// What is in a state directory of runs and their users.
const PASSAGES: [&str; 2] = ["runs", "environments"];
