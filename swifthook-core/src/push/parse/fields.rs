//! The fields of a payload that are read.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;

use super::Unread;
use super::commits::{Commits, Listed};
use super::text::{Moment, Text};
use crate::push::Dialect;

/// What stands in a payload. The outer `Option` of each is whether its key is there, the inner whether its value is
/// not null.
#[derive(Default)]
pub(super) struct Fields<'de> {
    pub(super) ref_name: Option<Option<Text<'de>>>,
    pub(super) before: Option<Option<Text<'de>>>,
    pub(super) after: Option<Option<Text<'de>>>,
    pub(super) created: Option<Option<bool>>,
    pub(super) deleted: Option<Option<bool>>,
    pub(super) forced: Option<Option<bool>>,
    pub(super) repository: Option<Option<Repository<'de>>>,
    pub(super) pusher: Option<Option<Account<'de>>>,
    pub(super) sender: Option<Option<Account<'de>>>,
    pub(super) commits: Option<Option<Listed>>,
    pub(super) head_commit: Option<Option<HeadCommit<'de>>>,
    pub(super) total_commits: Option<Option<u64>>,
    pub(super) has_compare: bool,
    pub(super) has_compare_url: bool,
    pub(super) has_zen: bool,
    pub(super) has_hook_id: bool,
}

#[derive(Deserialize)]
pub(super) struct Repository<'a> {
    #[serde(borrow)]
    pub(super) full_name: Text<'a>,
    #[serde(default)]
    pub(super) pushed_at: Moment,
    #[serde(borrow, default)]
    pub(super) default_branch: Option<Text<'a>>,
    /// Whatever it is: nothing hangs on it in a push of a repository that is known by its name.
    #[serde(default)]
    pub(super) id: serde_json::Value,
}

/// A `pusher`, who has a `name`, or a `sender`, who has a `login`.
#[derive(Deserialize)]
pub(super) struct Account<'a> {
    #[serde(borrow, default)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) login: Option<Text<'a>>,
}

#[derive(Default, Deserialize)]
pub(super) struct HeadCommit<'a> {
    #[serde(borrow, default)]
    pub(super) id: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) message: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    Ref,
    Before,
    After,
    Created,
    Deleted,
    Forced,
    Repository,
    Pusher,
    Sender,
    Commits,
    HeadCommit,
    TotalCommits,
    Compare,
    CompareUrl,
    Zen,
    HookId,
    #[serde(other)]
    Other,
}

impl<'de> Fields<'de> {
    pub(super) fn read(text: &'de str) -> Result<Self, Unread> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let payload = Payload { start: text.as_ptr().addr() };
        let read =
            deserializer.deserialize_map(payload).and_then(|fields| deserializer.end().map(|()| fields));
        read.map_err(|error| match error.classify() {
            Category::Data => Unread::NotAPush { why: error.to_string(), is_ping: false },
            _ => Unread::NotJson(error.to_string()),
        })
    }

    /// The dialect that it is of by its keys: those that Gitea alone has, without any of GitHub's.
    pub(super) fn dialect(&self) -> Dialect {
        let has_pushed_at =
            self.repository.as_ref().and_then(Option::as_ref).is_some_and(|from| from.pushed_at.0.is_some());
        let is_github = has_pushed_at
            || self.has_compare
            || self.created.is_some()
            || self.deleted.is_some()
            || self.forced.is_some();
        match self.total_commits.is_some() || self.has_compare_url {
            true if !is_github => Dialect::Gitea,
            _ => Dialect::GitHub,
        }
    }

    /// Whether it looks like a ping.
    pub(super) fn is_ping(&self) -> bool {
        self.has_zen && self.has_hook_id && self.ref_name.is_none()
    }

    fn take<A: MapAccess<'de>>(&mut self, key: Key, map: &mut A, start: usize) -> Result<(), A::Error> {
        match key {
            Key::Ref => once(&mut self.ref_name, map, "ref"),
            Key::Before => once(&mut self.before, map, "before"),
            Key::After => once(&mut self.after, map, "after"),
            Key::Created => once(&mut self.created, map, "created"),
            Key::Deleted => once(&mut self.deleted, map, "deleted"),
            Key::Forced => once(&mut self.forced, map, "forced"),
            Key::Repository => once(&mut self.repository, map, "repository"),
            Key::Pusher => once(&mut self.pusher, map, "pusher"),
            Key::Sender => once(&mut self.sender, map, "sender"),
            Key::HeadCommit => once(&mut self.head_commit, map, "head_commit"),
            Key::Commits if self.commits.is_some() => Err(Error::duplicate_field("commits")),
            Key::Commits => {
                self.commits = Some(map.next_value_seed(Commits { start })?);
                Ok(())
            }
            Key::TotalCommits if self.total_commits.is_some() => Err(Error::duplicate_field("total_commits")),
            Key::TotalCommits => {
                self.total_commits = Some(map.next_value::<serde_json::Value>()?.as_u64());
                Ok(())
            }
            Key::Compare => skip(map, &mut self.has_compare),
            Key::CompareUrl => skip(map, &mut self.has_compare_url),
            Key::Zen => skip(map, &mut self.has_zen),
            Key::HookId => skip(map, &mut self.has_hook_id),
            Key::Other => skip(map, &mut false),
        }
    }
}

fn once<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    slot: &mut Option<T>,
    map: &mut A,
    name: &'static str,
) -> Result<(), A::Error> {
    if slot.is_some() {
        return Err(Error::duplicate_field(name));
    }
    *slot = Some(map.next_value()?);
    Ok(())
}

fn skip<'de, A: MapAccess<'de>>(map: &mut A, seen: &mut bool) -> Result<(), A::Error> {
    *seen = true;
    map.next_value::<IgnoredAny>().map(drop)
}

/// Reads the object that a payload is; `start` is the address at which it begins.
struct Payload {
    start: usize,
}

impl<'de> Visitor<'de> for Payload {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the object of a payload")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some(key) = map.next_key()? {
            fields.take(key, &mut map, self.start)?;
        }
        Ok(fields)
    }
}
