//! Names of files that are no text, for people and for whatever takes text alone.

use std::fmt::Write;

/// A path whose bytes are not UTF-8, so that it can be shown and kept: in double quotes, with the bytes that are no text as
/// `\351`, as git writes it (<https://git-scm.com/docs/git-config#Documentation/git-config.txt-corequotePath>). Nothing is
/// lost.
///
/// # Examples
///
/// ```
/// use swifthook_core::text::{is_quoted_path, quoted_path};
///
/// let shown = quoted_path(b"configs/caf\xe9.yaml");
/// assert_eq!(shown, r#""configs/caf\351.yaml""#);
/// assert!(is_quoted_path(&shown));
/// ```
#[must_use]
pub fn quoted_path(path: &[u8]) -> String {
    let mut quoted = String::with_capacity(path.len() + 8);
    quoted.push('"');
    for chunk in path.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\\' => quoted.extend(['\\', character]),
                control if control.is_ascii_control() => octal(&mut quoted, control as u8),
                other => quoted.push(other),
            }
        }
        chunk.invalid().iter().for_each(|byte| octal(&mut quoted, *byte));
    }
    quoted.push('"');
    quoted
}

/// Tells whether a text is what [`quoted_path`] makes of a path that is not UTF-8.
#[must_use]
pub fn is_quoted_path(text: &str) -> bool {
    let Some(inside) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return false };
    let bytes = inside.as_bytes();
    let is_octal = |three: &[u8]| matches!(three, [b'2'..=b'3', rest @ ..] if rest.iter().all(|digit| matches!(digit, b'0'..=b'7')));
    bytes.windows(4).any(|four| four[0] == b'\\' && is_octal(&four[1..]))
}

fn octal(text: &mut String, byte: u8) {
    write!(text, "\\{byte:03o}").expect("writing to a string succeeds");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_written_as_git_writes_it() {
        for (path, quoted) in [
            (&b"caf\xe9"[..], r#""caf\351""#),
            (b"\xff\xfe", r#""\377\376""#),
            (b"a \"b\"\\\n\xe9", r#""a \"b\"\\\012\351""#),
            ("ü\u{fffd}/".as_bytes(), "\"ü\u{fffd}/\""),
        ] {
            assert_eq!(quoted_path(path), quoted);
            assert_eq!(is_quoted_path(quoted), std::str::from_utf8(path).is_err(), "{quoted}");
        }
        for text in ["", "\"", "\"\"", "configs/a\\351.yaml", "\"a.yaml\"", "\"a\\012\"", "\"a\\48\""] {
            assert!(!is_quoted_path(text), "{text}");
        }
    }
}
