//! The lists of commits and of their files.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::push::paths::{Change, PathsBuilder};

/// What the commits of a push list.
#[derive(Default)]
pub(super) struct Listed {
    pub(super) paths: PathsBuilder,
    pub(super) commits: usize,
    /// One of them has no list of files.
    pub(super) is_missing: bool,
    /// As many are listed as GitHub lists at most.
    pub(super) at_a_cap: bool,
}

/// Reads `commits`. Paths are kept as offsets from `start`, the address at which the body begins.
pub(super) struct Commits {
    pub(super) start: usize,
}

struct Commit<'l> {
    start: usize,
    listed: &'l mut Listed,
}

struct Files<'l> {
    start: usize,
    paths: &'l mut PathsBuilder,
    change: Change,
}

struct Path<'l> {
    start: usize,
    paths: &'l mut PathsBuilder,
    change: Change,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    Added,
    Removed,
    Modified,
    #[serde(other)]
    Other,
}

impl<'de> DeserializeSeed<'de> for Commits {
    type Value = Option<Listed>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Listed>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Commits {
    type Value = Option<Listed>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of commits")
    }

    fn visit_unit<E: Error>(self) -> Result<Option<Listed>, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Option<Listed>, A::Error> {
        let mut listed = Listed::default();
        while list.next_element_seed(Commit { start: self.start, listed: &mut listed })?.is_some() {
            listed.commits += 1;
        }
        listed.at_a_cap |= listed.commits >= MOST_COMMITS;
        Ok(Some(listed))
    }
}

impl<'de> DeserializeSeed<'de> for Commit<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Commit<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a commit")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let before = self.listed.paths.len();
        let mut counts = [None; 3];
        while let Some(key) = map.next_key()? {
            let (slot, change, name) = match key {
                Key::Added => (&mut counts[0], Change::Present, "added"),
                Key::Removed => (&mut counts[1], Change::Removed, "removed"),
                Key::Modified => (&mut counts[2], Change::Present, "modified"),
                Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if slot.is_some() {
                return Err(Error::duplicate_field(name));
            }
            let files = Files { start: self.start, paths: &mut self.listed.paths, change };
            *slot = Some(map.next_value_seed(files)?);
        }
        self.listed.is_missing |= counts.iter().any(|count| *count != Some(true));
        self.listed.at_a_cap |= self.listed.paths.len() - before >= MOST_FILES;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Files<'_> {
    /// Whether there is a list.
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Files<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of paths")
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        let (start, change) = (self.start, self.change);
        while list.next_element_seed(Path { start, paths: self.paths, change })?.is_some() {}
        Ok(true)
    }
}

impl<'de> DeserializeSeed<'de> for Path<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Path<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path")
    }

    fn visit_borrowed_str<E: Error>(self, path: &'de str) -> Result<(), E> {
        let start = path.as_ptr().addr() - self.start;
        self.paths.push_span(start, start + path.len(), self.change);
        Ok(())
    }

    fn visit_str<E: Error>(self, path: &str) -> Result<(), E> {
        self.paths.push_decoded(path, self.change);
        Ok(())
    }
}

/// The most commits that GitHub lists of a push
/// (<https://docs.github.com/en/webhooks/webhook-events-and-payloads#push>).
const MOST_COMMITS: usize = 2_048;

/// The most files that GitHub lists of a commit.
const MOST_FILES: usize = 3_000;
