use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::RepoName;

/// What a payload tells of the server that sent it, beside the push itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The shape of its payloads.
    #[serde(default, skip_serializing_if = "Dialect::is_github")]
    pub dialect: Dialect,
    /// `repository.default_branch`: what git falls back to where the HEAD of the repository names no branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_branch: Option<Arc<str>>,
    /// `repository.id`, which stays when the repository is renamed or transferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository_id: Option<u64>,
    /// The name by which the configuration has the repository, where that is not its name any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<RepoName>,
}

/// The shape of a payload: what it leaves out is said by its absence in one, and not said at all in the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Dialect {
    /// GitHub's and GitHub Enterprise's: `created`, `deleted`, `forced` and `repository.pushed_at` are there, and commits
    /// come oldest first.
    #[default]
    #[serde(rename = "github")]
    GitHub,
    /// Gitea's and Forgejo's: none of these is there, commits come newest first and five at most unless the server is set
    /// up otherwise, and `total_commits` says how many there are. No time in it is that of the push.
    Gitea,
}

impl Origin {
    /// Tells whether nothing is told.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Dialect {
    /// Tells whether its payloads say when a push was made, so that a push which does not is taken to be too old.
    #[must_use]
    pub fn has_times(self) -> bool {
        self.is_github()
    }

    fn is_github(&self) -> bool {
        matches!(self, Self::GitHub)
    }
}

impl fmt::Display for Dialect {
    /// Its word in a configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GitHub => "github",
            Self::Gitea => "gitea",
        })
    }
}

impl FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(word: &str) -> Result<Self, UnknownDialect> {
        match word {
            "github" => Ok(Self::GitHub),
            "gitea" => Ok(Self::Gitea),
            _ => Err(UnknownDialect(word.chars().take(80).collect())),
        }
    }
}

/// A word that is no dialect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a kind of hook: `{0}` (expected `github`, or `gitea` for Gitea and Forgejo)")]
pub struct UnknownDialect(String);
