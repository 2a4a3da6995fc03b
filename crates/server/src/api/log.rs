use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path as FilePath;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use swifthook_core::{Job, RunKey, RunLog};
use swifthook_launch::{Beneath, LogReader};

use super::jobs;
use super::problem::Problem;
use super::router::Api;
use super::terminal::plain;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// The last lines; of those that have the word, where one is given.
    tail: Option<usize>,
    grep: Option<String>,
    /// Of an earlier attempt.
    attempt: Option<u32>,
}

/// The log of a job's last attempt as plain text.
pub(super) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(which) = which?;
    let job = jobs::find(&api, &id).await?;
    let attempt = which.attempt.unwrap_or(job.state.attempt);
    let key = RunKey { job: job.id, attempt };
    let directory = api.state_dir.join("runs").join(key.to_string());
    let lines = which.tail.unwrap_or(DEFAULT_LINES).clamp(1, MOST_LINES);
    let (hidden, word) = (api.hidden.clone(), which.grep.clone());
    let reading = api.looks.look(&key, move || {
        let hidden = hidden();
        let file = open(&directory)?;
        tail(file, Most { lines, bytes: MOST_BYTES }, word.as_deref(), |line| redacted(line, &hidden))
    });
    let text = match reading.await.map_err(io::Error::other).flatten() {
        Ok(text) => text,
        // It is on another machine, or was removed, or is nothing that would be shown.
        Err(error) => match (api.store.run_log(key).await?, error.kind()) {
            (Some(log), _) => kept(&log, lines, which.grep.as_deref()),
            (None, io::ErrorKind::NotFound) => return Err(Problem::not_found(nowhere(&job, attempt))),
            (None, _) => {
                let why = format!("the log of attempt {attempt} cannot be read: {error}");
                return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, why));
            }
        },
    };
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))];
    Ok((kind, text).into_response())
}

/// The log in the directory of a run, if it is a regular file: the run may have put something else there.
pub(crate) fn open(directory: &FilePath) -> io::Result<File> {
    Beneath::at(directory)?.file("log")
}

/// The end of a log, at most so many bytes, as it may be shown: without the values that nobody is to see.
pub(crate) fn log_tail(file: File, bytes: usize, hidden: &[String]) -> io::Result<String> {
    tail(file, Most { lines: usize::MAX, bytes }, None, |line| redacted(line, hidden))
}

/// What was kept of a log whose file is not here.
fn kept(log: &RunLog, lines: usize, word: Option<&str>) -> String {
    let found = || log.tail.lines().filter(|line| word.is_none_or(|word| line.contains(word)));
    let first = found().count().saturating_sub(lines);
    let text: String = found().skip(first).flat_map(|line| [line, "\n"]).collect();
    if log.length <= RunLog::MOST as u64 {
        return text;
    }
    format!(
        "[the end of {} bytes; what there is of them is {} on {}]\n{text}",
        log.length, log.file, log.host
    )
}

fn nowhere(job: &Job, attempt: u32) -> String {
    let host = job.state.handle.as_ref().and_then(|handle| handle.host.as_deref());
    match host {
        Some(host) if !job.state.stage.is_final() && attempt == job.state.attempt => {
            format!("nothing of the log of attempt {attempt} has come from {host} yet")
        }
        _ => format!("attempt {attempt} of this job has no log"),
    }
}

/// How much of a log is wanted.
#[derive(Clone, Copy)]
struct Most {
    lines: usize,
    bytes: usize,
}

/// The last lines of a file, of those that have the word. Memory and time are bounded, however large the file is.
fn tail(file: File, most: Most, word: Option<&str>, shown: impl Fn(String) -> String) -> io::Result<String> {
    // Without a word to look for, only the end matters.
    let log = LogReader::last(file, if word.is_none() { most.bytes as u64 } else { MOST_SEARCHED })?;
    let mut reader = BufReader::new(log);
    let mut kept = VecDeque::new();
    let mut bytes = 0;
    let mut line = Vec::new();
    while read_line(&mut reader, &mut line)? {
        let text = shown(plain(&line));
        if word.is_some_and(|word| !text.contains(word)) {
            continue;
        }
        bytes += text.len() + 1;
        kept.push_back(text);
        while kept.len() > most.lines || bytes > most.bytes {
            bytes -= kept.pop_front().map_or(0, |first: String| first.len() + 1);
        }
    }
    Ok(kept.into_iter().flat_map(|line| [line, "\n".to_owned()]).collect())
}

/// A line without the values of the moment that nobody is to see.
fn redacted(line: String, hidden: &[String]) -> String {
    hidden.iter().fold(line, |line, value| match line.contains(value) {
        true => line.replace(value, "[redacted]"),
        false => line,
    })
}

/// Reads a line without its end, in pieces where it is very long; whether there was one.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let read = reader.by_ref().take(LONGEST_LINE).read_until(b'\n', line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(read > 0)
}

