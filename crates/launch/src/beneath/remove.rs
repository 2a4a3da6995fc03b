use std::ffi::OsStr;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, RenameFlags, chmod, renameat_with, statat, unlinkat};
use rustix::io::Errno;

use super::dir::Beneath;

/// Removes a directory with all that is in it; that it is not there is no error. Links are removed and not followed,
/// also such as are put in the place of a folder meanwhile. A link or a file at `path` itself goes too.
///
/// [`std::fs::remove_dir_all`] calls itself for each folder in a folder, and holds a descriptor for each: a run that nests
/// some thousands ends the program, or is never removed. Here whatever is deeper is moved up first.
///
/// # Errors
///
/// If something of it cannot be removed. Then there is a rest.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it has no name"));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let parent = match std::fs::canonicalize(parent).and_then(Beneath::at) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        parent => parent?,
    };
    let top = match open_to_empty(&parent, name) {
        Ok(Some(top)) => top,
        Ok(None) => return unlink(&parent, name),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    Emptying { top: &top, serial: 0 }.empty_all()?;
    match unlinkat(parent.fd(), name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        other => Ok(other?),
    }
}

/// A directory that is being emptied.
struct Emptying<'t> {
    top: &'t Beneath,
    /// Tells apart what was moved up.
    serial: u64,
}

impl Emptying<'_> {
    fn empty_all(&mut self) -> io::Result<()> {
        loop {
            let mut had_any = false;
            for entry in Dir::read_from(self.top.fd())? {
                let entry = entry?;
                let name = OsStr::from_bytes(entry.file_name().to_bytes());
                if name == "." || name == ".." {
                    continue;
                }
                had_any = true;
                self.remove(name)?;
            }
            // What was moved up meanwhile may not have been listed.
            if !had_any {
                return Ok(());
            }
        }
    }

    fn remove(&mut self, name: &OsStr) -> io::Result<()> {
        let Some(folder) = open_to_empty(self.top, name)? else { return unlink(self.top, name) };
        for entry in Dir::read_from(folder.fd())? {
            let entry = entry?;
            let below = OsStr::from_bytes(entry.file_name().to_bytes());
            if below == "." || below == ".." {
                continue;
            }
            match unlinkat(folder.fd(), below, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR | Errno::PERM) if is_folder(&folder, below) => {
                    self.take_out(&folder, below)?
                }
                Err(error) => return Err(error.into()),
            }
        }
        match unlinkat(self.top.fd(), name, AtFlags::REMOVEDIR) {
            // Something was put there meanwhile: the next round finds it.
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a folder in a folder, or moves it up if it is not empty.
    fn take_out(&mut self, from: &Beneath, name: &OsStr) -> io::Result<()> {
        match unlinkat(from.fd(), name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        // To move a folder it takes the right to write into it.
        open_to_empty(from, name)?;
        loop {
            self.serial += 1;
            let up = format!(".swifthook-gone-{}", self.serial);
            match renameat_with(from.fd(), name, self.top.fd(), &up, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                // Not every file system can tell; then one of that name, which only a run has made, is in the way.
                Err(Errno::INVAL | Errno::NOSYS) => {
                    match renameat_with(from.fd(), name, self.top.fd(), &up, RenameFlags::empty()) {
                        Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                        other => return Ok(other?),
                    }
                }
                other => return Ok(other?),
            }
        }
    }
}

/// The folder of this name, which its owner may have closed to himself; `None` for what is no folder.
fn open_to_empty(at: &Beneath, name: &OsStr) -> io::Result<Option<Beneath>> {
    let stat = statat(at.fd(), name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Ok(None);
    }
    if !Mode::from_raw_mode(stat.st_mode).contains(Mode::RWXU) {
        let closed = at.place(Path::new(name))?;
        // By its descriptor, which leads to nothing else: a folder that may not be read can be held, and not be changed.
        chmod(format!("/proc/self/fd/{}", closed.as_raw_fd()), Mode::RWXU)?;
    }
    at.folder(Path::new(name)).map(Some)
}

fn is_folder(at: &Beneath, name: &OsStr) -> bool {
    statat(at.fd(), name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

fn unlink(at: &Beneath, name: &OsStr) -> io::Result<()> {
    match unlinkat(at.fd(), name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use rustix::fs::mkdirat;

    use super::*;

    #[test]
    fn links_are_removed_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        fs::create_dir_all(outside.join("kept")).unwrap();
        fs::write(outside.join("precious"), "weights").unwrap();
        let run = folder.path().join("run");
        fs::create_dir_all(run.join("a/b/c")).unwrap();
        fs::write(run.join("a/b/file"), "x").unwrap();
        symlink(&outside, run.join("link")).unwrap();
        symlink(&outside, run.join("a/b/c/link")).unwrap();
        fs::create_dir(run.join(".swifthook-gone-1")).unwrap();
        remove_tree(&run).unwrap();
        assert!(!run.exists() && outside.join("kept").exists());
        assert_eq!(fs::read_to_string(outside.join("precious")).unwrap(), "weights");
        remove_tree(&run).unwrap();
        symlink(&outside, &run).unwrap();
        remove_tree(&run).unwrap();
        assert!(fs::symlink_metadata(&run).is_err() && outside.join("precious").exists());
    }

    #[test]
    fn a_tree_of_many_thousand_folders_in_one_another_goes() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        fs::create_dir(&run).unwrap();
        let mut at = Beneath::at(&run).unwrap();
        for _ in 0..5_000 {
            mkdirat(at.fd(), "d", Mode::RWXU).unwrap();
            at = at.folder("d").unwrap();
        }
        drop(at.append("file").unwrap());
        remove_tree(&run).unwrap();
        assert!(!run.exists());
    }

    #[test]
    fn a_folder_that_its_owner_has_closed_goes() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        fs::create_dir_all(run.join("a/b/c")).unwrap();
        fs::write(run.join("a/b/c/file"), "x").unwrap();
        for closed in ["a/b/c", "a/b", "a"] {
            fs::set_permissions(run.join(closed), fs::Permissions::from_mode(0o000)).unwrap();
        }
        remove_tree(&run).unwrap();
        assert!(!run.exists());
    }
}
