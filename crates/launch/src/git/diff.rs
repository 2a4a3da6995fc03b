use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::ControlFlow;

use swifthook_core::{
    ChangeSet, CommitSha, Comparison, Gap, PathChange, PathPredicate, Paths, Problem, RefName, WorkspaceError,
};

use super::mirror::{Mirror, tips_in};
use super::process::Records;

impl Mirror {
    /// What a push changed; see [`Comparison`] for what it is compared with.
    pub(super) async fn compare(&self, asked: &Comparison<'_>) -> Result<ChangeSet, WorkspaceError> {
        let Comparison { ref_name, before, head, .. } = *asked;
        let _use = self.in_use().await?;
        self.ensure(Some(ref_name), head).await?;
        let base = match before {
            Some(before) if self.ensure_before(ref_name, before, head).await? => Some(before.clone()),
            _ => self.base_of_new(asked).await?,
        };
        let base = base.as_ref().map_or_else(|| empty_tree(head), CommitSha::as_str);
        let mut listed = Listed::new(asked.wanted);
        let memory = if asked.wanted.is_some() { MOST_MEMORY_APPROVED } else { MOST_MEMORY };
        let compared = self
            .git("compare trees")
            .args(["diff-tree", "-r", "-z", "--no-renames", "--no-ext-diff", "--name-status"])
            .args(["--end-of-options", base, head.as_str()])
            .using_at_most(memory)
            .read_by(&mut Records::new(0, |field| listed.take(field)))
            .await;
        match compared {
            // Git lists nothing before it knows all of it.
            Err(failure) if failure.is_out_of_memory() => listed.is_cut = true,
            other => other?,
        }
        let (paths, is_cut) = (listed.paths, listed.is_cut);
        // Off the async threads: there may be many.
        let packed = tokio::task::spawn_blocking(move || pack(paths, is_cut)).await;
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

    /// What a ref is compared with that was not there before, or nobody knows where; `None` is nothing.
    async fn base_of_new(&self, asked: &Comparison<'_>) -> Result<Option<CommitSha>, WorkspaceError> {
        let Comparison { ref_name, head, .. } = *asked;
        if let RefName::Tag(name) = ref_name {
            let tags = self.earlier_tags(name, asked).await?;
            return self.nearest(head, &tags).await;
        }
        let known = asked.known.commits().await?;
        if known.contains(head) {
            return Ok(Some(head.clone()));
        }
        match self.default_branch(asked.default_branch).await? {
            Some((default, tip)) if default != *ref_name => {
                self.ensure(Some(&default), &tip).await?;
                self.merge_base(&tip, head).await
            }
            _ => self.nearest(head, &known).await,
        }
    }

    async fn merge_base(
        &self,
        tip: &CommitSha,
        head: &CommitSha,
    ) -> Result<Option<CommitSha>, WorkspaceError> {
        self.ensure_past(&[tip, head]).await?;
        let asked = self.git("find the merge base").args([
            "merge-base",
            "--end-of-options",
            tip.as_str(),
            head.as_str(),
        ]);
        match asked.output().await {
            Ok(base) => Ok(commit_in(&base)),
            Err(failure) if failure.is_no() => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// The commits of other tags that the tag `name` may be compared with. One of the same commit is neither earlier nor
    /// later.
    async fn earlier_tags(
        &self,
        name: &str,
        asked: &Comparison<'_>,
    ) -> Result<Vec<CommitSha>, WorkspaceError> {
        let told = self.refs_of_the_server("ask for the tags", &["refs/tags/*"]).await?;
        let mut tags = HashMap::new();
        for (tag, commit) in tips_in(&told) {
            let Some(tag) = tag.strip_prefix("refs/tags/") else { continue };
            // That of an annotated tag is told after the tag itself, under the same name.
            let tag = tag.strip_suffix("^{}").unwrap_or(tag);
            tags.insert(tag, commit);
        }
        let counts = |tag: &str| tag != name && (asked.counts)(tag);
        let tags = tags.into_iter().filter(|(tag, commit)| commit != asked.head && counts(tag));
        Ok(tags.map(|(_, commit)| commit).collect())
    }

    /// The newest of these commits that is `head` or one of its ancestors: one that stands between another and `head` is
    /// newer than that, and of others the date decides.
    async fn nearest(
        &self,
        head: &CommitSha,
        commits: &[CommitSha],
    ) -> Result<Option<CommitSha>, WorkspaceError> {
        if commits.is_empty() {
            return Ok(None);
        }
        self.ensure_past(&[head]).await?;
        let commits: HashSet<&[u8]> = commits.iter().map(|commit| commit.as_str().as_bytes()).collect();
        let mut found = None;
        self.git("look through the past")
            .args(["rev-list", "--date-order", "--end-of-options", head.as_str()])
            .read_by(&mut Records::new(b'\n', |commit| match commits.contains(commit) {
                true => {
                    found = commit_in(commit);
                    ControlFlow::Break(())
                }
                false => ControlFlow::Continue(()),
            }))
            .await?;
        Ok(found)
    }
}

fn commit_in(told: &[u8]) -> Option<CommitSha> {
    CommitSha::parse(std::str::from_utf8(told).ok()?.trim()).ok().flatten()
}

/// The first of the paths that git lists as `<status>\0<path>\0`, again and again.
#[derive(Default)]
struct Listed<'w> {
    wanted: Option<&'w PathPredicate<'w>>,
    /// Of a path that is still to come.
    status: Option<PathChange>,
    paths: Vec<(Box<[u8]>, PathChange)>,
    bytes: usize,
    is_cut: bool,
}

impl<'w> Listed<'w> {
    fn new(wanted: Option<&'w PathPredicate<'w>>) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// Takes a field, and breaks where there are more than anybody decides by.
    fn take(&mut self, field: &[u8]) -> ControlFlow<()> {
        let Some(change) = self.status.take() else {
            self.status = Some(if field == b"D" { PathChange::Removed } else { PathChange::Present });
            return ControlFlow::Continue(());
        };
        if self.wanted.is_some_and(|is_wanted| !is_wanted(field)) {
            return ControlFlow::Continue(());
        }
        self.is_cut = self.paths.len() >= MOST_PATHS || self.bytes + field.len() > MOST_BYTES;
        if self.is_cut {
            return ControlFlow::Break(());
        }
        self.bytes += field.len();
        self.paths.push((field.into(), change));
        ControlFlow::Continue(())
    }
}

fn pack(paths: Vec<(Box<[u8]>, PathChange)>, is_cut: bool) -> ChangeSet {
    let paths = Paths::from_raw(paths);
    if is_cut { ChangeSet::Incomplete(paths, Gap::Truncated) } else { ChangeSet::Complete(paths) }
}

/// A push that changes more is held for a person, unless one of these is enough to decide: ten times what GitHub lists of
/// the largest push that it lists whole.
const MOST_PATHS: usize = 100_000;
const MOST_BYTES: usize = 16 << 20;
/// Enough for about two million paths.
const MOST_MEMORY: u64 = 512 << 20;
/// The same where a person has approved that all are looked at.
const MOST_MEMORY_APPROVED: u64 = 8 << 30;

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
        let expected = [
            (&b"a b"[..], PathChange::Present),
            (b"-x\n", PathChange::Present),
            (b"link", PathChange::Present),
            ("ü".as_bytes(), PathChange::Removed),
            (b"\xff", PathChange::Present),
        ];
        assert!(parse(listed).raw().eq(expected));
        assert!(parse(b"").is_empty());
    }

