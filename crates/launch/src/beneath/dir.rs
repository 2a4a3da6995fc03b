use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, fcntl_getfl, fcntl_setfl, openat, renameat_with,
    statat, unlinkat,
};

use super::resolve;

/// A directory in which somebody else writes, held by its descriptor: whoever renames it or puts a link in its place
/// leads nobody astray.
///
/// # Examples
///
/// ```
/// # use swifthook_launch::Beneath;
/// # fn show(run_dir: &std::path::Path) -> std::io::Result<()> {
/// let directory = Beneath::at(run_dir)?;
/// let end = directory.end_of("log", 4096)?; // an error where `log` is a link, a pipe or a folder
/// # drop(end);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Beneath {
    fd: OwnedFd,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name within the directory.
    pub name: OsString,
    /// A real folder: a link to one is none.
    pub is_dir: bool,
    /// A regular file.
    pub is_file: bool,
}

impl Beneath {
    /// The directory at `path`. Its last name may be no link; those before it are ours, and are followed.
    ///
    /// # Errors
    ///
    /// If there is no such directory.
    pub fn at(path: impl AsRef<Path>) -> io::Result<Self> {
        let flags = FOLDER | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(Self { fd: openat(CWD, path.as_ref(), flags, Mode::empty())? })
    }

    /// Opens it also for whoever may pass through the directory and not list it: what is beneath can be held, and no more.
    pub(crate) fn passage(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(Self { fd: openat(CWD, path, flags, Mode::empty())? })
    }

