//! The processes of this machine, as `/proc` shows them.

use std::collections::HashSet;
use std::fs;
use std::io;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

/// A process at the moment when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    /// In clock ticks since the machine started: with the pid it identifies a process.
    pub(crate) started: u64,
    is_dead: bool,
}

impl Process {
    /// The process of this pid; `None` if there is none.
    pub(crate) fn read(pid: i32) -> Option<Self> {
        Self::parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Every process that is not only waiting to be reaped.
    pub(crate) fn all_alive() -> io::Result<Vec<Self>> {
        Ok(fs::read_dir("/proc")?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(Self::read)
            .filter(|process| !process.is_dead)
            .collect())
    }

    /// Whether it runs, or could.
    pub(crate) fn is_alive(&self) -> bool {
        !self.is_dead
    }

    /// Whether its environment holds `entry` (`NAME=value`). That of another user's process cannot be read, and
    /// counts as not holding it.
    pub(crate) fn has_in_environment(&self, entry: &str) -> bool {
        fs::read(format!("/proc/{}/environ", self.pid)).is_ok_and(|environment| {
            environment.split(|byte| *byte == 0).any(|found| found == entry.as_bytes())
        })
    }

    /// Kills it, and never another process that has its pid by now. Whether it was still there is not told.
    pub(crate) fn kill(&self) {
        let Some(pid) = Pid::from_raw(self.pid) else { return };
        match pidfd_open(pid, PidfdFlags::empty()) {
            // The descriptor is of whoever had the pid when it was opened; looking again says whether that is the
            // one that is meant.
            Ok(descriptor) if self.is_still_there() => {
                let _ = pidfd_send_signal(descriptor, Signal::KILL);
            }
            Err(rustix::io::Errno::NOSYS) if self.is_still_there() => {
                let _ = kill_process(pid, Signal::KILL);
            }
            _ => {}
        }
    }

    fn is_still_there(&self) -> bool {
        Self::read(self.pid).is_some_and(|now| now.started == self.started)
    }

    /// See `proc_pid_stat(5)`. The name of the program stands in parentheses and may hold anything.
    fn parse(pid: i32, stat: &str) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let [state, parent, _group, session] = fields.get(..4)? else { return None };
        Some(Self {
            pid,
            parent: parent.parse().ok()?,
            session: session.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
            is_dead: matches!(*state, "Z" | "X" | "x"),
        })
    }
}

/// Those of `processes` that `roots` names, and everything under them.
pub(crate) fn with_descendants(processes: &[Process], roots: HashSet<i32>) -> Vec<Process> {
    let mut known = roots;
    loop {
        let before = known.len();
        known.extend(
            processes.iter().filter(|p| known.contains(&p.parent)).map(|p| p.pid).collect::<Vec<_>>(),
        );
        if known.len() == before {
            return processes.iter().filter(|p| known.contains(&p.pid)).copied().collect();
        }
    }
}

/// The process `pid`, its parent, and so on.
pub(crate) fn line_of_ancestors(pid: i32) -> HashSet<i32> {
    let mut line = HashSet::new();
    let mut next = Some(pid);
    while let Some(process) = next.and_then(Process::read) {
        next = line.insert(process.pid).then_some(process.parent);
    }
    line
}

/// What tells this start of the machine from every other.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// What tells this space of pids from those of other containers.
pub(crate) fn pid_namespace() -> io::Result<String> {
    Ok(fs::read_link("/proc/self/ns/pid")?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_be_called_anything() {
        let stat = "42 (a) S 1 (b) R 7 8 9 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 1 2";
        let process = Process::parse(42, stat).unwrap();
        assert_eq!((process.parent, process.session, process.started), (7, 9, 12345));
        assert!(process.is_alive());
        assert!(!Process::parse(42, &stat.replace("R 7", "Z 7")).unwrap().is_alive());
        assert_eq!(Process::parse(42, "42 (a) S 1"), None);
    }

    #[test]
    fn descendants_are_found_through_any_number_of_generations() {
        let process = |pid, parent| Process { pid, parent, session: 0, started: 0, is_dead: false };
        let all = [process(5, 4), process(4, 3), process(3, 2), process(9, 1)];
        let found: Vec<i32> = with_descendants(&all, HashSet::from([3])).iter().map(|p| p.pid).collect();
        assert_eq!(found, [5, 4, 3]);
    }

    #[test]
    fn we_are_alive_and_descend_from_our_parent() {
        let us = Process::read(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(us.is_alive());
        assert!(line_of_ancestors(us.pid).contains(&us.parent));
        assert!(Process::all_alive().unwrap().contains(&us));
    }
}