    #[test]
    fn of_a_flood_the_first_are_kept_and_it_is_said_that_there_are_more() {
        let mut flood = Listed::default();
        let read =
            |flood: &mut Listed| (0..).find(|_| flood.take(b"A").is_break() || flood.take(b"x").is_break());
        assert_eq!(read(&mut flood), Some(MOST_PATHS));
        let ChangeSet::Incomplete(paths, Gap::Truncated) = pack(flood.paths, flood.is_cut) else {
            panic!("it is cut")
        };
        assert_eq!(paths.len(), MOST_PATHS);
        let mut long = Listed::default();
        let name = vec![b'x'; 60 << 10];
        let end = (0..).find(|_| long.take(b"A").is_break() || long.take(&name).is_break());
        assert!(end.is_some_and(|end| end < 300), "{end:?}");
        assert!(matches!(pack(long.paths, long.is_cut), ChangeSet::Incomplete(..)));
    }

    fn parse(listed: &[u8]) -> Paths {
        let mut all = Listed::default();
        let mut records = Records::new(0, |field| all.take(field));
        assert!(crate::git::process::Reader::read(&mut records, listed).unwrap().is_continue());
        drop(records);
        let ChangeSet::Complete(paths) = pack(all.paths, all.is_cut) else { panic!("it is not cut") };
        paths
    }
}
