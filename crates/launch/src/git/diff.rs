use std::io;
use std::ops::ControlFlow;

use swifthook_core::{ChangeSet, CommitSha, Gap, PathChange, Paths, Problem, RefName, WorkspaceError};

use super::mirror::Mirror;
use super::process::Records;

impl Mirror {
    /// What differs between `before` and `head`; see [`Workspace::diff`](swifthook_core::Workspace::diff).
    pub(super) async fn diff(
        &self,
        ref_name: &RefName,
        before: Option<&CommitSha>,
        head: &CommitSha,
    ) -> Result<ChangeSet, WorkspaceError> {
        let _use = self.in_use().await?;
        self.ensure(Some(ref_name), head).await?;
        let base = match before {
            Some(before) if self.ensure_before(ref_name, before, head).await? => before.as_str().to_owned(),
            _ => self.base_of_new(ref_name, head).await?,
        };
        let mut listed = Listed::default();
        let compared = self
            .git("compare trees")
            .args(["diff-tree", "-r", "-z", "--no-renames", "--no-ext-diff", "--name-status"])
            .args(["--end-of-options", &base, head.as_str()])
            .using_at_most(MOST_MEMORY)
            .read_by(&mut Records::new(0, |field| listed.take(field)))
            .await;
        match compared {
            // Git lists nothing before it knows all of it.
            Err(failure) if failure.is_out_of_memory() => listed.is_cut = true,
            other => other?,
        }
        // Off the async threads: there may be many.
        let packed = tokio::task::spawn_blocking(move || listed.pack()).await;
        packed
            .map_err(|error| WorkspaceError::passing("cannot compare trees").because(io::Error::other(error)))
    }

    /// Makes sure that `before` is here; `false` if the server no longer has it.
    async fn ensure_before(
        &self,
        ref_name: &RefName,
        before: &CommitSha,
        head: &CommitSha,
    ) -> Result<bool, WorkspaceError> {
        // After an ordinary push it came with the head.
        if self.has(before) || self.is_ancestor(before, head.as_str()).await? {
            return Ok(true);
        }
        match self.ensure(Some(ref_name), before).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_permanent() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What a ref is compared with that was not there before: where it left the default branch. The default branch
    /// itself, and what has no commit in common with it, is new altogether.
    async fn base_of_new(&self, ref_name: &RefName, head: &CommitSha) -> Result<String, WorkspaceError> {
        let (default, tip) = self.default_branch().await?;
        if default == *ref_name {
            return Ok(empty_tree(head).to_owned());
        }
        self.ensure(Some(&default), &tip).await?;
        self.ensure_past(&[&tip, head]).await?;
        let asked = self.git("find the merge base").args([
            "merge-base",
            "--end-of-options",
            tip.as_str(),
            head.as_str(),
        ]);
        match asked.output().await {
            Ok(base) => Ok(String::from_utf8_lossy(&base).trim().to_owned()),
            Err(failure) if failure.is_no() => Ok(empty_tree(head).to_owned()),
            Err(failure) => Err(failure.into()),
        }
    }
}

/// The first of the paths that git lists as `<status>\0<path>\0`, again and again.
#[derive(Default)]
struct Listed {
    /// Of a path that is still to come.
    status: Option<PathChange>,
    paths: Vec<(Box<str>, PathChange)>,
    bytes: usize,
    is_cut: bool,
}

impl Listed {
    /// Takes a field, and breaks where there are more than anybody decides by. Paths that are not UTF-8 get replacement
    /// characters: a pattern cannot name them anyway.
    fn take(&mut self, field: &[u8]) -> ControlFlow<()> {
        let Some(change) = self.status.take() else {
            self.status = Some(if field == b"D" { PathChange::Removed } else { PathChange::Present });
            return ControlFlow::Continue(());
        };
        self.is_cut = self.paths.len() >= MOST_PATHS || self.bytes + field.len() > MOST_BYTES;
        if self.is_cut {
            return ControlFlow::Break(());
        }
        self.bytes += field.len();
        self.paths.push((String::from_utf8_lossy(field).into(), change));
        ControlFlow::Continue(())
    }

    fn pack(self) -> ChangeSet {
        let paths = Paths::from_iter(self.paths);
        if self.is_cut { ChangeSet::Incomplete(paths, Gap::Truncated) } else { ChangeSet::Complete(paths) }
    }
}

/// A push that changes more is held for a person, unless one of these is enough to decide: ten times what GitHub lists of
/// the largest push that it lists whole.
const MOST_PATHS: usize = 100_000;
const MOST_BYTES: usize = 16 << 20;
/// Enough for about two million paths.
const MOST_MEMORY: u64 = 512 << 20;

/// Git knows the empty tree without having it, by the hash of nothing in the format of the repository.
fn empty_tree(commit: &CommitSha) -> &'static str {
    match commit.as_str().len() {
        64 => "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
        _ => "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_raw_and_only_what_is_gone_is_removed() {
        let listed = b"A\0a b\0M\0-x\n\0T\0link\0D\0\xc3\xbc\0A\0\xff\0";
        let expected: Paths = [
            ("a b", PathChange::Present),
            ("-x\n", PathChange::Present),
            ("link", PathChange::Present),
            ("ü", PathChange::Removed),
            ("\u{fffd}", PathChange::Present),
        ]
        .into_iter()
        .collect();
        assert_eq!(parse(listed), expected);
        assert!(parse(b"").is_empty());
    }

    #[test]
    fn of_a_flood_the_first_are_kept_and_it_is_said_that_there_are_more() {
        let mut flood = Listed::default();
        let read =
            |flood: &mut Listed| (0..).find(|_| flood.take(b"A").is_break() || flood.take(b"x").is_break());
        assert_eq!(read(&mut flood), Some(MOST_PATHS));
        let ChangeSet::Incomplete(paths, Gap::Truncated) = flood.pack() else { panic!("it is cut") };
        assert_eq!(paths.len(), MOST_PATHS);
        let mut long = Listed::default();
        let name = vec![b'x'; 60 << 10];
        let end = (0..).find(|_| long.take(b"A").is_break() || long.take(&name).is_break());
        assert!(end.is_some_and(|end| end < 300), "{end:?}");
        assert!(matches!(long.pack(), ChangeSet::Incomplete(..)));
    }

    fn parse(listed: &[u8]) -> Paths {
        let mut all = Listed::default();
        let mut records = Records::new(0, |field| all.take(field));
        assert!(crate::git::process::Reader::read(&mut records, listed).unwrap().is_continue());
        drop(records);
        let ChangeSet::Complete(paths) = all.pack() else { panic!("it is not cut") };
        paths
    }
}
