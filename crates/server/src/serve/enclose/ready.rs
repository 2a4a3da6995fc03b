//! The state directory, made ready by root for a run of another user.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use swifthook_core::Account;
use swifthook_launch::{give, give_beneath, leave_a_way, make_for};

use crate::serve::uv::ENVIRONMENTS;

/// Parts of the state directory that one run needs, or something that comes before it.
pub(super) struct Ready {
    pub(super) state_dir: PathBuf,
    pub(super) account: Account,
    /// A folder that is kept for runs of this user.
    pub(super) cache: Option<PathBuf>,
    /// Caches that others may have too: they are made where they are missing.
    pub(super) caches: Vec<PathBuf>,
    /// A checkpoint of another user's, perhaps: before the recipe had a sandbox, its runs were root's.
    pub(super) checkpoint: Option<PathBuf>,
}

impl Ready {
    /// # Errors
    ///
    /// Reason for which it cannot be done.
    pub(super) fn make(&self) -> io::Result<()> {
        let Account { user, group, .. } = self.account;
        self.reach()?;
        let mut through = vec![self.state_dir.join(ENVIRONMENTS)];
        if let Some(cache) = &self.cache {
            DirBuilder::new().mode(0o700).recursive(true).create(cache)?;
            give_once(cache, user, group)?;
            through.extend(cache.parent().map(Path::to_owned));
        }
        for cache in self.caches.iter().filter(|cache| !cache.exists()) {
            make_for(cache, user, group)?;
        }
        if let Some(checkpoint) = &self.checkpoint {
            let runs = self.state_dir.join(RUNS);
            let path = checkpoint.strip_prefix(&runs).map_err(io::Error::other)?;
            give_beneath(&runs, path, user, group)?;
        }
        let through: Vec<_> = through.iter().map(PathBuf::as_path).filter(|folder| folder.is_dir()).collect();
        leave_a_way(&self.state_dir, &through)
    }

    /// Tells whether others come as far as the state directory.
    fn reach(&self) -> io::Result<()> {
        for folder in self.state_dir.ancestors().skip(1) {
            let metadata = folder.metadata()?;
            let (is_theirs, mode) = (metadata.uid() == self.account.user, metadata.mode());
            if mode & 0o001 == 0 && !is_theirs {
                return Err(io::Error::other(format!(
                    "runs of another user than root do not come to `{}`, since `{}` lets nobody through: `chmod o+x {1}`, \
                     or another `state_dir`",
                    self.state_dir.display(),
                    folder.display()
                )));
            }
        }
        Ok(())
    }
}

/// Not again what is theirs: it may be large.
fn give_once(path: &Path, user: u32, group: u32) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.uid() == user => Ok(()),
        Ok(_) => give(path, user, group),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The folder of all runs.
pub(super) const RUNS: &str = "runs";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_state_directory_that_nobody_else_comes_to_is_told() {
        let closed = tempfile::tempdir().unwrap();
        fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).unwrap();
        fs::create_dir(closed.path().join("state")).unwrap();
        let account = Account { user: 0x7000_0001, group: 1, groups: Vec::new(), name: None };
        let state_dir = closed.path().join("state");
        let ready = Ready { state_dir, account, cache: None, caches: Vec::new(), checkpoint: None };
        let why = ready.make().unwrap_err().to_string();
        assert!(why.contains(&format!("`chmod o+x {}`", closed.path().display())), "{why}");
    }
}
