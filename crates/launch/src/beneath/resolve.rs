//! From a name to a descriptor, over no link and out of nothing.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// Opens what stands at `path` beneath `dir`. Nothing is waited for, and no link is followed, not even on the way.
pub(super) fn open(dir: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    let names = names(path)?;
    // What is only held is not waited for either, and takes no such flags.
    let at_once = OFlags::NONBLOCK | OFlags::NOCTTY;
    let at_once = if flags.contains(OFlags::PATH) { OFlags::empty() } else { at_once };
    let flags = flags | at_once | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let opened = match openat2(dir, path_or_itself(path), flags, mode, RESOLVE) {
        // A kernel before 5.6, or a filter of system calls that does not know it.
        Err(Errno::NOSYS | Errno::PERM) => step_by_step(dir, &names, flags, mode),
        other => other,
    };
    opened.map_err(|error| in_words(path, error))
}

/// Resolves with one call for each name.
pub(super) fn step_by_step(
    dir: BorrowedFd<'_>,
    names: &[&Path],
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let Some((last, before)) = names.split_last() else { return openat(dir, ".", flags, mode) };
    let mut at: Option<OwnedFd> = None;
    for name in before {
        let from = at.as_ref().map_or(dir, AsFd::as_fd);
        at = Some(openat(from, *name, FOLDER, Mode::empty())?);
    }
    openat(at.as_ref().map_or(dir, AsFd::as_fd), *last, flags, mode)
}

/// The names in a path that leads nowhere but down.
fn names(path: &Path) -> io::Result<Vec<&Path>> {
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => names.push(Path::new(name)),
            Component::CurDir => {}
            _ => {
                let message = format!("`{}` leads out of the directory", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
        }
    }
    Ok(names)
}

fn path_or_itself(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

fn in_words(path: &Path, error: Errno) -> io::Error {
    let what = match error {
        Errno::LOOP => "is a symbolic link or leads over one, and is not followed",
        Errno::XDEV => "leads out of the directory",
        // A pipe that is to be written to, or a socket.
        Errno::NXIO => "is no regular file",
        other => return other.into(),
    };
    io::Error::new(io::ErrorKind::InvalidInput, format!("`{}` {what}", path.display()))
}

/// <https://man7.org/linux/man-pages/man2/openat2.2.html>
const RESOLVE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
