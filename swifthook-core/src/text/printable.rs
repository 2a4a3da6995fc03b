use std::borrow::Cow;

/// `text` on one line, with every character escaped that moves a cursor, turns the direction of what follows or is not
/// seen: `\n`, `\u{1b}`, `\u{202e}`.
///
/// For whatever a push, a run, a server or a page has written, on its way to a terminal or a line of a log.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, is_printable)
}

/// Escapes text of several lines: their ends and tabs stay.
#[must_use]
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |letter| matches!(letter, '\n' | '\t') || is_printable(letter))
}

/// Returns `true` for what is seen where it stands: neither a control character nor one that only changes how others
/// are shown.
///
/// Unicode's categories Cc, Cf, Zl and Zp, and what it calls
/// [default ignorable](https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point).
#[must_use]
pub fn is_printable(letter: char) -> bool {
    if letter.is_control() {
        return false;
    }
    letter < FIRST || !INVISIBLE.iter().any(|(first, last)| (*first..=*last).contains(&letter))
}

fn escaped(text: &str, is_kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(&is_kept) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            letter if is_kept(letter) => escaped.push(letter),
            '\n' | '\r' | '\t' => escaped.extend(letter.escape_default()),
            letter => escaped.extend(letter.escape_unicode()),
        }
    }
    Cow::Owned(escaped)
}

/// The first of those below, so that most text is looked at once.
const FIRST: char = '\u{ad}';

const INVISIBLE: [(char, char); 27] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    // Zero width, left-to-right and right-to-left marks.
    ('\u{200b}', '\u{200f}'),
    // Separators of lines and paragraphs; embeddings and overrides of the direction.
    ('\u{2028}', '\u{202e}'),
    // Word joiner, invisible operators, isolates of the direction.
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    // Tags, variation selectors, and what is kept for more of them.
    ('\u{e0000}', '\u{e0fff}'),
    // No characters at all.
    ('\u{fffe}', '\u{ffff}'),
    ('\u{10fffe}', '\u{10ffff}'),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_or_a_reader_does_not_see_is_escaped() {
        for (text, shown) in [
            ("configs/größe_模型_😀.yaml", "configs/größe_模型_😀.yaml"),
            ("a\\b", "a\\b"),
            ("\u{fffd}", "\u{fffd}"),
            ("gnp.\u{202e}lmay", "gnp.\\u{202e}lmay"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("\u{2066}a\u{2069}", "\\u{2066}a\\u{2069}"),
            ("a\u{2028}b\u{2029}", "a\\u{2028}b\\u{2029}"),
            ("\u{1b}[2J\u{9b}31m\u{7f}\0", "\\u{1b}[2J\\u{9b}31m\\u{7f}\\u{0}"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("soft\u{ad}ly \u{e0041}", "soft\\u{ad}ly \\u{e0041}"),
        ] {
            assert_eq!(printable(text), shown);
        }
        assert!(matches!(printable("plain ü"), Cow::Borrowed(_)));
        assert_eq!(printable_lines("a\n\tb\r\u{202e}\n"), "a\n\tb\\r\\u{202e}\n");
    }
}
