use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use swifthook_core::Mount;

use super::mounts::FOR_ALL;
use super::reach::{Reached, reach};

/// Folders that runs write to, in the order of their mounts.
#[derive(Default)]
pub(super) struct Written {
    folders: Vec<(usize, PathBuf)>,
    /// Folders that are covered, by their own path and by that which they lead to.
    covered: Vec<(usize, PathBuf)>,
}

impl Written {
    /// Finds those of some mounts, and makes the caches that are missing, behind no link of a run.
    pub(super) fn of(mounts: &[Mount]) -> Self {
        let mut all = Self::default();
        for (number, mount) in mounts.iter().enumerate() {
            if let Mount::Empty(path) = mount {
                let real = Path::new(path).canonicalize().ok();
                all.covered
                    .extend([Some(path.into()), real].into_iter().flatten().map(|path| (number, path)));
            }
        }
        // The outer first: where an inner one leads is a matter of whoever writes to the outer.
        let mut places: Vec<_> = mounts.iter().enumerate().flat_map(places).collect();
        places.sort_by_key(|(_, path, _)| path.components().count());
        for (number, path, is_cache) in places {
            if is_cache {
                all.make(path);
            }
            if let Ok(Reached::Real(real)) = all.reach(path)
                && (!is_cache || is_writable(&real))
            {
                all.folders.push((number, real));
            }
        }
        all
    }

    /// Goes along a path, as far as the folders that runs write to.
    pub(super) fn reach(&self, path: &Path) -> io::Result<Reached> {
        let folders = self.folders.iter().filter(|(number, folder)| !self.is_covered(*number, folder, path));
        reach(path, &folders.map(|(_, folder)| folder.clone()).collect::<Vec<_>>())
    }

    /// Tells whether a path is in a part of a folder that is covered after the folder is shown.
    fn is_covered(&self, number: usize, folder: &Path, path: &Path) -> bool {
        let is_within = |covered: &PathBuf| covered != folder && covered.starts_with(folder);
        self.covered
            .iter()
            .any(|(later, covered)| *later > number && is_within(covered) && path.starts_with(covered))
    }

    /// Done, with what came of it told by its mount.
    fn make(&self, path: &Path) {
        let Some(there) = path.ancestors().find(|path| path.symlink_metadata().is_ok()) else { return };
        let is_theirs = |real: &PathBuf| self.folders.iter().any(|(_, folder)| real.starts_with(folder));
        if let Ok(Reached::Real(real)) = self.reach(there)
            && !is_theirs(&real)
        {
            let _ = fs::create_dir_all(path);
        }
    }
}

/// The paths at which a run writes by a mount.
fn places((number, mount): (usize, &Mount)) -> Vec<(usize, &Path, bool)> {
    match mount {
        Mount::Cache(path) => vec![(number, Path::new(path), true)],
        Mount::Writable { from, at } => {
            // What is in a temporary folder is of this run alone.
            let is_temporary = FOR_ALL.contains(&at.as_str());
            let at = (!is_temporary).then(|| Path::new(at));
            [Some(Path::new(from)), at].into_iter().flatten().map(|path| (number, path, false)).collect()
        }
        _ => Vec::new(),
    }
}

pub(super) fn is_writable(folder: &Path) -> bool {
    folder.is_dir() && access(folder, Access::WRITE_OK).is_ok()
}
