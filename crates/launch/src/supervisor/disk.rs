//! What the files under a directory take up on the disk, in which a run may have made millions of them.

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
}

impl DiskUse {
    pub(super) fn of(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), under_way: None }
    }

    /// Counts for so long. What cannot be read is not counted, and links are not followed.
    pub(super) fn count(&mut self, within: Duration) -> Counted {
        let until = Instant::now() + within;
        let Ok(top) = Beneath::at(&self.directory) else { return Counted::All(0) };
        let (mut folders, mut bytes) = self.under_way.take().unwrap_or_else(|| (vec![PathBuf::new()], 0));
        while let Some(folder) = folders.pop() {
            if folders.len() > MOST_FOLDERS {
                return Counted::TooMany;
            }
            bytes += size_of_files(&top, &folder, &mut folders);
            if Instant::now() >= until && !folders.is_empty() {
                self.under_way = Some((folders, bytes));
                return Counted::AtLeast(bytes);
            }
        }
        Counted::All(bytes)
    }
}

/// Adds up the files right in a folder; the folders in it are put with those to be counted.
fn size_of_files(top: &Beneath, folder: &Path, folders: &mut Vec<PathBuf>) -> u64 {
    // One that is too deep to be named is too deep for a path of the run's own, too.
    let Ok(within) = top.folder(folder) else { return 0 };
    let mut bytes = 0;
    let counted = within.for_each(|entry| {
        if entry.is_dir {
            folders.push(folder.join(&entry.name));
        } else {
            // A link takes up what its own name does.
            bytes += within.metadata(&entry.name).map_or(0, |metadata| metadata.blocks() * BLOCK);
        }
        folders.len() <= MOST_FOLDERS
    });
    counted.map_or(0, |()| bytes)
}

const MOST_FOLDERS: usize = 1_000_000;
/// `st_blocks` counts in these, whatever the file system.
const BLOCK: u64 = 512;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

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
}
