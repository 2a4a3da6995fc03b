//! The JSON reader: serde_json, or sonic-rs with the feature `sonic`. Both call the same visitors.

#[cfg(feature = "sonic")]
pub(super) use self::sonic::read;
#[cfg(not(feature = "sonic"))]
pub(super) use self::standard::read;

#[cfg(any(not(feature = "sonic"), test))]
mod standard {
    use serde::de::{Deserializer, Visitor};
    use serde_json::error::Category;

    use crate::push::parse::Unread;

    /// Reads an object, which is all of the text.
    pub(in crate::push::parse) fn read<'de, V: Visitor<'de>>(
        text: &'de str,
        object: V,
    ) -> Result<V::Value, Unread> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let read = deserializer.deserialize_map(object).and_then(|value| deserializer.end().map(|()| value));
        read.map_err(|error| match error.classify() {
            Category::Data => Unread::NotAPush { why: error.to_string(), is_ping: false },
            _ => Unread::NotJson(error.to_string()),
        })
    }
}

#[cfg(feature = "sonic")]
mod sonic {
    use serde::de::{Deserializer, Visitor};
    use sonic_rs::error::Category;

    use crate::push::parse::Unread;

    /// Reads an object, which is all of the text.
    pub(in crate::push::parse) fn read<'de, V: Visitor<'de>>(
        text: &'de str,
        object: V,
    ) -> Result<V::Value, Unread> {
        let mut deserializer = sonic_rs::Deserializer::from_str(text);
        let read = deserializer.deserialize_map(object).and_then(|value| deserializer.end().map(|()| value));
        read.map_err(|error| match error.classify() {
            Category::TypeUnmatched | Category::NotFound => {
                Unread::NotAPush { why: error.to_string(), is_ping: false }
            }
            _ => Unread::NotJson(error.to_string()),
        })
    }
}

#[cfg(all(test, feature = "sonic"))]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::{sonic, standard};
    use crate::push::parse::fields::{Fields, Payload};
    use crate::push::parse::{Reported, Unread};
    use crate::{RepoName, Source};

    /// All that a payload says, or in which of the two ways it is none.
    fn told(text: &str, read: Result<Fields<'_>, Unread>) -> Result<String, &'static str> {
        let fields = read.map_err(|unread| match unread {
            Unread::NotJson(_) => "not JSON",
            Unread::NotAPush { .. } => "not a push",
        })?;
        let is_ping = fields.is_ping();
        let Ok(reported) = Reported::new(fields) else {
            return Ok(format!("ping: {is_ping}"));
        };
        let name = RepoName::new("acme/models").expect("it is a name");
        Ok(format!("{:?}", reported.push(name, Source::Reconcile, Bytes::copy_from_slice(text.as_bytes()))))
    }

    fn both(text: &str) -> [Result<String, &'static str>; 2] {
        [
            told(text, standard::read(text, Payload::of(text))),
            told(text, sonic::read(text, Payload::of(text))),
        ]
    }

    const PUSH: &str = r#"{"ref":"refs/heads/main","before":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","after":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","created":false,"forced":false,"repository":{"id":1e3,"full_name":"acme/mod\u0065ls","pushed_at":1795514460,"topics":[[],{"a":-0.5e-7}]},"pusher":{"name":"d\u00fc","email":null},"sender":{"login":"de\"v"},"commits":[{"id":"b","message":"\ud83d\ude00 \n","added":["a b.yaml","\t\u00e9"],"removed":[],"modified":["configs/sft_a.yaml"]}],"head_commit":{"id":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","message":"tune"}}"#;

    #[test]
    fn both_readers_take_a_push_and_say_the_same_of_it() {
        let [standard, sonic] = both(PUSH);
        assert!(standard.as_ref().is_ok_and(|push| push.contains("a b.yaml")), "{standard:?}");
        assert_eq!(standard, sonic);
    }

    #[test]
    fn both_readers_refuse_what_is_no_object() {
        for text in
            ["", " ", "[]", "null", "1", "\"x\"", "{", "{}x", "{}{}", "{\"a\":1,}", "{\"ref\":1}", "{'a':1}"]
        {
            let [standard, sonic] = both(text);
            assert_eq!(standard.is_err(), sonic.is_err(), "{text}: {standard:?}, {sonic:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        /// What serde_json takes is taken and understood alike. Not the other way round: sonic-rs does not look at
        /// the escapes of a string that it skips, so it takes some texts that are nearly JSON.
        #[test]
        fn both_readers_understand_alike_what_is_nearly_a_push(
            changes in prop::collection::vec((0..PUSH.len(), 0..4_usize, prop::sample::select(TOKENS)), 1..4),
        ) {
            let mut text = PUSH.to_owned();
            for (at, length, token) in changes {
                let start = (0..=at.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
                let end = (start + length..=text.len()).find(|i| text.is_char_boundary(*i)).unwrap_or(text.len());
                text.replace_range(start..end.max(start), token);
            }
            let [standard, sonic] = both(&text);
            if standard.is_ok() {
                prop_assert_eq!(standard, sonic, "{}", text);
            }
        }
    }

    const TOKENS: &[&str] = &[
        "",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\u",
        "\\ud800",
        "\\udc00",
        "\\x",
        "null",
        "true",
        "false",
        "nul",
        "0",
        "00",
        "-",
        "1e400",
        "-1",
        "18446744073709551616",
        "1.",
        ".5",
        "\n",
        "\u{0}",
        "\u{1f}",
        "ü",
        " ",
        "\t",
        "/**/",
        "\"ref\":null,",
        "\"commits\":[],",
        "\"zen\":1,",
    ];
}
