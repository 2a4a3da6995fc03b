//! The processes of this machine, as `/proc` shows them.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

/// A process at the moment when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    /// Time on processors so far, and that of children that it has waited for, in clock ticks.
    ran: (u64, u64),
    /// In clock ticks since the machine started: with the pid it identifies a process.
    pub(crate) started: u64,
    /// Number of its threads: each counts as a process for the kernel.
    pub(crate) threads: u64,
    is_stopped: bool,
    is_dead: bool,
}

impl Process {
    /// The process of this pid; `None` if there is none.
    pub(crate) fn read(pid: i32) -> Option<Self> {
        Self::parse(pid, &text(pid, "stat")?)
    }

    /// Every process that is not only waiting to be reaped.
    pub(crate) fn all_alive() -> io::Result<Vec<Self>> {
        Ok(Self::all()?.into_iter().filter(Self::is_alive).collect())
    }

    /// Every process, also those that wait to be reaped: each has a pid that no other can have.
    pub(crate) fn all() -> io::Result<Vec<Self>> {
        let pids = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        Ok(pids.filter_map(Self::read).collect())
    }

    /// Whether it runs, or could.
    pub(crate) fn is_alive(&self) -> bool {
        !self.is_dead
    }

    /// Returns true if it does nothing until it is told to go on, or is killed.
    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// The processor time that it has used, in hundredths of a second.
    pub(crate) fn ticks(&self) -> u64 {
        let stat = text(self.pid, "stat").unwrap_or_default();
        let after_name = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        after_name
            .split_ascii_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum()
    }

    /// Whether the name of its program begins so.
    pub(crate) fn is_called(&self, begin: &str) -> bool {
        text(self.pid, "comm").is_some_and(|name| name.starts_with(begin))
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
        self.signal(Signal::KILL);
    }

    /// Sends it a signal, in the same way.
    pub(crate) fn signal(&self, signal: Signal) {
        let Some(pid) = Pid::from_raw(self.pid) else { return };
        match pidfd_open(pid, PidfdFlags::empty()) {
            // The descriptor is of whoever had the pid when it was opened; looking again says whether that is the
            // one that is meant.
            Ok(descriptor) if self.is_still_there() => {
                let _ = pidfd_send_signal(descriptor, signal);
            }
            Err(rustix::io::Errno::NOSYS) if self.is_still_there() => {
                let _ = kill_process(pid, signal);
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
        let [state, parent, group, session] = fields.get(..4)? else { return None };
        let number = |field: usize| fields.get(field)?.parse::<u64>().ok();
        let threads = number(17)?;
        Some(Self {
            pid,
            parent: parent.parse().ok()?,
            group: group.parse().ok()?,
            ran: (number(11)? + number(12)?, number(13)? + number(14)?),
            session: session.parse().ok()?,
            started: number(19)?,
            threads,
            is_stopped: matches!(*state, "T" | "t"),
            // One whose first thread has ended looks dead, while the others go on.
            is_dead: matches!(*state, "Z" | "X" | "x") && threads < 2,
        })
    }
}

/// What processes use together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Memory that is theirs alone, in bytes.
    pub(crate) memory: u64,
    /// Time on processors, also that of those who have ended.
    pub(crate) cpu_time: Duration,
}

impl Usage {
    /// Of `processes`, among them their ancestor `root`, which is not counted itself.
    ///
    /// Processes that were forked share pages until they write to them. To tell whose a page is takes long, so it is
    /// asked only where the simple sum is more than `memory`.
    pub(crate) fn of(processes: &[Process], root: i32, memory: Option<u64>) -> Self {
        let below = || processes.iter().filter(|one| one.pid != root);
        let sum = |of: fn(i32) -> Option<u64>| below().filter_map(|one| of(one.pid)).sum::<u64>();
        let simple = if memory.is_some() { sum(anonymous) } else { 0 };
        let memory =
            if memory.is_some_and(|most| simple > most) { sum(proportional).min(simple) } else { simple };
        let waited_for = processes.iter().find(|one| one.pid == root).map_or(0, |root| root.ran.1);
        let ticks = waited_for + below().map(|one| one.ran.0 + one.ran.1).sum::<u64>();
        Self { memory, cpu_time: Duration::from_millis(ticks * 1_000 / TICKS_A_SECOND) }
    }
}

/// One of the files of a process. The name that a process gives itself stands in some of them, and may be any bytes.
fn text(pid: i32, file: &str) -> Option<String> {
    fs::read(format!("/proc/{pid}/{file}")).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// What a process has in memory that stands in no file, in bytes.
fn anonymous(pid: i32) -> Option<u64> {
    let status = text(pid, "status")?;
    Some(kib(&status, "RssAnon:")? + kib(&status, "RssShmem:").unwrap_or(0))
}

/// The same, where what several have is divided among them.
fn proportional(pid: i32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    Some(kib(&rollup, "Pss_Anon:")? + kib(&rollup, "Pss_Shmem:").unwrap_or(0))
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1_024)
}

/// Those of `processes` that `roots` names, and everything under them. A family may be as deep as it is large: nobody is
/// looked at twice.
pub(crate) fn with_descendants(processes: &[Process], roots: HashSet<i32>) -> Vec<Process> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for process in processes {
        children.entry(process.parent).or_default().push(process.pid);
    }
    let mut unseen: Vec<i32> = roots.iter().copied().collect();
    let mut known = roots;
    while let Some(parent) = unseen.pop() {
        let new = children.remove(&parent).unwrap_or_default();
        unseen.extend(new.into_iter().filter(|child| known.insert(*child)));
    }
    processes.iter().filter(|one| known.contains(&one.pid)).copied().collect()
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

/// `USER_HZ`, which Linux has had as its interface on every machine since 2.6.
const TICKS_A_SECOND: u64 = 100;

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn a_program_may_be_called_anything() {
        let stat = "42 (a) S 1 (b) R 7 8 9 0 -1 4194560 1 0 0 0 300 50 7 3 20 0 1 0 12345 1 2";
        let process = Process::parse(42, stat).unwrap();
        assert_eq!((process.parent, process.group, process.session, process.started), (7, 8, 9, 12345));
        assert_eq!((process.ran, process.threads), ((350, 10), 1));
        assert!(process.is_alive());
        assert!(!Process::parse(42, &stat.replace("R 7", "Z 7")).unwrap().is_alive());
        assert!(
            Process::parse(42, &stat.replace("R 7", "Z 7").replace("20 0 1", "20 0 2")).unwrap().is_alive()
        );
        assert_eq!(Process::parse(42, "42 (a) S 1"), None);
    }

