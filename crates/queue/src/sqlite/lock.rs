use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::config::OpenError;
use super::disk;

/// The right to a store, for as long as it lives. The kernel takes it back when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock file of a store.
    pub(super) fn take(store: &Path) -> Result<Self, OpenError> {
        disk::check(store)?;
        let path = beside(store, ".lock");
        let refused = |source| OpenError::Io { path: path.clone(), source };
        let mut file = private(&path).map_err(refused)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(OpenError::InUse { path: store.into(), owner: owner(&mut file), lock: path });
            }
            Err(errno) => return Err(refused(errno.into())),
        }
        let named = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        named.map_err(refused)?;
        // SQLite gives its other files the mode of this one.
        private(store).map_err(|source| OpenError::Io { path: store.into(), source })?;
        Ok(Self { _file: file })
    }
}

/// Opens a file, and makes it for our user alone if there is none: a store says who trains what.
pub(super) fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn owner(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The file of a store that has its name and this ending.
pub(super) fn beside(store: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(store);
    name.push(ending);
    name.into()
}
