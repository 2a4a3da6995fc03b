//! Files of commits in a blobless mirror, which come when they are needed.

use swifthook_core::{CommitSha, WorkspaceError};

use super::config::History;
use super::mirror::{Fetched, Mirror};

impl Mirror {
    /// Makes sure that every file of a commit that is here is here too.
    pub(super) async fn fetch_files(&self, commit: &CommitSha) -> Result<(), WorkspaceError> {
        if self.remote.history != History::Blobless {
            return Ok(());
        }
        let listed = self
            .git("look for missing files")
            .args(["rev-list", "--objects", "--missing=print", "--no-object-names", "--end-of-options"])
            .arg(format!("{commit}^{{tree}}"))
            .output()
            .await?;
        let listed = String::from_utf8_lossy(&listed);
        self.fetch_objects(listed.lines().filter_map(|line| line.strip_prefix('?')).collect()).await
    }

    /// Makes sure that one object is here.
    pub(super) async fn fetch_object(&self, object: &str) -> Result<(), WorkspaceError> {
        let is_full = self.remote.history != History::Blobless;
        if is_full || self.git("look for a file").args(["cat-file", "-e", object]).output().await.is_ok() {
            return Ok(());
        }
        self.fetch_objects(vec![object]).await
    }

    async fn fetch_objects(&self, missing: Vec<&str>) -> Result<(), WorkspaceError> {
        if missing.is_empty() {
            return Ok(());
        }
        let lock = self.lock().await?;
        for some in missing.chunks(AT_ONCE) {
            let wanted: Vec<String> = some.iter().map(|object| (*object).to_owned()).collect();
            if let Fetched::No = self.fetch(&lock, &wanted, None).await? {
                return Err(WorkspaceError::permanent(format!(
                    "`{}` does not give away single files: it needs `history = \"full\"`",
                    self.remote.name
                )));
            }
        }
        Ok(())
    }
}

/// How many objects are named in one call: as arguments, of which a system takes so many.
const AT_ONCE: usize = 10_000;