const DEFAULT_LINES: usize = 1_000;
const MOST_LINES: usize = 100_000;
const MOST_BYTES: usize = 8 << 20;
const LONGEST_LINE: u64 = 1 << 20;
/// Length of a log in which a word is looked for in, from its end on.
const MOST_SEARCHED: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(
        file: &FilePath,
        most: Most,
        word: Option<&str>,
        shown: impl Fn(String) -> String,
    ) -> io::Result<String> {
        super::tail(File::open(file).unwrap(), most, word, shown)
    }

    #[test]
    fn neither_a_link_nor_a_pipe_is_a_log_and_of_one_without_end_the_end_is_searched() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        std::fs::create_dir(&run).unwrap();
        let log = run.join("log");
        assert_eq!(open(&run).unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::write(folder.path().join("swifthook.toml"), "secret").unwrap();
        std::os::unix::fs::symlink("../swifthook.toml", &log).unwrap();
        let told = open(&run).unwrap_err();
        assert_eq!(told.to_string(), "`log` is a symbolic link or leads over one, and is not followed");
        std::fs::remove_file(&log).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &log, rustix::fs::Mode::RWXU).unwrap();
        assert_eq!(open(&run).unwrap_err().to_string(), "`log` is no regular file");
        std::fs::remove_file(&log).unwrap();
        let file = File::create(&log).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"\nlast\n", 8 << 40).unwrap();
        let most = Most { lines: 3, bytes: 1 << 20 };
        assert!(log_tail(open(&run).unwrap(), 1 << 10, &[]).unwrap().len() <= (1 << 10) + 1);
        assert!(super::tail(open(&run).unwrap(), most, None, |line| line).unwrap().ends_with("\nlast\n"));
    }

    fn lines(lines: usize) -> Most {
        Most { lines, bytes: MOST_BYTES }
    }

    #[test]
    fn the_last_lines_with_the_word_are_shown_as_plain_text() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log");
        let text: String = (1..=2_000).map(|n| format!("\x1b[1mstep {n}\x1b[0m\n")).collect();
        std::fs::write(&file, text + "no end").unwrap();
        assert_eq!(tail(&file, lines(2), None, |line| line).unwrap(), "step 2000\nno end\n");
        assert_eq!(tail(&file, lines(2), Some("step 1"), |line| line).unwrap(), "step 1998\nstep 1999\n");
        assert_eq!(tail(&file, lines(2), Some("nothing"), |line| line).unwrap(), "");
        assert_eq!(tail(&file, lines(5_000), None, |line| line).unwrap().lines().count(), 2_001);
    }

    #[test]
    fn a_log_without_lines_does_not_fill_the_memory() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log");
        std::fs::write(&file, vec![b'x'; 3 * MOST_BYTES]).unwrap();
        assert!(tail(&file, lines(10), Some("x"), |line| line).unwrap().len() <= MOST_BYTES);
        assert!(tail(&file, lines(10), None, |line| line).unwrap().len() <= MOST_BYTES + 1);
    }

    #[test]
    fn what_is_cut_out_of_a_log_is_told_and_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log");
        let log = File::create(&file).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&log, b"step 1\n", 0).unwrap();
        // As far out as a run can seek on most file systems.
        std::os::unix::fs::FileExt::write_all_at(&log, b"\nstep 9\n", 1 << 43).unwrap();
        let read = |lines_of, word| tail(&file, lines(lines_of), word, |line| line).unwrap();
        let [all, found] = [read(100, None), read(100, Some("bytes are cut out"))];
        assert!(all.starts_with("step 1\n") && all.ends_with("step 9\n") && all.len() < 10_000, "{all}");
        assert!(found.starts_with("[swifthook: 87960930") && found.lines().count() == 1, "{found}");
        assert_eq!(read(1, Some("step")), "step 9\n");
        assert!(
            log_tail(File::open(&file).unwrap(), RunLog::MOST, &[]).unwrap().contains("bytes are cut out")
        );
    }

    #[test]
    fn of_a_log_that_is_elsewhere_the_end_is_shown() {
        let run = RunKey { job: swifthook_core::JobId([7; 16]), attempt: 2 };
        let tail = "step 8\nstep 9\n".to_owned();
        let log = RunLog { run, host: "gpu-1".into(), file: "/runs/x/log".into(), length: 14, tail };
        assert_eq!(kept(&log, 1, None), "step 9\n");
        assert_eq!(kept(&log, 10, Some("8")), "step 8\n");
        let long = RunLog { length: 90_000, ..log };
        assert_eq!(
            kept(&long, 10, None),
            "[the end of 90000 bytes; what there is of them is /runs/x/log on gpu-1]\nstep 8\nstep 9\n"
        );
    }

    #[test]
    fn values_that_nobody_is_to_see_are_not_shown() {
        let hidden = ["hf_abcdef".to_owned()];
        assert_eq!(redacted("token hf_abcdef, hf_abcdef".into(), &hidden), "token [redacted], [redacted]");
        assert_eq!(redacted("token hf_abcde".into(), &hidden), "token hf_abcde");
    }
}
