use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A full commit hash: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits, and never the zeros that stand
/// for "none".
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitSha(Arc<str>);

impl CommitSha {
    /// Reads a hash; zeros are `None`.
    ///
    /// # Errors
    ///
    /// When it is not 40 or 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Result<Option<Self>, NotACommit> {
        let hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !hex || !matches!(text.len(), 40 | 64) {
            return Err(NotACommit(text.chars().take(80).collect()));
        }
        Ok(text.bytes().any(|b| b != b'0').then(|| Self(text.into())))
    }

    /// All digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl fmt::Display for CommitSha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CommitSha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for CommitSha {
    type Error = NotACommit;

    fn try_from(text: String) -> Result<Self, NotACommit> {
        Self::parse(&text)?.ok_or(NotACommit(text))
    }
}

impl From<CommitSha> for String {
    fn from(sha: CommitSha) -> String {
        sha.0.as_ref().to_owned()
    }
}

/// What a push moved. Branch and tag are kept apart in the type, or a tag `main` would match the branch rule
/// `main`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefName {
    /// `refs/heads/…`, without that prefix.
    Branch(Arc<str>),
    /// `refs/tags/…`, without that prefix.
    Tag(Arc<str>),
}

impl RefName {
    /// Reads a full ref. The prefix is taken off once: names contain `/`.
    ///
    /// # Errors
    ///
    /// When it is neither a branch nor a tag, or its name is empty.
    pub fn parse(full: &str) -> Result<Self, NotARef> {
        let named = |name: &str| (!name.is_empty()).then(|| Arc::from(name));
        let read = match (full.strip_prefix("refs/heads/"), full.strip_prefix("refs/tags/")) {
            (Some(name), _) => named(name).map(Self::Branch),
            (_, Some(name)) => named(name).map(Self::Tag),
            _ => None,
        };
        read.ok_or_else(|| NotARef(full.chars().take(80).collect()))
    }

    /// The name without its prefix: `release/1.2`.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Branch(name) | Self::Tag(name) => name,
        }
    }

    /// What stands before the name in the full ref.
    pub(crate) fn prefix(&self) -> &'static str {
        match self {
            Self::Branch(_) => "refs/heads/",
            Self::Tag(_) => "refs/tags/",
        }
    }

    /// `branch` or `tag`: the part of the change key that keeps the two apart.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Branch(_) => "branch",
            Self::Tag(_) => "tag",
        }
    }
}

/// The full ref: `refs/heads/main`.
impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.prefix(), self.name())
    }
}

/// A text that is not a commit hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a commit: `{0}` (expected 40 or 64 lower-case hexadecimal digits)")]
pub struct NotACommit(String);

/// A text that is neither a branch nor a tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a branch or tag: `{0}` (expected `refs/heads/…` or `refs/tags/…`)")]
pub struct NotARef(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_no_commit_and_both_lengths_are_read() {
        assert_eq!(CommitSha::parse(&"0".repeat(40)), Ok(None));
        assert_eq!(CommitSha::parse(&"0".repeat(64)), Ok(None));
        for good in ["a".repeat(40), "9".repeat(64)] {
            assert_eq!(CommitSha::parse(&good).unwrap().unwrap().as_str(), good);
        }
        for wrong in ["", "abc", &"A".repeat(40), &"g".repeat(40), &"a".repeat(41), "--upload-pack=x"] {
            assert!(CommitSha::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_prefix_is_taken_off_once_and_kinds_stay_apart() {
        let branch = |name: &str| Ok(RefName::Branch(name.into()));
        assert_eq!(RefName::parse("refs/heads/main"), branch("main"));
        assert_eq!(RefName::parse("refs/heads/refs/heads/main"), branch("refs/heads/main"));
        assert_eq!(RefName::parse("refs/heads/feature/main"), branch("feature/main"));
        assert_eq!(RefName::parse("refs/tags/main"), Ok(RefName::Tag("main".into())));
        for wrong in ["", "main", "refs/heads/", "refs/pull/1/head", "Refs/heads/main"] {
            assert!(RefName::parse(wrong).is_err(), "{wrong}");
        }
    }
}
