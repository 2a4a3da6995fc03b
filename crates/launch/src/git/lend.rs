//! Objects of a mirror for runs of other users: a working tree borrows them, and a group may read them.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::local::withdraw;

/// Lets `readers` read the objects of a mirror below `state_dir`, where there is one; answers the folders that lead to it.
pub(crate) fn lend(state_dir: &Path, objects: &Path, readers: u32) -> io::Result<Vec<PathBuf>> {
    let Some(mirror) = objects.parent().filter(|_| objects.is_dir()) else { return Ok(Vec::new()) };
    keep_shared(mirror)?;
    share(objects, readers)?;
    // Its readers come through it, and nobody else.
    lchown(mirror, None, Some(readers))?;
    fs::set_permissions(mirror, Permissions::from_mode(0o710))?;
    let above = mirror.ancestors().skip(1).take_while(|folder| *folder != state_dir);
    Ok(above.map(Path::to_owned).collect())
}

/// Has git let the group of a mirror read what it puts there from now on, as `core.sharedRepository` in `git-config(1)` says.
fn keep_shared(mirror: &Path) -> io::Result<()> {
    let config = mirror.join("config");
    if fs::read_to_string(&config)?.contains("sharedRepository") {
        return Ok(());
    }
    let mut git = Command::new("git");
    git.args(["config", "--file"]).arg(&config).args(["core.sharedRepository", "0640"]).stdin(Stdio::null());
    match git.env("GIT_CONFIG_NOSYSTEM", "1").output()? {
        output if output.status.success() => Ok(()),
        output => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

/// Lets a group read what is in a folder, also what is put there later, and nobody else but its owner.
fn share(folder: &Path, group: u32) -> io::Result<()> {
    withdraw(folder, 0o007)?;
    share_in(folder, group)
}

fn share_in(folder: &Path, group: u32) -> io::Result<()> {
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        match share_one(&path, group) {
            Ok(within) => left.extend(within),
            // Others fetch and tidy meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound && path != folder => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Lets a group read a file or list a folder; answers what is in it.
fn share_one(path: &Path, group: u32) -> io::Result<Vec<PathBuf>> {
    let metadata = path.symlink_metadata()?;
    if metadata.is_symlink() {
        return Ok(Vec::new());
    }
    let more = if metadata.is_dir() { 0o2050 } else { 0o040 };
    let mode = metadata.mode() & 0o7777;
    // A change of the group may take the other bit away, and so comes first.
    if metadata.gid() != group {
        lchown(path, None, Some(group))?;
    }
    if metadata.gid() != group || mode & more != more {
        fs::set_permissions(path, Permissions::from_mode(mode | more))?;
    }
    match metadata.is_dir() {
        true => fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect(),
        false => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_group_reads_all_of_a_folder_and_links_lead_to_nothing() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (inner, file) = (folder.path().join("pack"), folder.path().join("pack/x"));
        fs::create_dir(&inner).unwrap();
        fs::write(&file, "x").unwrap();
        for (path, mode) in [(&inner, 0o700), (&file, 0o400)] {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        symlink(outside.path(), folder.path().join("link")).unwrap();
        let before = outside.path().metadata().unwrap().mode();
        let group = rustix::process::getegid().as_raw();
        share(folder.path(), group).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().mode() & 0o7777;
        assert_eq!((mode(&inner), mode(&file)), (0o2750, 0o440));
        assert_eq!(mode(folder.path()) & 0o007, 0, "nobody else");
        assert_eq!(outside.path().metadata().unwrap().mode(), before);
    }
}