    #[test]
    fn a_process_that_calls_itself_no_text_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(std::ffi::OsStr::from_bytes(b"\xff\xfe)"));
        std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
        let mut child = std::process::Command::new(&program).arg("600").spawn().unwrap();
        let seen = Process::read(child.id().cast_signed());
        let used = anonymous(child.id().cast_signed());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(seen.is_some_and(|process| process.is_alive()) && used.is_some(), "{seen:?}");
    }

    #[test]
    fn descendants_are_found_through_any_number_of_generations() {
        let process = |pid, parent| Process {
            pid,
            parent,
            group: 0,
            session: 0,
            ran: (0, 0),
            started: 0,
            threads: 1,
            is_stopped: false,
            is_dead: false,
        };
        let all = [process(5, 4), process(4, 3), process(3, 2), process(9, 1)];
        let found: Vec<i32> = with_descendants(&all, HashSet::from([3])).iter().map(|p| p.pid).collect();
        assert_eq!(found, [5, 4, 3]);
        // Each the child of the one before, the last first: as a run can make them that wants us to look for long.
        let deep: Vec<_> = (2..60_000).rev().map(|pid| process(pid, pid - 1)).collect();
        let begun = std::time::Instant::now();
        assert_eq!(with_descendants(&deep, HashSet::from([10])).len(), 59_990);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }

    #[test]
    fn what_we_use_is_told() {
        let us = Process::read(i32::try_from(std::process::id()).unwrap()).unwrap();
        let all = [us];
        let used = Usage::of(&all, 0, Some(u64::MAX));
        assert!(used.memory > 100_000, "{used:?}");
        let closely = Usage::of(&all, 0, Some(0));
        assert!(closely.memory > 100_000 && closely.memory <= 2 * used.memory, "{closely:?} {used:?}");
        assert_eq!(Usage::of(&all, us.pid, None).memory, 0);
    }

    #[test]
    fn we_are_alive_and_descend_from_our_parent() {
        let us = Process::read(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(us.is_alive());
        assert!(line_of_ancestors(us.pid).contains(&us.parent));
        // How long it ran goes on.
        assert!(
            Process::all_alive().unwrap().iter().any(|one| (one.pid, one.started) == (us.pid, us.started))
        );
    }
}
