use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use crate::Failure;

/// A process of a run.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    /// Its job and attempt, `<job>-<attempt>`.
    pub(crate) run: String,
    parent: i32,
    is_called_supervisor: bool,
}

impl Process {
    /// Whether it was there to get it.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        kill_process(self.pid, signal).is_ok()
    }
}

/// The supervisors of all runs below `folder`. What one of them is just starting is called like it until it executes its
/// program, and is none.
pub(crate) fn supervisors(folder: &Path) -> Result<Vec<Process>, Failure> {
    let mut called = of_runs(folder)?;
    called.retain(|process| process.is_called_supervisor);
    let pids: Vec<i32> = called.iter().map(|process| process.pid.as_raw_nonzero().get()).collect();
    called.retain(|process| !pids.contains(&process.parent));
    Ok(called)
}

/// The processes of all runs below `folder`: supervisors, and whatever has inherited their environment.
pub(crate) fn of_runs(folder: &Path) -> Result<Vec<Process>, Failure> {
    let output = format!("SWIFTHOOK_OUTPUT_DIR={}/", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse().ok()).and_then(Pid::from_raw)
        else {
            continue;
        };
        // A process that ends meanwhile, or is another user's, is none of ours.
        let Ok(environment) = fs::read(path.join("environ")) else { continue };
        let environment = String::from_utf8_lossy(&environment);
        let variable = |name: &str| environment.split('\0').find_map(|line| line.strip_prefix(name));
        if variable(&output).is_none() {
            continue;
        }
        let arguments = fs::read(path.join("cmdline")).unwrap_or_default();
        found.push(Process {
            pid,
            run: variable("SWIFTHOOK_RUN=").unwrap_or_default().to_owned(),
            parent: parent(&path).unwrap_or_default(),
            is_called_supervisor: arguments.starts_with(b"swifthook-supervise\0"),
        });
    }
    Ok(found)
}

/// The parent of a process: the second field behind its name, which may have anything in it
/// (<https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>).
fn parent(process: &Path) -> Option<i32> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
