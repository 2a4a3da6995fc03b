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
    /// In a path something stands that is no text, or what a server puts in its place.
    pub(super) is_replaced: bool,
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
    listed: &'l mut Listed,
    change: Change,
}

struct Path<'l> {
    start: usize,
    listed: &'l mut Listed,
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
            let files = Files { start: self.start, listed: &mut *self.listed, change };
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
        while list.next_element_seed(Path { start, listed: &mut *self.listed, change })?.is_some() {}
        Ok(true)
    }
}

impl<'de> DeserializeSeed<'de> for Path<'_> {
    type Value = ();

    /// As bytes: half of a pair of surrogates is no text, and no reason to refuse a push.
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<'de> Visitor<'de> for Path<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path")
    }

    /// Of a body that is text, so that it is text too.
    fn visit_borrowed_bytes<E: Error>(self, path: &'de [u8]) -> Result<(), E> {
        let start = path.as_ptr().addr() - self.start;
        self.listed.is_replaced |= has_replacement(path);
        self.listed.paths.push_span(start, start + path.len(), self.change);
        Ok(())
    }

    fn visit_bytes<E: Error>(self, path: &[u8]) -> Result<(), E> {
        let path = String::from_utf8_lossy(path);
        self.listed.is_replaced |= has_replacement(path.as_bytes());
        self.listed.paths.push_decoded(&path, self.change);
        Ok(())
    }
}

/// Tells whether it has a U+FFFD, which servers write for bytes that are no text.
fn has_replacement(path: &[u8]) -> bool {
    // Nearly no path has the first of its bytes, and that is quickly seen.
    path.contains(&REPLACEMENT[0]) && path.windows(REPLACEMENT.len()).any(|bytes| bytes == REPLACEMENT)
}

const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// The most commits that GitHub lists of a push
/// (<https://docs.github.com/en/webhooks/webhook-events-and-payloads#push>).
const MOST_COMMITS: usize = 2_048;

/// The most files that GitHub lists of a commit.
const MOST_FILES: usize = 3_000;
