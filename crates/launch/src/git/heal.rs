//! A mirror belongs to this program, and everything in it can be fetched again: what is broken is thrown away.

use std::fs;
use std::path::Path;

use swifthook_core::{Problem, WorkspaceError};

use super::failure::is_suspicious;
use super::lock::Lock;
use super::mirror::{Mirror, not_made, remove};

impl Mirror {
    /// Whether it is worth trying again after `error`, which something that used this mirror came to: the mirror was
    /// damaged, and is empty now.
    ///
    /// # Errors
    ///
    /// The same error, if the mirror is sound.
    pub(super) async fn mend(&self, error: WorkspaceError) -> Result<(), WorkspaceError> {
        let is_suspect = !error.is_permanent() && is_suspicious(&error.to_string());
        if !is_suspect || !self.path.exists() || self.is_sound().await {
            return Err(error);
        }
        let (_alone, _lock) = (self.alone().await?, self.lock().await?);
        // Somebody else may have made it anew while we waited.
        if self.is_sound().await {
            return Ok(());
        }
        tracing::warn!(mirror = %self.path.display(), %error, "the mirror is damaged, and is fetched anew");
        let broken = self.path.with_extension("broken");
        remove(&broken).map_err(not_made)?;
        fs::rename(&self.path, &broken).map_err(not_made)?;
        let removed = tokio::task::spawn_blocking(move || remove(&broken)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%error, "the damaged mirror cannot be removed");
        }
        Ok(())
    }

    /// Looks at every object. It takes as long as reading them.
    async fn is_sound(&self) -> bool {
        let checked = self.git("check the mirror").args(["fsck", "--no-dangling", "--no-progress"]).output();
        checked.await.is_ok()
    }

    /// Removes what calls of git that were killed, or for which the disk was too small, have left: their locks and
    /// unfinished files. Under the lock there is nobody else to whom they could belong.
    pub(super) fn clear_debris(&self, _lock: &Lock<'_>) {
        for folder in ["", "objects", "objects/pack", "objects/info", "objects/info/commit-graphs"] {
            clear_folder(&self.path.join(folder), 0);
        }
        clear_folder(&self.path.join("refs"), 3);
        // Loose objects: `objects/ab/tmp_obj_…`.
        let fans = fs::read_dir(self.path.join("objects")).into_iter().flatten().flatten();
        fans.filter(|fan| fan.file_name().len() == 2).for_each(|fan| clear_folder(&fan.path(), 0));
    }
}

fn clear_folder(folder: &Path, depth: u32) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let is_debris = [".lock", ".keep"].iter().any(|end| name.ends_with(end))
            || ["tmp_", ".tmp-", "gc.pid"].iter().any(|begin| name.starts_with(begin));
        match (is_debris, is_folder) {
            (true, true) => drop(remove(&entry.path())),
            (true, false) => drop(fs::remove_file(entry.path())),
            (false, true) if depth > 0 => clear_folder(&entry.path(), depth - 1),
            (false, _) => {}
        }
    }
}
