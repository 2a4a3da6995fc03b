//! What the files under a directory take up on the disk, in which a run may have made millions of them.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::beneath::Beneath;

/// A count that goes on from one look to the next: a supervisor has other things to do.
#[derive(Debug)]
pub(super) struct DiskUse {
    directory: PathBuf,
    /// Folders that are still to be counted, relative to it, and what was counted so far.
    under_way: Option<(Vec<PathBuf>, u64)>,
}

/// Result of a look at the disk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// So many bytes, or more: the count goes on.
    AtLeast(u64),
    /// All of them.
    All(u64),
    /// There are more folders than anybody counts.
    TooMany,
    /// Something cannot be counted, as its owner has it: it is closed to us, or too deep for a path.
    OutOfSight,
}

impl DiskUse {
    pub(super) fn of(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), under_way: None }
    }

    /// Counts for so long. Links are not followed, and what is gone by now is not counted.
    pub(super) fn count(&mut self, within: Duration) -> Counted {
        let until = Instant::now() + within;
        let top = match Beneath::at(&self.directory) {
            Ok(top) => top,
            Err(error) if is_out_of_sight(&error) => return Counted::OutOfSight,
            Err(_) => return Counted::All(0),
        };
        let (mut folders, mut bytes) = self.under_way.take().unwrap_or_else(|| (vec![PathBuf::new()], 0));
        while let Some(folder) = folders.pop() {
            if folders.len() > MOST_FOLDERS {
                return Counted::TooMany;
            }
            match size_of_files(&top, &folder, &mut folders) {
                Ok(more) => bytes += more,
                Err(error) if is_out_of_sight(&error) => return Counted::OutOfSight,
                // It was removed, or something else stands in its place.
                Err(_) => {}
            }
            if Instant::now() >= until && !folders.is_empty() {
                self.under_way = Some((folders, bytes));
                return Counted::AtLeast(bytes);
            }
        }
        Counted::All(bytes)
    }
}

/// Adds up the files right in a folder; the folders in it are put with those to be counted.
fn size_of_files(top: &Beneath, folder: &Path, folders: &mut Vec<PathBuf>) -> io::Result<u64> {
    let within = top.folder(folder)?;
    let (mut bytes, mut closed) = (0, None);
    within.for_each(|entry| {
        if entry.is_dir {
            folders.push(folder.join(&entry.name));
        } else {
            // A link takes up what its own name does.
            match within.metadata(&entry.name) {
                Ok(metadata) => bytes += metadata.blocks() * BLOCK,
                Err(error) => closed = Some(error).filter(is_out_of_sight).or(closed.take()),
            }
        }
        closed.is_none() && folders.len() <= MOST_FOLDERS
    })?;
    closed.map_or(Ok(bytes), Err)
}

/// A run may go by steps to where no path is short enough, and opens its own folders again as soon as nobody looks.
fn is_out_of_sight(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidFilename)
}

const MOST_FOLDERS: usize = 1_000_000;
/// `st_blocks` counts in these, whatever the file system.
const BLOCK: u64 = 512;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_is_in_a_directory_is_counted_to_its_depth_and_links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("a/b")).unwrap();
        fs::write(directory.path().join("a/b/c"), vec![1; 1 << 20]).unwrap();
        symlink("/usr", directory.path().join("link")).unwrap();
        let Counted::All(size) = DiskUse::of(directory.path()).count(LONG) else { panic!("it has the time") };
        assert!((1 << 20..2 << 20).contains(&size), "{size}");
        assert_eq!(DiskUse::of(Path::new("/no/such/directory")).count(LONG), Counted::All(0));
    }

    #[test]
    fn a_count_goes_on_where_its_time_was_up() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            fs::create_dir(directory.path().join(name)).unwrap();
            fs::write(directory.path().join(name).join("file"), vec![1; 1 << 20]).unwrap();
        }
        let mut used = DiskUse::of(directory.path());
        let mut last = 0;
        for _ in 0..3 {
            let Counted::AtLeast(bytes) = used.count(Duration::ZERO) else { panic!("there is more") };
            assert!(bytes >= last);
            last = bytes;
        }
        let Counted::All(all) = used.count(Duration::ZERO) else { panic!("that was all") };
        assert!(all >= 3 << 20 && all > last, "{all}");
        assert_eq!(used.count(LONG), Counted::All(all), "the next begins anew");
    }

    #[test]
    fn a_tree_of_thousands_of_folders_in_one_another_is_no_end() {
        let directory = tempfile::tempdir().unwrap();
        let mut at = directory.path().to_owned();
        for _ in 0..1_500 {
            at.push("d");
            fs::create_dir(&at).unwrap();
        }
        fs::write(at.join("file"), vec![1; 1 << 20]).unwrap();
        let Counted::All(size) = DiskUse::of(directory.path()).count(LONG) else { panic!("it has the time") };
        assert!(size >= 1 << 20, "{size}");
    }

    #[test]
    fn what_is_too_deep_for_a_path_is_not_taken_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut at = Beneath::at(directory.path()).unwrap();
        let name = "d".repeat(200);
        for _ in 0..30 {
            at.make_folder(&name).unwrap();
            at = at.folder(&name).unwrap();
        }
        assert_eq!(DiskUse::of(directory.path()).count(LONG), Counted::OutOfSight);
        crate::remove_tree(&directory.path().join(&name)).unwrap();
        assert_eq!(DiskUse::of(directory.path()).count(LONG), Counted::All(0));
    }

    #[test]
    fn what_a_run_has_closed_is_not_taken_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let closed = directory.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::write(closed.join("file"), vec![1; 1 << 20]).unwrap();
        for mode in [0o000, 0o400, 0o100] {
            fs::set_permissions(&closed, fs::Permissions::from_mode(mode)).unwrap();
            let counted = DiskUse::of(directory.path()).count(LONG);
            // Nothing is closed to root.
            match rustix::process::geteuid().is_root() {
                true => {
                    assert!(matches!(counted, Counted::All(size) if size >= 1 << 20), "{mode:o}: {counted:?}")
                }
                false => assert_eq!(counted, Counted::OutOfSight, "{mode:o}"),
            }
        }
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(
            is_out_of_sight(&rustix::io::Errno::ACCESS.into())
                && is_out_of_sight(&rustix::io::Errno::NAMETOOLONG.into())
        );
        assert!(
            !is_out_of_sight(&rustix::io::Errno::NOENT.into())
                && !is_out_of_sight(&rustix::io::Errno::LOOP.into())
        );
    }
}
