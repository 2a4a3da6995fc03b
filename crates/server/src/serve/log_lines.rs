//! Lines of the log as they are written: without what lets somebody in, and each one line, whatever is told in it.

use std::fmt::Write as _;
use std::io::{self, Write};

use swifthook_core::text::{is_printable, printable, without_user_info};

/// Format of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    /// With colours, which are our own: those that somebody else has written come here escaped.
    Coloured,
    Json,
}

/// A writer of whole lines, as the log has them. It never fails: whoever logs has no answer to a log that is full.
pub(super) struct Shown<W> {
    pub(super) form: Form,
    pub(super) to: W,
}

impl<W: Write> Write for Shown<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let body = text.strip_suffix('\n').unwrap_or(&text);
        let mut shown = match self.form {
            Form::Plain => printable(&without_user_info(body)).into_owned(),
            Form::Coloured => coloured(&without_user_info(body)),
            Form::Json => json(body),
        };
        shown.push_str(&text[body.len()..]);
        let _: io::Result<()> = self.to.write_all(shown.as_bytes());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _: io::Result<()> = self.to.flush();
        Ok(())
    }
}

fn coloured(line: &str) -> String {
    let parts: Vec<_> = line.split('\u{1b}').map(printable).collect();
    parts.join("\u{1b}")
}

/// JSON of one line: each string in it is shown by itself, so that it stays JSON.
fn json(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find('"') {
        let (before, string) = rest.split_at(start + 1);
        let end = end_of_string(string);
        shown.push_str(before);
        for letter in without_user_info(&string[..end]).chars() {
            if is_printable(letter) {
                shown.push(letter);
                continue;
            }
            for unit in letter.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        }
        let after = string.len().min(end + 1);
        shown.push_str(&string[end..after]);
        rest = &string[after..];
    }
    shown + rest
}

fn end_of_string(string: &str) -> usize {
    let mut is_escaped = false;
    let ends = |letter: char| {
        let ends = letter == '"' && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
        ends
    };
    string.find(ends).unwrap_or(string.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(form: Form, line: &str) -> String {
        let mut shown = Shown { form, to: Vec::new() };
        shown.write_all(line.as_bytes()).unwrap();
        String::from_utf8(shown.to).unwrap()
    }

    #[test]
    fn a_line_is_one_line_without_what_lets_somebody_in() {
        let line = "WARN cannot fetch error=postgres://ada:s3cret@db/x said\nINFO forged \u{202e}\u{1b}[2J\n";
        assert_eq!(
            shown(Form::Plain, line),
            "WARN cannot fetch error=postgres://…@db/x said\\nINFO forged \\u{202e}\\u{1b}[2J\n"
        );
        let coloured = "\u{1b}[33mWARN\u{1b}[0m https://x:s3cret@h/a\nforged\u{202e}\n";
        assert_eq!(
            shown(Form::Coloured, coloured),
            "\u{1b}[33mWARN\u{1b}[0m https://…@h/a\\nforged\\u{202e}\n"
        );
    }

    /// A disk that is full.
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    #[test]
    fn whoever_logs_goes_on_where_the_log_cannot_be_written() {
        for form in [Form::Plain, Form::Coloured, Form::Json] {
            let mut shown = Shown { form, to: Full };
            assert_eq!(shown.write(b"INFO delivery\n").unwrap(), 14);
            shown.flush().unwrap();
        }
    }

    #[test]
    fn json_stays_json() {
        let object = serde_json::json!({
            "error": "at \"https://x:s3cret@h/a?t=s3cret\" or \\ u:s3cret@h",
            "sender": "ada@example.org",
            "path": "a\u{202e}b\n\u{9b}",
        });
        let line = shown(Form::Json, &format!("{object}\n"));
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["sender"], "ada@example.org");
        assert_eq!(read["path"], "a\u{202e}b\n\u{9b}");
        assert_eq!(read["error"], "at \"https://…@h/a?…\" or \\ …@h");
        assert!(!line.contains("s3cret") && !line.contains('\u{202e}') && !line.contains('\u{9b}'), "{line}");
    }
}
