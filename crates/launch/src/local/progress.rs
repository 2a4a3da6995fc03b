//! How far a run is, from the last lines that it wrote.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::OFlags;
use serde_json::{Map, Value};
use swifthook_core::Progress;

/// The progress of the run in `dir`: of the two files the one that was written last and tells anything. What a
/// training writes is no evidence of anything, so a file that cannot be read counts as one that says nothing.
pub(super) fn read(dir: &Path) -> Progress {
    let mut told: Vec<(SystemTime, Progress)> = ["progress.jsonl", "output/logging.jsonl"]
        .iter()
        .filter_map(|name| tail(&dir.join(name)).ok())
        .map(|(written, text)| (written, of_lines(&text)))
        .filter(|(_, progress)| *progress != Progress::default())
        .collect();
    told.sort_by_key(|(written, _)| *written);
    told.pop().map_or_else(Progress::default, |(_, progress)| progress)
}

/// The last complete lines of a file, and when it was written.
fn tail(path: &Path) -> io::Result<(SystemTime, String)> {
    // The training may have put anything there: a pipe must not hold us up.
    let mut options = OpenOptions::new();
    let mut file: File = options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let start = metadata.len().saturating_sub(TAIL);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let begin = if start == 0 {
        0
    } else {
        bytes.iter().position(|byte| *byte == b'\n').map_or(end, |first| first + 1)
    };
    Ok((metadata.modified()?, String::from_utf8_lossy(&bytes[begin.min(end)..end]).into_owned()))
}

/// Each thing as the last line says that mentions it: lines of an evaluation do not count steps.
fn of_lines(text: &str) -> Progress {
    let mut told = Told::default();
    for line in text.lines().rev() {
        if let Ok(Value::Object(line)) = serde_json::from_str(&without_bare_numbers(line)) {
            told.hear(&line);
        }
        if told.is_complete() {
            break;
        }
    }
    Progress {
        step: told.step.flatten(),
        max_steps: told.max_steps.flatten(),
        loss: told.loss.flatten(),
        eta_s: told.eta_s.flatten(),
    }
}

/// What later lines have said; `Some(None)` is a value that cannot be shown, such as a loss that is not a number,
/// and hides older ones.
#[derive(Default)]
struct Told {
    step: Option<Option<u64>>,
    max_steps: Option<Option<u64>>,
    loss: Option<Option<f64>>,
    eta_s: Option<Option<u64>>,
}

impl Told {
    fn hear(&mut self, line: &Map<String, Value>) {
        if let Some((step, max_steps)) =
            line.get("global_step/max_steps").and_then(Value::as_str).and_then(of_all)
        {
            self.step.get_or_insert(Some(step));
            self.max_steps.get_or_insert(Some(max_steps));
        }
        if let Some(text) = line.get("remaining_time").and_then(Value::as_str) {
            self.eta_s.get_or_insert(seconds(text));
        }
        for (name, number) in
            [("step", &mut self.step), ("max_steps", &mut self.max_steps), ("eta_s", &mut self.eta_s)]
        {
            if let Some(value) = line.get(name) {
                number.get_or_insert(whole(value));
            }
        }
        if let Some(loss) = line.get("loss") {
            self.loss.get_or_insert(loss.as_f64());
        }
    }

    fn is_complete(&self) -> bool {
        self.step.is_some() && self.max_steps.is_some() && self.loss.is_some() && self.eta_s.is_some()
    }
}

/// `1/12`.
fn of_all(text: &str) -> Option<(u64, u64)> {
    let (step, max_steps) = text.split_once('/')?;
    Some((step.trim().parse().ok()?, max_steps.trim().parse().ok()?))
}

/// `1d 2h 3m 4s`, in seconds.
fn seconds(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().try_fold(0u64, |sum, part| {
        let (number, unit) = part.split_at_checked(part.len().checked_sub(1)?)?;
        let factor = match unit {
            "d" => 86_400,
            "h" => 3_600,
            "m" => 60,
            "s" => 1,
            _ => return None,
        };
        sum.checked_add(number.parse::<u64>().ok()?.checked_mul(factor)?)
    })
}

