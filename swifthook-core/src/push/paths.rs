use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text::quoted_path;

/// Changed paths, each with what became of it. Cheap to clone.
///
/// A path is listed once for each commit that lists it. A list is not a tree: merges list what they did not keep, and
/// some servers list the newest commit first, so no entry of a path says more than another. Paths are raw,
/// as git has them: spaces, newlines and a leading `-` are possible. One whose bytes are not UTF-8 is kept in its bytes
/// ([`Paths::raw`]) and shown [quoted](crate::text::quoted_path).
#[derive(Clone)]
pub struct Paths {
    text: Bytes,
    decoded: Bytes,
    entries: Arc<[Entry]>,
    /// Of each path that is no text, where it begins and where what is shown of it ends, which follows it.
    odd: Arc<[(u32, u32)]>,
}

/// What the commit that lists a path did to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Added or modified: it exists after that commit.
    Present,
    /// Removed by that commit.
    Removed,
}

/// A span of `text`, or of `decoded` where the payload had escapes.
#[derive(Clone, Copy)]
struct Entry {
    start: u32,
    end: u32,
    is_decoded: bool,
    is_text: bool,
    change: Change,
}

impl Paths {
    /// No paths.
    #[must_use]
    pub fn empty() -> Self {
        Self::from_iter(std::iter::empty::<(&str, Change)>())
    }

    /// Paths as git has them, in bytes.
    pub fn from_raw<B: AsRef<[u8]>>(paths: impl IntoIterator<Item = (B, Change)>) -> Self {
        let mut builder = PathsBuilder::default();
        for (path, change) in paths {
            builder.push_raw(path.as_ref(), change);
        }
        builder.build(Bytes::new())
    }

    /// Every entry, in order; a path may stand more than once.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, Change)> + ExactSizeIterator + '_ {
        self.entries.iter().map(|entry| (self.text_of(entry), entry.change))
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every entry in bytes, in order: a path that is only compared or copied need not be proved to be text first.
    pub fn raw(&self) -> impl DoubleEndedIterator<Item = (&[u8], Change)> + ExactSizeIterator + '_ {
        self.entries.iter().map(|entry| (self.bytes_of(entry), entry.change))
    }

    /// The first entries, at most `most`, in a copy that does not hold on to the body that these were read from.
    #[must_use]
    pub fn detached(&self, most: usize) -> Self {
        let mut builder = PathsBuilder::default();
        for entry in self.entries.iter().take(most) {
            match entry.is_text {
                true => builder.push_copy(self.bytes_of(entry), entry.change),
                false => builder.push_raw(self.bytes_of(entry), entry.change),
            }
        }
        builder.build(Bytes::new())
    }

    /// Each path that `is_wanted` once, in the order in which they are listed last, with the position of that entry and
    /// what all its entries say of it: `None` where they contradict each other, so that only git knows what became of it.
    pub(crate) fn together(&self, is_wanted: impl Fn(&[u8]) -> bool) -> Vec<(usize, Option<Change>)> {
        let mut places: HashMap<&[u8], usize> = HashMap::new();
        let mut paths: Vec<(usize, Option<Change>)> = Vec::new();
        for (position, (path, change)) in
            self.raw().enumerate().rev().filter(|(_, (path, _))| is_wanted(path))
        {
            match places.entry(path) {
                Slot::Vacant(slot) => {
                    slot.insert(paths.len());
                    paths.push((position, Some(change)));
                }
                Slot::Occupied(slot) => {
                    let said = &mut paths[*slot.get()].1;
                    *said = said.filter(|said| *said == change);
                }
            }
        }
        paths.reverse();
        paths
    }

    /// Tells whether all entries are of one kind, so that none contradicts another.
    pub(crate) fn are_of_one_kind(&self) -> bool {
        self.entries.windows(2).all(|pair| pair[0].change == pair[1].change)
    }

    /// The path of the entry at that position.
    pub(crate) fn path_at(&self, position: usize) -> &str {
        self.text_of(&self.entries[position])
    }

    fn text_of(&self, entry: &Entry) -> &str {
        let bytes = match entry.is_text {
            true => self.bytes_of(entry),
            false => self.shown(entry),
        };
        std::str::from_utf8(bytes).expect("what is no text is shown as text")
    }

    /// What is shown of a path that is no text.
    fn shown(&self, entry: &Entry) -> &[u8] {
        let at = self.odd.binary_search_by_key(&entry.start, |(start, _)| *start);
        let (_, end) = self.odd[at.expect("each such path has one")];
        &self.decoded[entry.end as usize..end as usize]
    }

    fn bytes_of(&self, entry: &Entry) -> &[u8] {
        let buffer = if entry.is_decoded { &self.decoded } else { &self.text };
        &buffer[entry.start as usize..entry.end as usize]
    }
}

