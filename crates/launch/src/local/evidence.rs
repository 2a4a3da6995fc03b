//! What can be seen of a run from outside: when it last wrote anything, and what its processes do.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use swifthook_core::{Pulse, Reason, RunKey, Timestamp};

use super::clear::alive;
use super::run_dir::RunDir;
use crate::process::Process;

/// When the run in `dir` last gave a sign of itself.
pub(crate) fn pulse(dir: &Path) -> Pulse {
    let changed =
        |name: &str| dir.join(name).metadata().and_then(|file| file.modified()).ok().map(Timestamp::from);
    let told_at = TOLD.iter().filter_map(|name| changed(name)).max();
    // An empty log was made by us.
    let has_log = dir.join(LOG).metadata().is_ok_and(|file| file.len() > 0);
    let logged_at = has_log.then(|| changed(LOG)).flatten();
    Pulse { written_at: told_at.max(logged_at), told_at }
}

/// Writes down what can be seen of the run, and leaves it as it is. `None` if enough was written down already.
pub(super) fn take(dir: &RunDir, key: &RunKey, why: &Reason) -> io::Result<Option<PathBuf>> {
    let now = SystemTime::now();
    let earlier = fs::read_dir(&dir.path)?.flatten();
    let count = earlier.filter(|entry| entry.file_name().to_string_lossy().starts_with(NAME)).count();
    if count >= MOST_FILES {
        return Ok(None);
    }
    let path = dir.path.join(format!("{NAME}{}.txt", count + 1));
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
    writeln!(file, "{}: {why}\n", Timestamp::from(now))?;
    let processes = alive(dir, key)?;
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
        let end = end_of(&dir.path.join(name)).unwrap_or_default();
        writeln!(file, "\n== the end of {name}\n{}", String::from_utf8_lossy(&end))?;
    }
    Ok(Some(path))
}

/// See `proc(5)`. What may not be read is left out; the kernel's stack is for root alone.
fn describe(file: &mut File, process: &Process) -> io::Result<()> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", process.pid)).unwrap_or_default();
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

fn end_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(bytes)
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
