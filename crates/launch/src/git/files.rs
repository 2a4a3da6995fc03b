//! Files of commits in a blobless mirror, which come when they are needed.

use std::ops::ControlFlow;

use swifthook_core::{CommitSha, WorkspaceError};

use super::config::History;
use super::mirror::{Fetched, Mirror};
use super::process::Records;

impl Mirror {
    /// Makes sure that every file of a commit that is here is here too.
    pub(super) async fn fetch_files(&self, commit: &CommitSha) -> Result<(), WorkspaceError> {
        if self.remote.history != History::Blobless {
            return Ok(());
        }
        let mut missing = Vec::new();
        let mut take = |line: &[u8]| {
            let object = line.strip_prefix(b"?").and_then(|object| std::str::from_utf8(object).ok());
            missing.extend(object.map(str::to_owned));
            ControlFlow::Continue(())
        };
        self.git("look for missing files")
            .args(["rev-list", "--objects", "--missing=print", "--no-object-names", "--end-of-options"])
            .arg(format!("{commit}^{{tree}}"))
            .read_by(&mut Records::new(b'\n', &mut take))
            .await?;
        self.fetch_objects(&missing).await
    }

    /// Makes sure that one object is here.
    pub(super) async fn fetch_object(&self, object: &str) -> Result<(), WorkspaceError> {
        let is_full = self.remote.history != History::Blobless;
        if is_full || self.git("look for a file").args(["cat-file", "-e", object]).output().await.is_ok() {
            return Ok(());
        }
        self.fetch_objects(&[object.to_owned()]).await
    }

    async fn fetch_objects(&self, missing: &[String]) -> Result<(), WorkspaceError> {
        if missing.is_empty() {
            return Ok(());
        }
        let lock = self.lock().await?;
        for some in missing.chunks(AT_ONCE) {
            if let Fetched::No = self.fetch(&lock, some, None).await? {
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
