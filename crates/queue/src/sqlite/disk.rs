//! What kind of file system a store is on. SQLite relies on its locks, and on memory that processes share by a file:
//! <https://www.sqlite.org/wal.html#overview>, <https://www.sqlite.org/howtocorrupt.html#_filesystems_with_broken_or_missing_lock_implementations>.

use std::path::Path;

use rustix::fs::statfs;

use super::config::OpenError;

/// Says so where the file system of a store is one over a network, and refuses it where locks on it are known to bind
/// nobody else.
pub(super) fn check(store: &Path) -> Result<(), OpenError> {
    let folder = store.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Why it cannot be looked at is told when it cannot be opened either.
    let Ok(found) = statfs(folder) else { return Ok(()) };
    // As the kernel has it: 32 bits, of either sign by the machine.
    match kind(found.f_type as u32) {
        Kind::Local => Ok(()),
        Kind::Remote(name) => {
            tracing::warn!(
                store = %store.display(),
                file_system = name,
                "the store is on a network file system: a lock or a write that is lost there damages it; put it on a \
                 disk of this machine, or use PostgreSQL"
            );
            Ok(())
        }
        Kind::Lockless(name) => Err(OpenError::NoLocks { path: store.into(), file_system: name }),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Local,
    /// Others may have it too, and what they see is not always what is.
    Remote(&'static str),
    /// Locks are accepted, or refused, and bind nobody else.
    Lockless(&'static str),
}

/// By the numbers of statfs(2): <https://man7.org/linux/man-pages/man2/statfs.2.html>.
fn kind(magic: u32) -> Kind {
    match magic {
        0x6969 => Kind::Remote("NFS"),
        0x517b | 0xfe53_4d42 | 0xff53_4d42 => Kind::Remote("SMB"),
        // sshfs, s3fs and their kin have no number of their own.
        0x6573_5546 => Kind::Remote("FUSE"),
        0x0102_1997 => Kind::Remote("9P"),
        0x00c3_6400 => Kind::Remote("Ceph"),
        0x0bd0_0bd0 => Kind::Remote("Lustre"),
        0x4750_4653 => Kind::Remote("GPFS"),
        0x1983_0326 => Kind::Remote("BeeGFS"),
        0x0116_1970 => Kind::Remote("GFS2"),
        0x7461_636f => Kind::Remote("OCFS2"),
        // Locks of parts of a file are granted on each machine for itself.
        0x5346_414f | 0x6b41_4653 => Kind::Lockless("AFS"),
        0x7375_7245 => Kind::Lockless("Coda"),
        0x564c => Kind::Lockless("NCP"),
        // No memory is shared by its files, nor locked.
        0x786f_4256 => Kind::Lockless("vboxsf"),
        _ => Kind::Local,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_are_known_by_their_numbers() {
        for (magic, kind_of_it) in [
            (0xef53, Kind::Local),
            (0x5846_5342, Kind::Local),
            (0x9123_683e, Kind::Local),
            (0x794c_7630, Kind::Local),
            (0x0102_1994, Kind::Local),
            (0x6969, Kind::Remote("NFS")),
            (0xff53_4d42, Kind::Remote("SMB")),
            (0xfe53_4d42, Kind::Remote("SMB")),
            (0x6573_5546, Kind::Remote("FUSE")),
            (0x5346_414f, Kind::Lockless("AFS")),
            (0x786f_4256, Kind::Lockless("vboxsf")),
        ] {
            assert_eq!(kind(magic), kind_of_it, "{magic:x}");
        }
    }

    #[test]
    fn a_store_in_a_folder_of_this_machine_or_in_none_is_not_refused() {
        assert!(check(Path::new("/proc/self/swifthook.db")).is_ok());
        assert!(check(Path::new("swifthook.db")).is_ok());
        assert!(check(Path::new("/no/such/folder/swifthook.db")).is_ok());
    }
}
