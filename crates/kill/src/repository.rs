use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Failure;

/// The repository of a site.
pub(crate) fn path(folder: &Path) -> PathBuf {
    folder.join("origin.git")
}

/// Makes a bare repository whose branches `train/0` and so on have commits enough for any number of pushes, and
/// answers the commits of each, oldest first.
pub(crate) fn make(path: &Path) -> Result<Vec<Vec<String>>, Failure> {
    git(Command::new("git").args(["init", "-q", "--bare", "-b", "train/0"]).arg(path), "")?;
    let marks = path.join("commits");
    let mut export = std::ffi::OsString::from("--export-marks=");
    export.push(&marks);
    git(Command::new("git").current_dir(path).args(["fast-import", "--quiet"]).arg(export), &history())?;
    let text = fs::read_to_string(marks)?;
    let mut commits = vec![String::new(); BRANCHES * LENGTH];
    for line in text.lines() {
        let (mark, sha) = line.split_once(' ').ok_or("a line of git's marks has no space")?;
        let number: usize = mark.trim_start_matches(':').parse()?;
        sha.clone_into(&mut commits[number - 1]);
    }
    Ok(commits.chunks(LENGTH).map(<[_]>::to_vec).collect())
}

/// As `git fast-import` reads it. Each commit has its number, and how long its run takes.
fn history() -> String {
    let mut text = String::new();
    for number in 0..BRANCHES * LENGTH {
        let (branch, mark, now) = (number / LENGTH, number + 1, 1_795_000_000 + number);
        let pause = if number % 12 == 5 { LONG.to_owned() } else { format!("0.{:02}", number * 37 % 70) };
        let own = number.to_string();
        text += &format!("commit refs/heads/train/{branch}\nmark :{mark}\n");
        text += &format!("committer a <a@example.org> {now} +0000\ndata 4\ntune\n");
        for (file, content) in [("number", own), ("pause", pause)] {
            text += &format!("M 100644 inline {file}\ndata {}\n{content}\n", content.len());
        }
    }
    text
}

fn git(command: &mut Command, input: &str) -> Result<(), Failure> {
    let mut child = command.env("GIT_CONFIG_GLOBAL", "/dev/null").stdin(Stdio::piped()).spawn()?;
    child.stdin.take().expect("its standard input is a pipe").write_all(input.as_bytes())?;
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(format!("git: {status}").into()) }
}

/// How long some runs take, in seconds: longer than it takes to find that a supervisor was killed, to wait for the next
/// attempt and to begin it, also where whoever does so is killed once more. So whoever begins one too early finds the
/// last one alive.
const LONG: &str = "15";
pub(crate) const REPOSITORY: &str = "acme/models";
/// Each is a group. More of them than runs at once, since the run of a killed worker keeps its group for a lease.
const BRANCHES: usize = 24;
pub(crate) const LENGTH: usize = 600;
