use std::fmt;

use serde::{Deserialize, Serialize};

use super::Paths;

/// The files that a push changed. Unknown is not empty: a list that may be short says so.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeSet {
    /// Every path that any commit of the push lists.
    Complete(Paths),
    /// Some of them, and why the rest is not known.
    Incomplete(Paths, Gap),
}

impl ChangeSet {
    /// The paths that are listed.
    #[must_use]
    pub fn paths(&self) -> &Paths {
        match self {
            Self::Complete(paths) | Self::Incomplete(paths, _) => paths,
        }
    }

    /// Why the list may be short; `None` if it is complete.
    #[must_use]
    pub fn gap(&self) -> Option<Gap> {
        match self {
            Self::Complete(_) => None,
            Self::Incomplete(_, gap) => Some(*gap),
        }
    }
}

/// Why a payload does not tell which files changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Gap {
    /// The push was forced: its lists are not the difference between the trees, and prove nothing.
    Forced,
    /// The ref is new: only commits that no other ref has are listed.
    NewBranch,
    /// A cap was reached: 2,048 commits, or 3,000 files in one commit, or fewer commits than the payload itself counts.
    Caps,
    /// The payload has no list of commits, or a commit has no list of files.
    NotListed,
    /// The list was cut when it was kept.
    Truncated,
    /// Commits of the push contradict each other about a file, as the sides of a merge do: one removes what another adds
    /// or modifies, and the list does not tell which of them the merge kept.
    Contradictory,
    /// The payload does not tell whether the push was forced, so that its lists may prove nothing.
    MaybeForced,
    /// The payload replaces what is no text in the names of files, so that it does not name them.
    NotText,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forced => "a forced push does not list what changed",
            Self::NewBranch => "a new ref lists only commits that no other ref has",
            Self::Caps => "the push is larger than what the payload lists",
            Self::NotListed => "the payload does not list what changed",
            Self::Truncated => "the list of changed files was cut when it was kept",
            Self::Contradictory => "one commit removes a file that another adds or modifies",
            Self::NotText => "the payload cannot name a file whose name is not UTF-8",
            Self::MaybeForced => "the payload does not tell whether the push was forced",
        })
    }
}