impl<S: AsRef<str>> FromIterator<(S, Change)> for Paths {
    fn from_iter<I: IntoIterator<Item = (S, Change)>>(paths: I) -> Self {
        let mut builder = PathsBuilder::default();
        for (path, change) in paths {
            builder.push_decoded(path.as_ref(), change);
        }
        builder.build(Bytes::new())
    }
}

/// Collects paths while a body is read.
#[derive(Default)]
pub(crate) struct PathsBuilder {
    decoded: Vec<u8>,
    entries: Vec<Entry>,
    odd: Vec<(u32, u32)>,
}

impl PathsBuilder {
    /// A path that stands in the body as it is, at `start..end` bytes.
    pub(crate) fn push_span(&mut self, start: usize, end: usize, change: Change) {
        self.entries.push(Entry {
            start: offset(start),
            end: offset(end),
            is_decoded: false,
            is_text: true,
            change,
        });
    }

    /// How many there are so far.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// A path of which a copy is kept.
    pub(crate) fn push_decoded(&mut self, path: &str, change: Change) {
        self.push_copy(path.as_bytes(), change);
    }

    /// The same of one that may be no text.
    pub(crate) fn push_raw(&mut self, path: &[u8], change: Change) {
        self.push_copy(path, change);
        if std::str::from_utf8(path).is_err() {
            self.decoded.extend_from_slice(quoted_path(path).as_bytes());
            let shown = offset(self.decoded.len());
            let entry = self.entries.last_mut().expect("it was pushed just now");
            entry.is_text = false;
            self.odd.push((entry.start, shown));
        }
    }

    /// The same for what is known to be text.
    fn push_copy(&mut self, path: &[u8], change: Change) {
        let start = offset(self.decoded.len());
        self.decoded.extend_from_slice(path);
        self.entries.push(Entry {
            start,
            end: offset(self.decoded.len()),
            is_decoded: true,
            is_text: true,
            change,
        });
    }

    /// The paths; `body` is what spans point into.
    pub(crate) fn build(self, body: Bytes) -> Paths {
        Paths { text: body, decoded: self.decoded.into(), entries: self.entries.into(), odd: self.odd.into() }
    }
}

impl fmt::Debug for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for Paths {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Serialize for Paths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.len()))?;
        for entry in self.iter() {
            list.serialize_element(&entry)?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Paths;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of paths, each with its change")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Paths, A::Error> {
                let mut builder = PathsBuilder::default();
                while let Some((path, change)) = list.next_element::<(String, Change)>()? {
                    builder.push_decoded(&path, change);
                }
                Ok(builder.build(Bytes::new()))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

fn offset(position: usize) -> u32 {
    u32::try_from(position).expect("bodies and lists of paths are far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_entries_of_a_path_say_together_does_not_depend_on_their_order() {
        let (present, removed) = (Change::Present, Change::Removed);
        let list =
            [("a", present), ("b", removed), ("c", present), ("a", removed), ("c", present), ("x", present)];
        for list in [list.to_vec(), list.iter().rev().copied().collect()] {
            let paths = Paths::from_iter(list);
            let mut said: Vec<_> = paths
                .together(|path| path != b"x")
                .into_iter()
                .map(|(position, said)| (paths.path_at(position).to_owned(), said))
                .collect();
            said.sort_by(|a, b| a.0.cmp(&b.0));
            assert_eq!(said, [("a".into(), None), ("b".into(), Some(removed)), ("c".into(), Some(present))]);
        }
    }

    #[test]
    fn the_bytes_of_a_path_that_is_no_text_survive_and_it_is_shown() {
        let list = [(&b"a\xe9"[..], Change::Present), (b"b", Change::Removed), (b"\xff", Change::Removed)];
        for paths in [Paths::from_raw(list), Paths::from_raw(list).detached(3)] {
            assert!(paths.raw().eq(list));
            let shown: Vec<_> = paths.iter().map(|(path, _)| path).collect();
            assert_eq!(shown, [r#""a\351""#, "b", r#""\377""#]);
        }
    }

    #[test]
    fn paths_survive_being_stored() {
        let paths: Paths =
            [("a b,\n\"ü\".yaml", Change::Present), ("-x", Change::Removed)].into_iter().collect();
        let stored = serde_json::to_string(&paths).unwrap();
        assert_eq!(serde_json::from_str::<Paths>(&stored).unwrap(), paths);
        assert_eq!(paths.iter().next_back(), Some(("-x", Change::Removed)));
    }
}
