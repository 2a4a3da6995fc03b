use swifthook_core::{CommitSha, WorkspaceError};

use super::mirror::Mirror;

impl Mirror {
    /// One regular file of a commit that is here; see
    /// [`Workspace::read_file`](swifthook_core::Workspace::read_file).
    ///
    /// Git follows no link on the way either: what lies behind one is not in the tree.
    pub(super) async fn read_file(
        &self,
        commit: &CommitSha,
        path: &str,
        most_bytes: usize,
    ) -> Result<Vec<u8>, WorkspaceError> {
        let refused = |why: String| Err(WorkspaceError::permanent(format!("`{path}` {why}")));
        let is_inside = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        if !path.split('/').all(is_inside) {
            return refused("is no path of a file in a repository".to_owned());
        }
        let listed = self
            .git("look for a file")
            .args(["--literal-pathspecs", "ls-tree", "-z", "--full-tree"])
            .args(["--end-of-options", commit.as_str(), path])
            .output()
            .await?;
        let Some(entry) = entry(&listed, path) else {
            return refused(format!("is not in commit {commit}"));
        };
        match entry.mode {
            "100644" | "100755" => {}
            "120000" => return refused("is a symbolic link, which is not followed".to_owned()),
            "160000" => return refused("is a submodule".to_owned()),
            "040000" => return refused("is a directory".to_owned()),
            other => return refused(format!("is no regular file (mode {other})")),
        }
        self.fetch_object(entry.object).await?;
        let size = self.git("look for a file").args(["cat-file", "-s", entry.object]).output().await?;
        let size: u64 = String::from_utf8_lossy(&size).trim().parse().unwrap_or(u64::MAX);
        if size > most_bytes as u64 {
            return refused(format!("has {size} bytes, of which {most_bytes} are read at most"));
        }
        let read = self.git("read a file").args(["cat-file", "blob", entry.object]);
        Ok(read.writing_at_most(most_bytes).output().await?)
    }
}

struct Entry<'l> {
    mode: &'l str,
    object: &'l str,
}

/// `<mode> <type> <object>\t<path>\0`; `None` unless it is exactly this path.
fn entry<'l>(listed: &'l [u8], path: &str) -> Option<Entry<'l>> {
    let record = std::str::from_utf8(listed.strip_suffix(b"\0")?).ok()?;
    let (facts, name) = record.split_once('\t')?;
    let mut facts = facts.split_ascii_whitespace();
    let (mode, _type, object) = (facts.next()?, facts.next()?, facts.next()?);
    (name == path).then_some(Entry { mode, object })
}
