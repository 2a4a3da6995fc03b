/// A value as one word of a POSIX shell, whatever is in it. The one place where a value becomes part of a script.
///
/// Between single quotes nothing has a meaning but the single quote itself
/// (<https://pubs.opengroup.org/onlinepubs/9699919799/utilities/V3_chap02.html#tag_18_02_02>).
///
/// `None` if it holds a zero byte, which no word can.
pub(super) fn quote(value: &str) -> Option<String> {
    (!value.contains('\0')).then(|| format!("'{}'", value.replace('\'', r"'\''")))
}

/// Words, with spaces between them.
pub(super) fn quote_all<'v>(values: impl IntoIterator<Item = &'v String>) -> Option<String> {
    let words: Option<Vec<_>> = values.into_iter().map(|value| quote(value)).collect();
    words.map(|words| words.join(" "))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// What a real shell makes of the words.
    fn given_back(words: &str) -> Vec<u8> {
        let script = format!("set -- {words}\nfor word do printf '%s\\0' \"$word\"; done");
        Command::new("sh").arg("-c").arg(script).output().unwrap().stdout
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn a_shell_gives_every_value_back(values in vec("[^\0]{0,12}|[ '\"`$\\\\\n\t!*?~#;&|<>(){}-]{0,12}", 1..8)) {
            let expected: Vec<u8> = values.iter().flat_map(|value| [value.as_bytes(), b"\0"].concat()).collect();
            prop_assert_eq!(given_back(&quote_all(&values).unwrap()), expected);
        }
    }

    #[test]
    fn what_no_word_can_hold_is_refused() {
        assert_eq!(quote("a\0b"), None);
        assert_eq!(quote("it's").as_deref(), Some(r"'it'\''s'"));
    }
}