    /// The folder at `path` beneath it.
    ///
    /// # Errors
    ///
    /// If there is none, or a link is on the way.
    pub fn folder(&self, path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self { fd: resolve::open(self.fd.as_fd(), path.as_ref(), FOLDER, Mode::empty())? })
    }

    /// The regular file at `path` beneath it, to read from.
    ///
    /// # Errors
    ///
    /// If there is none, it is something else, or a link is on the way.
    pub fn file(&self, path: impl AsRef<Path>) -> io::Result<File> {
        self.regular(path.as_ref(), OFlags::RDONLY)
    }

    /// Opens one to append to; it is made for our user alone if it is not there.
    ///
    /// # Errors
    ///
    /// As [`file`](Self::file).
    pub fn append(&self, path: impl AsRef<Path>) -> io::Result<File> {
        self.regular(path.as_ref(), OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE)
    }

    /// Opens one to read from and write to.
    ///
    /// # Errors
    ///
    /// As [`file`](Self::file).
    pub fn read_write(&self, path: impl AsRef<Path>) -> io::Result<File> {
        self.regular(path.as_ref(), OFlags::RDWR | OFlags::CREATE)
    }

    /// A file that was not there, to append to.
    ///
    /// # Errors
    ///
    /// If there is anything of that name, also a link that leads nowhere.
    pub fn create_new(&self, path: impl AsRef<Path>) -> io::Result<File> {
        self.regular(path.as_ref(), OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL)
    }

    /// Returns the metadata of the entry at `path` itself, which may be a link, without opening it.
    ///
    /// # Errors
    ///
    /// If there is none, or a link is on the way.
    pub fn metadata(&self, path: impl AsRef<Path>) -> io::Result<Metadata> {
        let fd = resolve::open(self.fd.as_fd(), path.as_ref(), OFlags::PATH, Mode::empty())?;
        File::from(fd).metadata()
    }

    /// Tells of anything of this name, be it a link.
    ///
    /// # Errors
    ///
    /// If that cannot be told.
    pub fn has(&self, name: &str) -> io::Result<bool> {
        match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// At most `most` bytes of a file, from `from` on.
    ///
    /// # Errors
    ///
    /// As [`file`](Self::file), and when it cannot be read.
    pub fn read(&self, path: impl AsRef<Path>, from: u64, most: u64) -> io::Result<Vec<u8>> {
        let mut file = self.file(path)?;
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// All of a file that has at most `most` bytes.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), and when it is longer.
    pub fn read_all(&self, path: impl AsRef<Path>, most: u64) -> io::Result<Vec<u8>> {
        let path = path.as_ref();
        let bytes = self.read(path, 0, most + 1)?;
        if bytes.len() as u64 > most {
            let message = format!("`{}` has more than {most} bytes", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(bytes)
    }

    /// The last bytes of a file.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn end_of(&self, path: impl AsRef<Path>, most: u64) -> io::Result<Vec<u8>> {
        let mut file = self.file(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Lists at most so many entries, in no order. What is left out is not told.
    ///
    /// # Errors
    ///
    /// If it cannot be listed.
    pub fn entries(&self, most: usize) -> io::Result<Vec<Entry>> {
        let mut found = Vec::new();
        if most > 0 {
            self.for_each(|entry| {
                found.push(entry);
                found.len() < most
            })?;
        }
        Ok(found)
    }

    /// Shows its entries one by one, for as long as more are wanted.
    pub(crate) fn for_each(&self, mut wants_more: impl FnMut(Entry) -> bool) -> io::Result<()> {
        for entry in Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => self.kind(name),
                kind => kind,
            };
            let (is_dir, is_file) = (kind == FileType::Directory, kind == FileType::RegularFile);
            if !wants_more(Entry { name: name.to_owned(), is_dir, is_file }) {
                break;
            }
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn make_folder(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.fd, name, Mode::RWXU)?)
    }

    /// Puts one file in the place of another. Both are names in this directory.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat_with(&self.fd, from, &self.fd, to, RenameFlags::empty())?)
    }

    /// Removes a file, or a link; that it is not there is no error.
    ///
    /// # Errors
    ///
    /// If it cannot be removed, as a folder.
    pub fn remove_file(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.fd, name, AtFlags::empty()) {
            Err(rustix::io::Errno::NOENT) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Returns the metadata of the directory itself.
    pub(crate) fn own_metadata(&self) -> io::Result<Metadata> {
        self.metadata("")
    }

    /// Writes to the disk which entries it has.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.fd)?)
    }

    /// A pipe of this name to write to, or what somebody has put in its place; an error if nobody reads from it.
    pub(crate) fn pipe(&self, name: &str) -> io::Result<File> {
        Ok(resolve::open(self.fd.as_fd(), Path::new(name), OFlags::WRONLY, Mode::empty())?.into())
    }

    /// Entry at `path` beneath it, a link too, held and not opened.
    pub(crate) fn hold(&self, path: &Path) -> io::Result<OwnedFd> {
        resolve::open(self.fd.as_fd(), path, OFlags::PATH, Mode::empty())
    }

    /// A folder beneath it that need not be one to read.
    pub(super) fn place(&self, path: &Path) -> io::Result<OwnedFd> {
        resolve::open(self.fd.as_fd(), path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    fn kind(&self, name: &OsStr) -> FileType {
        let stat = statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW);
        stat.map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode))
    }

    fn regular(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        // `openat2` takes one for what is made alone.
        let mode = if flags.contains(OFlags::CREATE) { Mode::RUSR | Mode::WUSR } else { Mode::empty() };
        let file = File::from(resolve::open(self.fd.as_fd(), path, flags, mode)?);
        // Of what was opened: what stands there now may be something else.
        if !file.metadata()?.is_file() {
            let message = format!("`{}` is no regular file", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        // Whoever gets it reads and writes as ever.
        fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
        Ok(file)
    }
}

/// The path of `place` beneath `folder`, be it relative to it or absolute; `None` if it leads anywhere else.
pub(crate) fn place_beneath(folder: &Path, place: &str) -> Option<PathBuf> {
    let place = Path::new(place);
    let rest = if place.is_absolute() { place.strip_prefix(folder).ok()? } else { place };
    let mut clean = PathBuf::new();
    for part in rest.components() {
        match part {
            std::path::Component::Normal(name) => clean.push(name),
            std::path::Component::CurDir => {}
            _ => return None,
        }
    }
    Some(clean)
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::mkfifoat;

    use super::*;

    fn world() -> (tempfile::TempDir, Beneath) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("run/output/a")).unwrap();
        fs::write(folder.path().join("secret"), "token").unwrap();
        fs::write(folder.path().join("run/output/a/file"), "0123456789").unwrap();
        let run = Beneath::at(folder.path().join("run")).unwrap();
        (folder, run)
    }

    #[test]
    fn what_is_there_is_read_within_its_bounds() {
        let (_folder, run) = world();
        assert_eq!(run.read("output/a/file", 2, 3).unwrap(), b"234");
        assert_eq!(run.read("output/a/file", 99, 3).unwrap(), b"");
        assert!(
            run.metadata("output").unwrap().is_dir() && run.metadata("output/a/file").unwrap().len() == 10
        );
        assert!(run.own_metadata().unwrap().is_dir());
        assert_eq!(run.end_of("output/a/file", 2).unwrap(), b"89");
        assert_eq!(run.read_all("output/a/file", 10).unwrap().len(), 10);
        let long = run.read_all("output/a/file", 9).unwrap_err();
        assert_eq!(long.to_string(), "`output/a/file` has more than 9 bytes");
        let output = run.folder("output").unwrap();
        assert_eq!(output.read("./a/file", 0, 1).unwrap(), b"0");
        assert_eq!(output.entries(9).unwrap(), [Entry { name: "a".into(), is_dir: true, is_file: false }]);
        assert_eq!(run.entries(0).unwrap(), []);
    }

    #[test]
    fn nothing_leads_out_of_a_directory() {
        let (folder, run) = world();
        let secret = folder.path().join("secret");
        symlink(&secret, folder.path().join("run/link")).unwrap();
        symlink("../secret", folder.path().join("run/up")).unwrap();
        symlink("output", folder.path().join("run/inside")).unwrap();
        symlink(folder.path(), folder.path().join("run/folder")).unwrap();
        symlink("/proc/self/cwd", folder.path().join("run/magic")).unwrap();
        for path in [
            "link",
            "up",
            "folder/secret",
            "inside/a/file",
            "magic/x",
            "../secret",
            "output/../../secret",
            secret.to_str().unwrap(),
        ] {
            for error in [
                run.file(path).map(drop).unwrap_err(),
                run.append(path).map(drop).unwrap_err(),
                run.folder(path).map(drop).unwrap_err(),
            ] {
                assert_ne!(error.kind(), io::ErrorKind::NotFound, "{path}: {error}");
            }
        }
        for path in ["folder/secret", "inside/a/file", "magic/x", "../secret"] {
            assert!(run.metadata(path).is_err(), "{path}");
        }
        assert!(run.metadata("link").unwrap().is_symlink());
        let told = run.file("link").unwrap_err().to_string();
        assert_eq!(told, "`link` is a symbolic link or leads over one, and is not followed");
        assert_eq!(run.file("../secret").unwrap_err().to_string(), "`../secret` leads out of the directory");
        assert!(Beneath::at(folder.path().join("run/folder")).is_err());
        assert!(run.create_new("link").is_err() && fs::read_to_string(&secret).unwrap() == "token");
    }

    #[test]
    fn without_openat2_it_is_the_same_name_by_name() {
        let (folder, run) = world();
        symlink(folder.path(), folder.path().join("run/folder")).unwrap();
        symlink("output", folder.path().join("run/inside")).unwrap();
        let open = |path: &str| {
            let names: Vec<_> = Path::new(path).iter().map(Path::new).collect();
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
            resolve::step_by_step(run.fd.as_fd(), &names, flags, Mode::empty())
        };
        assert!(open("output/a/file").is_ok() && open("").is_ok());
        for path in ["folder/secret", "inside/a/file", "inside", "absent"] {
            assert!(open(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_pipe_a_folder_and_a_socket_are_no_files_and_nobody_waits_for_them() {
        let (folder, run) = world();
        let pipe = folder.path().join("run/pipe");
        mkfifoat(CWD, &pipe, Mode::RWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("run/socket")).unwrap();
        for name in ["pipe", "socket", "output"] {
            let read = run.file(name).map(drop).unwrap_err();
            assert!(read.to_string().ends_with("is no regular file"), "{name}: {read}");
            assert!(run.append(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_directory_that_is_swapped_for_a_link_stays_the_one_that_was_opened() {
        let (folder, run) = world();
        let output = run.folder("output").unwrap();
        fs::rename(folder.path().join("run/output"), folder.path().join("moved")).unwrap();
        symlink(folder.path(), folder.path().join("run/output")).unwrap();
        assert!(output.file("secret").is_err() && output.file("a/file").is_ok());
        assert!(run.folder("output").is_err());
    }

    #[test]
    fn places_are_beneath_a_folder_or_nowhere() {
        let folder = Path::new("/state/runs/1-1/output");
        for (place, found) in [
            ("checkpoint-3", Some("checkpoint-3")),
            ("./a//b/", Some("a/b")),
            (".", Some("")),
            ("/state/runs/1-1/output/c", Some("c")),
            ("../../..", None),
            ("a/../../b", None),
            ("/etc/passwd", None),
            ("/state/runs/1-1/output/../../2-1", None),
            ("/state/runs/1-1/output-of-another", None),
        ] {
            assert_eq!(place_beneath(folder, place).as_deref(), found.map(Path::new), "{place}");
        }
    }
}
