//! What can be seen of a run from outside: when it last wrote anything, and what its processes do.

use std::env;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use swifthook_core::{Pulse, Reason, RunKey, Timestamp};

use super::clear::alive;
use super::run_dir::RunDir;
use crate::beneath::Beneath;
use crate::cgroup::RunGroups;
use crate::process::Process;

/// When the run in `dir` last gave a sign of itself.
pub(super) fn pulse(dir: &Path) -> Pulse {
    let Ok(dir) = Beneath::at(dir) else { return Pulse::default() };
    let found = |name: &str| dir.metadata(name).ok().filter(Metadata::is_file);
    let changed = |name: &str| found(name)?.modified().ok().map(Timestamp::from);
    let told_at = TOLD.iter().filter_map(|name| changed(name)).max();
    // An empty log was made by us.
    let has_log = found(LOG).is_some_and(|file| file.len() > 0);
    let logged_at = has_log.then(|| changed(LOG)).flatten();
    Pulse { written_at: told_at.max(logged_at), told_at }
}

/// Writes down what can be seen of the run, and leaves it as it is. `None` if enough was written down already.
pub(super) fn take(
    dir: &RunDir,
    key: &RunKey,
    groups: Option<&RunGroups>,
    why: &Reason,
) -> io::Result<Option<PathBuf>> {
    let now = SystemTime::now();
    let written = Beneath::at(&dir.path)?;
    let Some((name, mut file)) = new_file(&written)? else { return Ok(None) };
    writeln!(file, "{}: {why}\n", Timestamp::from(now))?;
    let processes = alive(dir, key, groups)?;
    for process in processes.iter().take(MOST_PROCESSES) {
        describe(&mut file, process)?;
    }
    let pythons = processes.iter().filter(|process| is_python(process.pid)).take(MOST_PYTHONS);
    for process in pythons {
        // It reads the memory of the process and does not stop it: one that stands still would stay so.
        let pid = process.pid.to_string();
        ask(&mut file, "py-spy", &["dump", "--nonblocking", "--pid", &pid])?;
    }
    ask(&mut file, "nvidia-smi", &[])?;
    for name in TOLD.iter().chain([&LOG]) {
        let end = written.end_of(name, TAIL).unwrap_or_default();
        writeln!(file, "\n== the end of {name}\n{}", String::from_utf8_lossy(&end))?;
    }
    Ok(Some(dir.path.join(name)))
}

/// A file of its own for what is seen, in a directory in which the run may have put anything under its name.
fn new_file(dir: &Beneath) -> io::Result<Option<(String, File)>> {
    for number in 1..=MOST_FILES {
        let name = format!("{NAME}{number}.txt");
        match dir.create_new(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|file| Some((name, file))),
        }
    }
    Ok(None)
}

/// See `proc(5)`. What may not be read is left out; the kernel's stack is for root alone.
fn describe(file: &mut File, process: &Process) -> io::Result<()> {
    let read = |name: &str| beginning(&format!("/proc/{}/{name}", process.pid));
    let status = read("status");
    let fields = status.lines().filter(|line| STATUS.iter().any(|name| line.starts_with(name)));
    let fields: Vec<_> = fields.map(|line| line.replace('\t', " ")).collect();
    let command = read("cmdline").replace('\0', " ");
    writeln!(file, "== process {} (parent {}): {}", process.pid, process.parent, command.trim())?;
    writeln!(file, "{}; waits in {}", fields.join("; "), or_unknown(&read("wchan")))?;
    write!(file, "{}", read("stack"))?;
    let tasks = fs::read_dir(format!("/proc/{}/task", process.pid)).into_iter().flatten().flatten();
    for task in tasks.take(MOST_THREADS) {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let stat = read("stat");
        let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().next());
        let (name, place) = (read("comm"), read("wchan"));
        let thread = task.file_name();
        writeln!(
            file,
            "  thread {} {}: {}, {}",
            thread.display(),
            name.trim(),
            state.unwrap_or("?"),
            or_unknown(&place)
        )?;
    }
    Ok(())
}

/// The beginning of a file of `/proc`: how long a command line is, a process says itself.
fn beginning(path: &str) -> String {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(TAIL).read_to_end(&mut text));
    read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&text).into_owned())
}

fn or_unknown(place: &str) -> &str {
    match place.trim() {
        "" | "0" => "?",
        place => place,
    }
}

fn is_python(pid: i32) -> bool {
    let program = fs::read_link(format!("/proc/{pid}/exe"));
    program
        .is_ok_and(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python")))
}

/// Writes down what a program says, if it is installed, and does not wait for it for long.
fn ask(file: &mut File, program: &str, arguments: &[&str]) -> io::Result<()> {
    let paths = env::var_os("PATH").unwrap_or_default();
    let Some(path) = env::split_paths(&paths).map(|folder| folder.join(program)).find(|path| path.is_file())
    else {
        return Ok(());
    };
    writeln!(file, "\n== {program} {}", arguments.join(" "))?;
    let answer = Command::new(path)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file.try_clone()?)
        .spawn();
    let mut child = match answer {
        Ok(child) => child,
        Err(error) => return writeln!(file, "it cannot be started: {error}"),
    };
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait()?.is_none() {
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return writeln!(file, "it gave no answer within {} s", PATIENCE.as_secs());
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

const NAME: &str = "evidence-";
const LOG: &str = "log";
const TOLD: [&str; 2] = ["progress.jsonl", "output/logging.jsonl"];
const STATUS: [&str; 6] = ["Name:", "State:", "Threads:", "VmRSS:", "voluntary_ctxt", "nonvoluntary_ctxt"];
const MOST_FILES: usize = 10;
const MOST_PROCESSES: usize = 64;
const MOST_PYTHONS: usize = 8;
const MOST_THREADS: usize = 32;
const TAIL: u64 = 16 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn evidence_is_written_over_nothing_that_a_run_has_put_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        fs::create_dir(&run).unwrap();
        fs::write(folder.path().join("secret"), "token").unwrap();
        symlink(folder.path().join("secret"), run.join("evidence-1.txt")).unwrap();
        symlink(folder.path().join("made"), run.join("evidence-2.txt")).unwrap();
        symlink(folder.path().join("secret"), run.join("log")).unwrap();
        let dir = RunDir::new(run.clone(), folder.path().join("control"));
        let key = RunKey { job: swifthook_core::JobId([7; 16]), attempt: 1 };
        let path = take(&dir, &key, None, &Reason::new("silent", "nothing")).unwrap().unwrap();
        assert_eq!(path, run.join("evidence-3.txt"));
        assert!(!fs::read_to_string(&path).unwrap().contains("token"));
        assert_eq!(fs::read_to_string(folder.path().join("secret")).unwrap(), "token");
        assert!(!folder.path().join("made").exists());
        assert_eq!(pulse(&run), Pulse::default(), "of a link nothing is told");
    }
}
