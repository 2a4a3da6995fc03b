//! One pass over a payload, which keeps what decides and what explains and skips the rest.
//!
//! What is null or absent in some of GitHub's, Gitea's and Forgejo's payloads may be so; what makes a body a push
//! must be there. A key that stands twice is refused, since two readers could each believe another one.

mod commits;
mod fields;
mod text;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;

use self::commits::Listed;
use self::fields::{Account, Fields, HeadCommit};
use self::text::Text;
use super::skip::asks_to_skip;
use super::{ChangeSet, Dialect, Gap, Origin, Push, Source};
use crate::git::{CommitSha, RefName};
use crate::id::RepoName;
use crate::time::Timestamp;

/// A push as its payload reports it, of a repository that has not been looked up yet.
pub(crate) struct Reported<'a> {
    /// `repository.full_name`.
    pub(crate) repository: Cow<'a, str>,
    ref_name: RefName,
    before: Option<CommitSha>,
    head: Option<CommitSha>,
    skip_marker: bool,
    sender: Option<Arc<str>>,
    pushed_at: Option<Timestamp>,
    listed: Listed,
    gap: Option<Gap>,
    pub(crate) origin: Origin,
}

/// A body that is no push.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is not even JSON.
    NotJson(String),
    /// It is JSON of another shape.
    NotAPush { why: String, is_ping: bool },
}

impl<'a> Reported<'a> {
    /// Reads a payload of the dialect that its hook names, or else of the one that it is by its shape: that is signed, where
    /// a header is not.
    pub(crate) fn read(text: &'a str, dialect: Option<Dialect>) -> Result<Self, Unread> {
        let fields = Fields::read(text)?;
        let is_ping = fields.is_ping();
        let dialect = dialect.unwrap_or_else(|| fields.dialect());
        Self::new(text, fields, dialect).map_err(|why| Unread::NotAPush { why, is_ping })
    }

    fn new(text: &str, fields: Fields<'a>, dialect: Dialect) -> Result<Self, String> {
        let ref_name = given(fields.ref_name, "ref")?;
        // What stands in the place of something that is no text is another name.
        if !ref_name.is_exact {
            return Err(format!("its `ref` is not text: `{}`", &*ref_name));
        }
        let ref_name = RefName::parse(&ref_name).map_err(|error| error.to_string())?;
        let before = commit(&given(fields.before, "before")?)?;
        let after = commit(&given(fields.after, "after")?)?;
        let repository = given(fields.repository, "repository")?;
        let pusher = fields.pusher.ok_or("it has no `pusher`")?;

        let head_commit = fields.head_commit.flatten();
        // What older versions of Gitea leave out stands in the list.
        let skip_marker = match (&head_commit, &after) {
            (Some(commit), _) => commit.message.as_deref().is_some_and(asks_to_skip),
            (None, Some(after)) => listed_message(text, after).as_deref().is_some_and(asks_to_skip),
            (None, None) => false,
        };
        let head_commit = head_commit.unwrap_or_default();
        let tip = head_commit.id.as_deref().map(commit).transpose()?.flatten();
        let sender = fields.sender.flatten().and_then(|sender| sender.login);
        let pusher = pusher.and_then(|pusher| pusher.name.or(pusher.login));
        let mut listed = fields.commits.flatten().unwrap_or_default();
        // A server that says how many there are has said so; Gitea lists five unless it is set up otherwise, so that a
        // list without a number is never known to be whole.
        listed.at_a_cap |= match fields.total_commits.flatten() {
            Some(total) => total != listed.commits as u64,
            None => dialect == Dialect::Gitea,
        };
        let is_new = before.is_none() || fields.created.flatten().unwrap_or(false);
        let is_deleted = after.is_none() || fields.deleted.flatten().unwrap_or(false);
        let gap = gap(&listed, fields.forced.flatten(), is_new);
        Ok(Self {
            repository: repository.full_name.text,
            ref_name,
            before,
            head: if is_deleted { None } else { tip.or(after) },
            skip_marker,
            sender: sender.or(pusher).map(|login| (*login).into()),
            pushed_at: repository.pushed_at.0,
            listed,
            gap: if is_deleted { None } else { gap },
            origin: Origin {
                dialect,
                repository_id: repository.id.as_u64(),
                renamed_from: None,
                default_branch: repository
                    .default_branch
                    .filter(|name| !name.is_empty())
                    .map(|name| (*name).into()),
            },
        })
    }

    /// The push, of the configured repository. `body` is the text that was read.
    pub(crate) fn push(self, repository: RepoName, source: Source, body: Bytes) -> Push {
        let paths = self.listed.paths.build(body);
        Push {
            repository,
            ref_name: self.ref_name,
            before: self.before,
            head: self.head,
            skip_marker: self.skip_marker,
            sender: self.sender,
            pushed_at: self.pushed_at,
            changes: match self.gap {
                None => ChangeSet::Complete(paths),
                Some(gap) => ChangeSet::Incomplete(paths, gap),
            },
            source,
            origin: self.origin,
        }
    }
}

/// Tells whether `repository.name` and its owner, as far as they are there, make its `full_name`: a payload that says two things of
/// its repository is no word for a new name.
pub(crate) fn is_of_one_name(text: &str) -> bool {
    #[derive(Deserialize)]
    struct Payload<'a> {
        #[serde(borrow)]
        repository: Named<'a>,
    }
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        full_name: Text<'a>,
        #[serde(borrow, default)]
        name: Option<Text<'a>>,
        #[serde(borrow, default)]
        owner: Option<Account<'a>>,
    }
    let Ok(Payload { repository }) = serde_json::from_str::<Payload<'_>>(text) else { return false };
    let Some((owner, name)) = repository.full_name.split_once('/') else { return false };
    let is = |said: &Option<Text<'_>>, expected: &str| {
        said.as_deref().is_none_or(|said| said.eq_ignore_ascii_case(expected))
    };
    let login = repository.owner.and_then(|owner| owner.login.or(owner.name));
    is(&repository.name, name) && is(&login, owner)
}

/// The message of a commit that is listed.
fn listed_message(text: &str, commit: &CommitSha) -> Option<String> {
    #[derive(Deserialize)]
    struct Listing<'a> {
        #[serde(borrow)]
        commits: Vec<HeadCommit<'a>>,
    }
    let listing: Listing<'_> = serde_json::from_str(text).ok()?;
    let is_it = |listed: &HeadCommit<'_>| listed.id.as_deref() == Some(commit.as_str());
    listing.commits.into_iter().find(is_it)?.message.map(|message| (*message).to_owned())
}

/// Why the lists may be short: the reason first that proves least.
fn gap(listed: &Listed, is_forced: Option<bool>, is_new: bool) -> Option<Gap> {
    if is_forced == Some(true) {
        Some(Gap::Forced)
    } else if is_new {
        Some(Gap::NewBranch)
    } else if is_forced.is_none() {
        // Absent is not false.
        Some(Gap::MaybeForced)
    } else if listed.at_a_cap {
        Some(Gap::Caps)
    } else if listed.commits == 0 || listed.is_missing {
        // The ref moved, so a payload without a commit has left some out.
        Some(Gap::NotListed)
    } else if listed.is_replaced {
        Some(Gap::NotText)
    } else {
        None
    }
}

fn given<T>(field: Option<Option<T>>, name: &str) -> Result<T, String> {
    field.flatten().ok_or_else(|| format!("it has no `{name}`"))
}

fn commit(text: &str) -> Result<Option<CommitSha>, String> {
    CommitSha::parse(text).map_err(|error| error.to_string())
}