/// A whole number, also one that is written with a fraction (`9.0`).
fn whole(value: &Value) -> Option<u64> {
    let rounded =
        || value.as_f64().filter(|number| (0.0..=MOST_SECONDS).contains(number)).map(|number| number.round());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the bounds just checked"
    )]
    value.as_u64().or_else(|| rounded().map(|number| number as u64))
}

/// The line with the bare `NaN`, `Infinity` and `-Infinity` that Python writes as `null`, outside texts.
fn without_bare_numbers(line: &str) -> String {
    let mut clean = String::with_capacity(line.len());
    let mut rest = line;
    let (mut in_text, mut escaped) = (false, false);
    while let Some(next) = rest.chars().next() {
        let bare = BARE.iter().find(|bare| !in_text && rest.starts_with(**bare));
        if let Some(bare) = bare {
            clean.push_str("null");
            rest = &rest[bare.len()..];
            continue;
        }
        in_text ^= next == '"' && !escaped;
        escaped = next == '\\' && in_text && !escaped;
        clean.push(next);
        rest = &rest[next.len_utf8()..];
    }
    clean
}

const BARE: [&str; 3] = ["NaN", "-Infinity", "Infinity"];
/// The most that is read: hundreds of lines, of which one would do.
const TAIL: u64 = 64 * 1024;
const MOST_SECONDS: f64 = 1e15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_ms_swift_are_read() {
        let text = "\
            {\"loss\": 6.2, \"global_step/max_steps\": \"1/12\", \"remaining_time\": \"1d 2h 3m 4s\"}\n\
            {\"loss\": 5.1, \"grad_norm\": NaN, \"global_step/max_steps\": \"2/12\", \"remaining_time\": \"9s\"}\n\
            {\"eval_loss\": 4.0, \"epoch\": 0.1}\n\
            not json\n\
            {\"last_model_checkpoint\": \"a \\\"NaN\\\" b\", \"log_history\": []}\n";
        let expected = Progress { step: Some(2), max_steps: Some(12), loss: Some(5.1), eta_s: Some(9) };
        assert_eq!(of_lines(text), expected);
        assert_eq!(seconds("1d 2h 3m 4s"), Some(93_784));
        for odd in ["soon", "s", "3", "99999999999999999999s", "é"] {
            assert_eq!(seconds(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_loss_that_is_no_number_hides_an_older_one() {
        let text = "{\"step\": 1, \"loss\": 0.5}\n{\"step\": 2, \"loss\": NaN}\n";
        assert_eq!(of_lines(text), Progress { step: Some(2), ..Progress::default() });
        assert_eq!(of_lines("{\"loss\": -Infinity, \"eta_s\": 9.4}").eta_s, Some(9));
    }

    #[test]
    fn bare_numbers_stay_in_texts() {
        assert_eq!(
            without_bare_numbers(r#"{"NaN": NaN, "a\"": -Infinity}"#),
            r#"{"NaN": null, "a\"": null}"#
        );
    }

    #[test]
    fn only_complete_lines_of_the_tail_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("progress.jsonl");
        let line = |step: u64| format!("{{\"step\": {step}, \"padding\": \"{}\"}}\n", "x".repeat(1_000));
        let all: String = (1..=100).map(line).collect();
        std::fs::write(&path, format!("{all}{{\"step\": 101")).unwrap();
        assert_eq!(read(dir.path()).step, Some(100));
        assert!(tail(&path).unwrap().1.len() as u64 <= TAIL);
        std::fs::write(&path, "{\"step\": 1").unwrap();
        assert_eq!(read(dir.path()), Progress::default());
    }

    #[test]
    fn a_pipe_where_the_log_should_be_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("progress.jsonl");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        assert_eq!(read(dir.path()), Progress::default());
    }
}
