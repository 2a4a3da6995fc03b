//! What is printed for people: tables, times, colours.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::SystemTime;

/// Prints to standard output. Whoever stops reading, as `head` does, is no failure.
pub(super) fn print(text: &[u8]) -> ExitCode {
    match io::stdout().lock().write_all(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

/// Rows under a heading, each column as wide as its widest cell.
pub(super) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heading[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    let heading = heading.map(str::to_owned);
    for row in std::iter::once(&heading).chain(rows) {
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

/// What is not text of ours may move the cursor: it is shown without that.
pub(super) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
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
