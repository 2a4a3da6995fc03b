//! What a terminal would do and a reader does not want: colours, cursor movements, progress bars that overwrite
//! themselves.

use swifthook_core::text::printable;

/// A line of a log as text: control sequences are gone, and of what was overwritten the last is left.
pub(crate) fn plain(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let last = line.rsplit(|byte| *byte == b'\r').find(|part| !part.is_empty()).unwrap_or_default();
    let text = String::from_utf8_lossy(last);
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_sequence(&mut rest),
            '\u{9b}' => skip_until_final(&mut rest),
            '\t' => plain.push(c),
            c if c.is_control() => {}
            c => plain.push_str(&printable(c.encode_utf8(&mut [0; 4]))),
        }
    }
    plain
}

/// Skips what follows an ESC (ECMA-48).
fn skip_sequence(rest: &mut std::str::Chars<'_>) {
    match rest.clone().next() {
        Some('[') => {
            rest.next();
            skip_until_final(rest);
        }
        // Strings such as a window's title: up to BEL or ESC \.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            rest.next();
            while let Some(c) = rest.next() {
                if c == '\u{7}' || c == '\u{9c}' {
                    return;
                }
                if c == '\u{1b}' {
                    if rest.clone().next() == Some('\\') {
                        rest.next();
                    }
                    return;
                }
            }
        }
        // Intermediate characters, and then one that ends it.
        Some(' '..='/') => {
            while let Some(' '..='/') = rest.clone().next() {
                rest.next();
            }
            rest.next();
        }
        Some('0'..='~') => {
            rest.next();
        }
        _ => {}
    }
}

fn skip_until_final(rest: &mut std::str::Chars<'_>) {
    for c in rest.by_ref() {
        if matches!(c, '@'..='~') {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn only_text_is_left() {
        for (line, text) in [
            (&b"loss \x1b[1;32m0.5\x1b[0m"[..], "loss 0.5"),
            (b"\x1b]0;pwned\x07title", "title"),
            (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
            (b"\x1b(Bascii\x1bc", "ascii"),
            (b" 10%|#\r 50%|###\r100%|######\r", "100%|######"),
            (b"plain\ttext\r", "plain\ttext"),
            (b"\x00\x08bell\x07", "bell"),
            (b"\xff\xfe", "\u{fffd}\u{fffd}"),
            ("größer \u{9b}31mrot".as_bytes(), "größer rot"),
            ("exe.\u{202e}gnp \u{2028}".as_bytes(), "exe.\\u{202e}gnp \\u{2028}"),
            (b"\x1b", ""),
            (b"\x1b[31", ""),
            (b"", ""),
        ] {
            assert_eq!(plain(line), text);
        }
    }
}
