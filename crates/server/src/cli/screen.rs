//! What is printed for people: tables, times, colours.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use swifthook_core::text::{is_printable, printable};

/// Prints to standard output. Whoever stops reading, as `head` does, is no failure.
pub(super) fn print(text: &[u8]) -> ExitCode {
    match io::stdout().lock().write_all(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

/// JSON as a line of its own, with what is not seen written as JSON escapes it: what it says stays the same.
pub(super) fn json_line(body: &[u8]) -> Vec<u8> {
    let mut line = String::with_capacity(body.len() + 1);
    for letter in String::from_utf8_lossy(body).chars() {
        // Outside of its strings, JSON has no others than these.
        if matches!(letter, '\n' | '\r' | '\t') || is_printable(letter) {
            line.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            let _ = write!(line, "\\u{unit:04x}");
        }
    }
    line.push('\n');
    line.into_bytes()
}

/// Rows under a heading, each column as wide as its widest cell. Cells may hold what others wrote.
pub(super) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<_> = rows.iter().map(|row| row.each_ref().map(|cell| harmless(cell))).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heading[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    let heading = heading.map(str::to_owned);
    for row in std::iter::once(&heading).chain(&rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// How long ago something was, roughly: `3m ago`.
pub(super) fn ago(time: &str, now: SystemTime) -> String {
    let Ok(then) = humantime::parse_rfc3339(time) else { return time.to_owned() };
    match now.duration_since(then).map(|past| past.as_secs()) {
        Ok(seconds @ 0..60) => format!("{seconds}s ago"),
        Ok(seconds @ 60..3_600) => format!("{}m ago", seconds / 60),
        Ok(seconds @ 3_600..172_800) => format!("{}h ago", seconds / 3_600),
        Ok(seconds) => format!("{}d ago", seconds / 86_400),
        Err(_) => "just now".to_owned(),
    }
}

/// The state of a job with the colour that fits, where there are colours.
pub(super) fn coloured(text: String, states: &[&str]) -> String {
    if !io::stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some() {
        return text;
    }
    states.iter().fold(text, |text, state| {
        let colour = match *state {
            "succeeded" => 32,
            "failed" | "quarantined" => 31,
            "running" | "finishing" => 36,
            "held" => 33,
            _ => return text,
        };
        text.replace(&format!("  {state}"), &format!("  \u{1b}[{colour}m{state}\u{1b}[0m"))
    })
}

/// Text that is not ours may move the cursor, or hide or turn what stands beside it: that is shown escaped.
pub(super) fn harmless(text: &str) -> String {
    printable(text).into_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            ["a".to_owned(), "größer".to_owned(), String::new()],
            ["bbbb".to_owned(), "x".to_owned(), "y".to_owned()],
        ];
        assert_eq!(table(["ID", "B", "C"], &rows), "ID    B       C\na     größer\nbbbb  x       y\n");
    }

    #[test]
    fn what_others_wrote_is_shown_escaped() {
        let rows = [["gnp.\u{202e}lmay".to_owned(), "a\nb\u{1b}[2J".to_owned()]];
        assert_eq!(table(["A", "B"], &rows), "A                 B\ngnp.\\u{202e}lmay  a\\nb\\u{1b}[2J\n");
        let body = "{\n\"a\": \"\u{202e}\u{9b}\u{e0041}ü\"}";
        let line = json_line(body.as_bytes());
        assert_eq!(line, "{\n\"a\": \"\\u202e\\u009b\\udb40\\udc41ü\"}\n".as_bytes());
        let (same, before): (serde_json::Value, serde_json::Value) =
            (serde_json::from_slice(&line).unwrap(), serde_json::from_str(body).unwrap());
        assert_eq!(same, before);
    }

    #[test]
    fn times_are_told_roughly() {
        let then = humantime::parse_rfc3339("2026-11-24T10:00:00.500Z").unwrap();
        for (seconds, text) in
            [(0, "0s ago"), (59, "59s ago"), (60, "1m ago"), (7_199, "1h ago"), (86_400 * 3, "3d ago")]
        {
            assert_eq!(ago("2026-11-24T10:00:00.500Z", then + Duration::from_secs(seconds)), text);
        }
        assert_eq!(ago("2026-11-24T10:00:00.500Z", then - Duration::from_secs(1)), "just now");
    }
}
