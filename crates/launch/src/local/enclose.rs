//! What a run finds that is started within something.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use swifthook_core::RunSpec;

use super::give::give;
use super::run_dir::RunDir;
use crate::git::lend;

/// Makes what the run writes into beside its result, and gives it to the run's user: `progress.jsonl` and `tmp`, since its
/// enclosure may show it nothing else of its directory. The log too, which programs open again as `/dev/stderr`.
pub(crate) fn prepare(dir: &RunDir, run: &RunSpec) -> io::Result<()> {
    if run.enclosure.is_none() {
        return Ok(());
    }
    let (progress, tmp) = (dir.path.join("progress.jsonl"), dir.path.join("tmp"));
    OpenOptions::new().append(true).create(true).mode(0o600).open(&progress)?;
    fs::create_dir_all(&tmp)?;
    let Some((user, group)) = run.enclosure.owner else { return Ok(()) };
    dir.log()?;
    for path in [&progress, &tmp, &run.working_dir, &run.output_dir, &dir.path.join("log")] {
        give(path, user, group)?;
    }
    match (dir.path.parent(), dir.path.parent().and_then(Path::parent)) {
        (Some(runs), Some(state_dir)) => {
            let mut through = vec![runs.to_owned(), dir.path.clone()];
            for (objects, readers) in &run.enclosure.lent {
                through.extend(lend(state_dir, Path::new(objects), *readers)?);
            }
            let through: Vec<_> = through.iter().map(PathBuf::as_path).collect();
            leave_a_way(state_dir, &through)
        }
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
        if MIRRORS.iter().any(|mirrors| name == *mirrors) && metadata.is_dir() {
            close_each(&path)?;
            continue;
        }
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

/// Takes what others may do with each repository of a folder of owners, and with the list of them.
fn close_each(mirrors: &Path) -> io::Result<()> {
    for owner in fs::read_dir(mirrors)? {
        let owner = owner?.path();
        if !owner.symlink_metadata()?.is_dir() {
            continue;
        }
        for repository in fs::read_dir(&owner)? {
            withdraw(&repository?.path(), 0o007)?;
        }
        withdraw(&owner, 0o066)?;
    }
    withdraw(mirrors, 0o066)
}

/// Takes rights away, if they are there and it still is.
pub(crate) fn withdraw(path: &Path, rights: u32) -> io::Result<()> {
    let withdrawn = path.symlink_metadata().and_then(|metadata| {
        let mode = metadata.permissions().mode();
        match metadata.is_symlink() || mode & rights == 0 {
            true => Ok(()),
            false => fs::set_permissions(path, Permissions::from_mode(mode & !rights)),
        }
    });
    match withdrawn {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Folders of a state directory that are of runs and their users.
const PASSAGES: [&str; 3] = ["runs", "environments", "caches"];
/// Folders that lead to repositories, `<owner>/<name>.git`, some of which are lent to a group.
const MIRRORS: [&str; 3] = ["mirrors", "mirrors-blobless", "mirrors-shallow"];

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_way_through_a_state_directory_leads_to_no_mirror() {
        let state = tempfile::tempdir().unwrap();
        let (mirror, runs) = (state.path().join("mirrors/acme/models.git"), state.path().join("runs"));
        for folder in [&mirror, &runs] {
            fs::create_dir_all(folder).unwrap();
            fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
        }
        leave_a_way(state.path(), &[&runs]).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
        assert_eq!((mode(&mirror), mode(&runs), mode(state.path())), (0o750, 0o711, 0o711));
        assert_eq!(mode(&state.path().join("mirrors")) & 0o066, 0);
    }
}
