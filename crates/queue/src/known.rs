//! Where the refs of a repository were when a recipe was asked what changed there.

use std::collections::HashSet;

use swifthook_core::{CommitSha, RecipeVerdict, Stage, Verdict};

/// Tells whether a push by which a recipe made no job was looked at by it all the same: its ref was one of the recipe's, and no
/// path that changed matched.
pub(crate) fn has_looked(recipe: &str, verdicts: &[RecipeVerdict]) -> bool {
    verdicts.iter().filter(|said| &*said.recipe == recipe).any(|said| match &said.verdict {
        Verdict::Skip(reason) => reason.word == "paths",
        _ => false,
    })
}

/// Tells whether a job that ended so has come to nothing: something newer took its place, or nobody could tell what changed.
pub(crate) fn came_to_nothing(stage: Stage, has_run: bool) -> bool {
    matches!(stage, Stage::Failed | Stage::Superseded) && !has_run
}

/// Each once.
pub(crate) fn once(commits: impl IntoIterator<Item = CommitSha>) -> Vec<CommitSha> {
    commits.into_iter().collect::<HashSet<_>>().into_iter().collect()
}

/// How many commits by jobs are looked up at most, the last of them.
pub(crate) const MOST_CHANGES: i64 = 10_000;
/// How many pushes without a job are looked at, the last of them: there may be many, and each is read.
pub(crate) const MOST_DELIVERIES: i64 = 2_000;
