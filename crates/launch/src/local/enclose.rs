//! What a run finds that is started within something.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, chownat, fstat, openat};
use rustix::path::Arg;
use rustix::process::{Gid, Uid};
use swifthook_core::RunSpec;

use super::run_dir::RunDir;

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
        (Some(runs), Some(state_dir)) => leave_a_way(state_dir, &[runs, &dir.path]),
        _ => Ok(()),
    }
}

/// Gives a file, or a folder with all that is in it, to a user. Links are not followed, though somebody puts them there
/// meanwhile, and a file that has another name elsewhere stays whose it is.
///
/// # Errors
///
/// When the machine does not let us.
pub fn give(path: &Path, user: u32, group: u32) -> io::Result<()> {
    give_in(CWD, path, &Recipient { user: Uid::from_raw(user), group: Gid::from_raw(group) })
}

struct Recipient {
    user: Uid,
    group: Gid,
}

fn give_in(folder: BorrowedFd<'_>, name: impl Arg, to: &Recipient) -> io::Result<()> {
    let one = openat(folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let stat = fstat(&one)?;
    let is_folder = FileType::from_raw_mode(stat.st_mode).is_dir();
    if is_folder {
        let listed = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(&one, c".", listed, Mode::empty())?;
        for entry in Dir::read_from(&opened)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                give_in(opened.as_fd(), entry.file_name(), to)?;
            }
        }
    }
    if is_folder || stat.st_nlink == 1 {
        chownat(&one, c"", Some(to.user), Some(to.group), AtFlags::EMPTY_PATH)?;
    }
    Ok(())
}

/// Lets a group read what is in a folder, also what is put there later.
///
/// # Errors
///
/// When the machine does not let us.
pub fn share(folder: &Path, group: u32) -> io::Result<()> {
    let metadata = folder.symlink_metadata()?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let more = if metadata.is_dir() { 0o2050 } else { 0o040 };
    let mode = metadata.mode() & 0o7777;
    // A change of the group may take the other bit away, and so comes first.
    if metadata.gid() != group {
        lchown(folder, None, Some(group))?;
    }
    if metadata.gid() != group || mode & more != more {
        fs::set_permissions(folder, Permissions::from_mode(mode | more))?;
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(folder)? {
            match share(&entry?.path(), group) {
                // Others fetch and tidy meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
    }
    Ok(())
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
const PASSAGES: [&str; 6] =
    ["runs", "environments", "caches", "mirrors", "mirrors-blobless", "mirrors-shallow"];

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
        assert_eq!(outside.path().metadata().unwrap().mode(), before);
    }

    #[test]
    fn what_is_given_away_is_so_to_its_depth_and_nothing_that_a_link_leads_to() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(folder.path().join("inner")).unwrap();
        fs::write(folder.path().join("inner/x"), "x").unwrap();
        fs::write(outside.path().join("x"), "x").unwrap();
        symlink(outside.path(), folder.path().join("link")).unwrap();
        fs::hard_link(outside.path().join("x"), folder.path().join("hard")).unwrap();
        if !rustix::process::geteuid().is_root() {
            return;
        }
        give(folder.path(), 65_534, 65_534).unwrap();
        let owner = |path: &Path| path.symlink_metadata().unwrap().uid();
        assert_eq!(
            (owner(&folder.path().join("inner/x")), owner(&folder.path().join("link"))),
            (65_534, 65_534)
        );
        assert_eq!((owner(outside.path()), owner(&outside.path().join("x"))), (0, 0));
    }
}
