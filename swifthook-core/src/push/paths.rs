use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Changed paths, each with what became of it. Cheap to clone.
///
/// A path is listed once for each commit that lists it, in the order of the commits; the last entry of a path
/// says whether it exists after the push. Paths are raw, as git has them: spaces, newlines and a leading `-` are
/// possible.
#[derive(Clone)]
pub struct Paths {
    text: Bytes,
    decoded: Bytes,
    entries: Arc<[Entry]>,
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
    change: Change,
}

impl Paths {
    /// No paths.
    #[must_use]
    pub fn empty() -> Self {
        Self::from_iter(std::iter::empty::<(&str, Change)>())
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
        for (path, change) in self.raw().take(most) {
            builder.push_copy(path, change);
        }
        builder.build(Bytes::new())
    }

    /// The path of the entry at that position.
    pub(crate) fn path_at(&self, position: usize) -> &str {
        self.text_of(&self.entries[position])
    }

    fn text_of(&self, entry: &Entry) -> &str {
        std::str::from_utf8(self.bytes_of(entry)).expect("entries are made from whole strings only")
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
}

impl PathsBuilder {
    /// A path that stands in the body as it is, at `start..end` bytes.
    pub(crate) fn push_span(&mut self, start: usize, end: usize, change: Change) {
        self.entries.push(Entry { start: offset(start), end: offset(end), is_decoded: false, change });
    }

    /// How many there are so far.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// A path of which a copy is kept.
    pub(crate) fn push_decoded(&mut self, path: &str, change: Change) {
        self.push_copy(path.as_bytes(), change);
    }

    /// The same for what is known to be text.
    fn push_copy(&mut self, path: &[u8], change: Change) {
        let start = offset(self.decoded.len());
        self.decoded.extend_from_slice(path);
        self.entries.push(Entry { start, end: offset(self.decoded.len()), is_decoded: true, change });
    }

    /// The paths; `body` is what spans point into.
    pub(crate) fn build(self, body: Bytes) -> Paths {
        Paths { text: body, decoded: self.decoded.into(), entries: self.entries.into() }
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
    fn paths_survive_being_stored() {
        let paths: Paths =
            [("a b,\n\"ü\".yaml", Change::Present), ("-x", Change::Removed)].into_iter().collect();
        let stored = serde_json::to_string(&paths).unwrap();
        assert_eq!(serde_json::from_str::<Paths>(&stored).unwrap(), paths);
        assert_eq!(paths.iter().next_back(), Some(("-x", Change::Removed)));
    }
}
