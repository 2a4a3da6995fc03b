//! Readers of single values.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::time::Timestamp;

/// A string, borrowed from the body where it has no escapes. Half of a pair of surrogates is no text: there stands a U+FFFD in
/// its place.
pub(super) struct Text<'de> {
    pub(super) text: Cow<'de, str>,
    /// True if nothing had to be replaced.
    pub(super) is_exact: bool,
}

/// `repository.pushed_at`: seconds since 1970 in a push, RFC 3339 elsewhere. What is neither is unknown.
#[derive(Default)]
pub(super) struct Moment(pub(super) Option<Timestamp>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_bytes<E: Error>(self, text: &'de [u8]) -> Result<Text<'de>, E> {
                let text = String::from_utf8_lossy(text);
                Ok(Text { is_exact: true, text })
            }

            fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<Text<'de>, E> {
                let is_exact = std::str::from_utf8(text).is_ok();
                Ok(Text { is_exact, text: Cow::Owned(String::from_utf8_lossy(text).into_owned()) })
            }
        }
        deserializer.deserialize_bytes(Borrow)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Moment;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time")
            }

            fn visit_i64<E: Error>(self, seconds: i64) -> Result<Moment, E> {
                Ok(Moment(seconds.checked_mul(1_000).map(Timestamp)))
            }

            fn visit_u64<E: Error>(self, seconds: u64) -> Result<Moment, E> {
                i64::try_from(seconds).map_or(Ok(Moment(None)), |seconds| self.visit_i64(seconds))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Moment, E> {
                Ok(Moment(text.parse().ok()))
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Moment, E> {
                Ok(Moment(None))
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Moment, E> {
                Ok(Moment(None))
            }

            fn visit_unit<E: Error>(self) -> Result<Moment, E> {
                Ok(Moment(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Moment, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Moment(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Moment, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Moment(None))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
