use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, chownat, fstat, mkdirat, openat, readlinkat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};

/// Makes a folder that is missing and gives it to a user. On the way to it the links of this process's user and of root
/// are followed, where nobody else writes: others would have a folder made wherever they lead.
///
/// # Errors
///
/// If the machine does not let us, or the link of somebody else is on the way.
pub fn make_for(path: &Path, user: u32, group: u32) -> io::Result<()> {
    let mut at = openat(CWD, "/", HELD | OFlags::DIRECTORY, Mode::empty())?;
    let (mut rest, mut links, mut is_new) = (names(path), 0, false);
    while let Some(name) = rest.pop_front() {
        let next = match openat(&at, &name, HELD, Mode::empty()) {
            Err(Errno::NOENT) => {
                mkdirat(&at, &name, Mode::from_raw_mode(0o755))?;
                is_new = true;
                openat(&at, &name, HELD | OFlags::DIRECTORY, Mode::empty())?
            }
            next => next?,
        };
        if !FileType::from_raw_mode(fstat(&next)?.st_mode).is_symlink() {
            at = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS || !is_ours_alone(&fstat(&at)?) || !is_ours(&fstat(&next)?) {
            return Err(io::Error::other(format!(
                "`{}` leads over the link `{}`, which another user than root may have put there: make the folder yourself",
                path.display(),
                name.display()
            )));
        }
        let target = OsString::from_vec(readlinkat(&at, &name, Vec::new())?.into_bytes());
        if Path::new(&target).is_absolute() {
            at = openat(CWD, "/", HELD | OFlags::DIRECTORY, Mode::empty())?;
        }
        names(Path::new(&target)).into_iter().rev().for_each(|name| rest.push_front(name));
    }
    if is_new { own(&at, user, group) } else { Ok(()) }
}

fn names(path: &Path) -> VecDeque<OsString> {
    let is_name = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    path.components().filter(is_name).map(|part| OsStr::to_owned(part.as_os_str())).collect()
}

fn own(folder: &OwnedFd, user: u32, group: u32) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    Ok(chownat(folder, c"", Some(user), Some(group), AtFlags::EMPTY_PATH)?)
}

fn is_ours(stat: &Stat) -> bool {
    stat.st_uid == 0 || stat.st_uid == geteuid().as_raw()
}

fn is_ours_alone(folder: &Stat) -> bool {
    is_ours(folder) && folder.st_mode & 0o022 == 0
}

const HELD: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const MOST_LINKS: u32 = 40;

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_folder_is_made_behind_a_link_of_ours_and_behind_nobody_elses() {
        let (world, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (user, group) = (geteuid().as_raw(), rustix::process::getegid().as_raw());
        let shared = world.path().join("shared");
        fs::create_dir(&shared).unwrap();
        symlink(elsewhere.path(), world.path().join("disk")).unwrap();
        make_for(&world.path().join("disk/a/b"), user, group).unwrap();
        make_for(&shared.join("c"), user, group).unwrap();
        assert!(elsewhere.path().join("a/b").is_dir() && shared.join("c").is_dir());
        fs::set_permissions(&shared, Permissions::from_mode(0o777)).unwrap();
        symlink(elsewhere.path(), shared.join("x")).unwrap();
        let why = make_for(&shared.join("x/made"), user, group).unwrap_err().to_string();
        assert!(why.contains("leads over the link `x`"), "{why}");
        assert!(!elsewhere.path().join("made").exists());
    }
}
