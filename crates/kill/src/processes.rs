use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Failure;

/// A process of a run.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    /// Its job and attempt, `<job>-<attempt>`.
    pub(crate) run: String,
    is_supervisor: bool,
}

impl Process {
    /// Kills it if it is a supervisor, and says so.
    pub(crate) fn kill_supervisor(&self) -> bool {
        self.is_supervisor && kill_process(self.pid, Signal::KILL).is_ok()
    }
}

/// The processes of all runs below `state`: supervisors, and whatever has inherited their environment.
pub(crate) fn of_runs(state: &Path) -> Result<Vec<Process>, Failure> {
    let output = format!("SWIFTHOOK_OUTPUT_DIR={}/", state.display());
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
            is_supervisor: arguments.starts_with(b"swifthook-supervise\0"),
        });
    }
    Ok(found)
}

/// Looks again and again until it is so, or says that the time is up.
pub(crate) fn wait_until(
    patience: Duration,
    mut is_so: impl FnMut() -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    let deadline = Instant::now() + patience;
    while !is_so()? {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(true)
}
