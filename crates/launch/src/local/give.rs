//! Files of one user that are given to another, who may move them about meanwhile.

use std::ffi::CString;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, chownat, fstat, openat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use crate::beneath::Beneath;

/// Gives a file, or a folder with all that is in it, to a user. Links are not followed, though somebody puts them there
/// meanwhile, and a file that has another name elsewhere stays whose it is. A deep tree takes no more descriptors than a
/// flat one.
///
/// # Errors
///
/// If the machine does not let us, or a folder is moved elsewhere meanwhile.
pub fn give(path: &Path, user: u32, group: u32) -> io::Result<()> {
    Recipient::new(user, group).take(&openat(CWD, path, HELD, Mode::empty())?)
}

/// Gives what stands at `path` beneath `folder` to a user, unless it is theirs, and lets them through the folders that lead
/// to it. Nothing of this is done behind a link, though somebody puts one there meanwhile. That it is not there is no error.
///
/// # Errors
///
/// If the machine does not let us, or there is a link in `path`.
pub fn give_beneath(folder: &Path, path: &Path, user: u32, group: u32) -> io::Result<()> {
    let folder = Beneath::at(folder)?;
    let held = match folder.hold(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        held => held?,
    };
    // Not again what is theirs: it may be large.
    if fstat(&held)?.st_uid != user {
        Recipient::new(user, group).take(&held)?;
    }
    for above in path.ancestors().skip(1) {
        let above = folder.hold(above)?;
        let stat = fstat(&above)?;
        if stat.st_uid != user {
            // By its descriptor, which leads to nothing else.
            let mode = Permissions::from_mode(stat.st_mode & 0o7777 & !0o066 | 0o011);
            fs::set_permissions(format!("/proc/self/fd/{}", above.as_raw_fd()), mode)?;
        }
    }
    Ok(())
}

struct Recipient {
    user: Uid,
    group: Gid,
}

/// A folder on the way down.
struct Level {
    device_and_number: (u64, u64),
    /// Folders in it that are still to be given.
    folders: Vec<CString>,
}

impl Recipient {
    fn new(user: u32, group: u32) -> Self {
        Self { user: Uid::from_raw(user), group: Gid::from_raw(group) }
    }

    fn take(&self, top: &OwnedFd) -> io::Result<()> {
        let Some(mut at) = self.file_or_folder(top)? else { return Ok(()) };
        let (mut above, mut level) = (Vec::new(), self.level(&at)?);
        loop {
            if let Some(name) = level.folders.pop() {
                if let Some(folder) = self.entry(&at, &name)? {
                    above.push(std::mem::replace(&mut level, self.level(&folder)?));
                    at = folder;
                }
                continue;
            }
            self.own(&at)?;
            let Some(parent) = above.pop() else { return Ok(()) };
            at = openat(&at, c"..", LISTED, Mode::empty())?;
            level = parent;
            if device_and_number(&at)? != level.device_and_number {
                return Err(io::Error::other("a folder was moved while it was given to another user"));
            }
        }
    }

    /// Gives the files of a folder away and lists its folders.
    fn level(&self, folder: &OwnedFd) -> io::Result<Level> {
        let mut folders = Vec::new();
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") && self.entry(folder, name)?.is_some() {
                folders.push(name.to_owned());
            }
        }
        Ok(Level { device_and_number: device_and_number(folder)?, folders })
    }

    fn entry(&self, folder: &OwnedFd, name: &std::ffi::CStr) -> io::Result<Option<OwnedFd>> {
        match openat(folder, name, HELD, Mode::empty()) {
            Err(Errno::NOENT) => Ok(None),
            held => self.file_or_folder(&held?),
        }
    }

    /// Gives a file away; answers a folder to be listed.
    fn file_or_folder(&self, held: &OwnedFd) -> io::Result<Option<OwnedFd>> {
        let stat = fstat(held)?;
        if FileType::from_raw_mode(stat.st_mode).is_dir() {
            return Ok(Some(openat(held, c".", LISTED, Mode::empty())?));
        }
        if stat.st_nlink == 1 {
            self.own(held)?;
        }
        Ok(None)
    }

    fn own(&self, held: &OwnedFd) -> io::Result<()> {
        Ok(chownat(held, c"", Some(self.user), Some(self.group), AtFlags::EMPTY_PATH)?)
    }
}

fn device_and_number(folder: &OwnedFd) -> io::Result<(u64, u64)> {
    let stat = fstat(folder)?;
    Ok((stat.st_dev, stat.st_ino))
}

const HELD: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const LISTED: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use rustix::fs::mkdirat;

    use super::*;

    fn owner(path: &Path) -> u32 {
        path.symlink_metadata().unwrap().uid()
    }

    /// Those who may not give anything away give it to themselves.
    fn other() -> u32 {
        if rustix::process::geteuid().is_root() { 65_534 } else { rustix::process::geteuid().as_raw() }
    }

    #[test]
    fn what_is_given_away_is_so_to_its_depth_and_nothing_that_a_link_leads_to() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(folder.path().join("inner")).unwrap();
        fs::write(folder.path().join("inner/x"), "x").unwrap();
        fs::write(outside.path().join("x"), "x").unwrap();
        symlink(outside.path(), folder.path().join("link")).unwrap();
        fs::hard_link(outside.path().join("x"), folder.path().join("hard")).unwrap();
        let (before, other) = (owner(outside.path()), other());
        give(folder.path(), other, rustix::process::getegid().as_raw()).unwrap();
        for given in ["", "inner", "inner/x", "link"] {
            assert_eq!(owner(&folder.path().join(given)), other, "{given}");
        }
        assert_eq!((owner(outside.path()), owner(&outside.path().join("x"))), (before, before));
    }

    #[test]
    fn a_tree_of_many_thousand_folders_in_one_another_is_given_away() {
        let folder = tempfile::tempdir().unwrap();
        let mut at = openat(CWD, folder.path(), LISTED, Mode::empty()).unwrap();
        for _ in 0..5_000 {
            mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = openat(&at, "d", LISTED, Mode::empty()).unwrap();
        }
        give(folder.path(), other(), rustix::process::getegid().as_raw()).unwrap();
        assert_eq!((fstat(&at).unwrap().st_uid, owner(folder.path())), (other(), other()));
        drop(at);
        crate::remove_tree(&folder.path().join("d")).unwrap();
    }

    #[test]
    fn a_checkpoint_whose_folder_has_become_a_link_is_not_given_away() {
        let (runs, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let group = rustix::process::getegid().as_raw();
        fs::create_dir_all(runs.path().join("1-1/output/d")).unwrap();
        fs::write(runs.path().join("1-1/output/d/e"), "x").unwrap();
        fs::write(outside.path().join("e"), "x").unwrap();
        fs::set_permissions(outside.path(), Permissions::from_mode(0o700)).unwrap();
        let checkpoint = Path::new("1-1/output/d/e");
        give_beneath(runs.path(), checkpoint, other(), group).unwrap();
        assert_eq!(owner(&runs.path().join(checkpoint)), other());
        fs::remove_dir_all(runs.path().join("1-1/output/d")).unwrap();
        give_beneath(runs.path(), checkpoint, other(), group).unwrap();
        symlink(outside.path(), runs.path().join("1-1/output/d")).unwrap();
        let before = owner(outside.path());
        assert!(give_beneath(runs.path(), checkpoint, other(), group).is_err());
        assert_eq!((owner(&outside.path().join("e")), owner(outside.path())), (before, before));
        assert_eq!(outside.path().metadata().unwrap().mode() & 0o777, 0o700);
    }
}
