use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::Usage;

/// The control group of one run: a folder of the kernel's, and groups under it if the run made any.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    path: PathBuf,
}

impl Group {
    pub(crate) fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it, with a wall above `memory` bytes and one at so many `tasks` where the kernel keeps them.
    pub(crate) fn make(path: &Path, memory: Option<u64>, tasks: Option<u64>) -> io::Result<Self> {
        fs::create_dir(path)?;
        let group = Self::at(path);
        let made = group.set_up(memory, tasks);
        if made.is_err() {
            group.remove();
        }
        made.map(|()| group)
    }

    fn set_up(&self, memory: Option<u64>, tasks: Option<u64>) -> io::Result<()> {
        // One process of a training that the kernel kills for want of memory leaves the others waiting for it.
        self.write_if_there("memory.oom.group", "1")?;
        if let Some(most) = memory {
            self.write_if_there("memory.max", &wall(most).to_string())?;
            self.write_if_there("memory.swap.max", "0")?;
        }
        match tasks {
            Some(most) => self.write_if_there("pids.max", &most.min(MOST_TASKS).to_string()),
            None => Ok(()),
        }
    }

    /// Moves this process into it.
    pub(crate) fn enter(&self) -> io::Result<()> {
        self.write("cgroup.procs", "0")
    }

    /// What its processes use together, if the kernel counts all of it here.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let memory = self.read("memory.stat")?;
        let memory = field(&memory, "anon")? + field(&memory, "shmem")?;
        let cpu_time = Duration::from_micros(field(&self.read("cpu.stat")?, "usage_usec")?);
        Some(Usage { memory, cpu_time })
    }

    /// Whether the kernel killed it because it ran into its wall.
    pub(crate) fn ran_into_its_wall(&self) -> bool {
        // Of want of memory on the whole machine `oom_kill` tells too, and `oom` does not.
        let events = self.read("memory.events").unwrap_or_default();
        field(&events, "oom").is_some_and(|count| count > 0)
            && field(&events, "oom_kill").is_some_and(|count| count > 0)
    }

    /// Returns true if the kernel keeps a limit of processes and threads here.
    pub(crate) fn limits_tasks(&self) -> bool {
        self.read("pids.max").is_some_and(|most| most.trim() != "max")
    }

    /// Returns true if the kernel has refused one to whoever is in it.
    pub(crate) fn was_refused_a_task(&self) -> bool {
        // Since Linux 6.11 the other file counts also what groups below refuse by limits of their own.
        let events = self.read("pids.events.local").or_else(|| self.read("pids.events"));
        events.is_some_and(|events| field(&events, "max").is_some_and(|count| count > 0))
    }

    /// Kills whoever is in it, and whoever is just being born there (Linux 5.14; before that, nobody).
    pub(crate) fn kill(&self) {
        let _ = self.write("cgroup.kill", "1");
    }

    /// Whether anybody in it, or under it, is alive.
    pub(crate) fn is_populated(&self) -> bool {
        self.read("cgroup.events").is_some_and(|events| field(&events, "populated") == Some(1))
    }

    /// The processes in it and under it.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let own = self.read("cgroup.procs").unwrap_or_default();
        let own: Vec<i32> = own.lines().filter_map(|line| line.parse().ok()).collect();
        self.below().iter().flat_map(Self::processes).chain(own).collect()
    }

    /// Removes it when nobody is left in it. What cannot be removed limits nobody, and is gone with the next boot.
    pub(crate) fn remove(&self) {
        let deadline = Instant::now() + LAST_BREATH;
        while self.try_remove().is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
            && Instant::now() < deadline
        {
            thread::sleep(PAUSE);
        }
    }

    fn try_remove(&self) -> io::Result<()> {
        self.below().iter().try_for_each(Self::try_remove)?;
        fs::remove_dir(&self.path)
    }

    fn below(&self) -> Vec<Self> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.map(|folder| Self { path: folder.path() }).collect()
    }

    /// Writes what only a group with this controller has.
    fn write_if_there(&self, file: &str, text: &str) -> io::Result<()> {
        match self.write(file, text) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Never makes a file: these are the kernel's.
    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        use std::io::Write;
        fs::OpenOptions::new().write(true).open(self.path.join(file))?.write_all(text.as_bytes())
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.path.join(file)).ok()
    }
}

/// How much memory the kernel leaves to a run that may have `most` bytes. The supervisor asks it to end when it has more
/// than it may; to save its state takes some more.
pub(crate) fn wall(most: u64) -> u64 {
    most.saturating_add(most / 8)
}

/// A number in one of the kernel's files of `name number` lines.
fn field(text: &str, name: &str) -> Option<u64> {
    let number = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(number)
}

/// Greatest number that the kernel takes: `PID_MAX_LIMIT` of `linux/threads.h`.
const MOST_TASKS: u64 = 4 << 20;
/// How long a process that was killed may take to leave its group.
const LAST_BREATH: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_known_by_its_whole_name() {
        let events = "low 0\nhigh 0\nmax 31\noom 2\noom_kill 1\noom_group_kill 1\n";
        assert_eq!((field(events, "oom"), field(events, "oom_kill")), (Some(2), Some(1)));
        assert_eq!((field(events, "oo"), field("oom\n", "oom")), (None, None));
    }

    #[test]
    fn the_wall_stands_an_eighth_above_and_does_not_overflow() {
        assert_eq!(wall(64 << 30), 72 << 30);
        assert_eq!(wall(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_group_that_is_not_there_has_nobody_and_tells_nothing() {
        let group = Group::at(Path::new("/nonexistent/run-1"));
        assert!(!group.is_populated() && !group.ran_into_its_wall());
        assert!(!group.limits_tasks() && !group.was_refused_a_task());
        assert_eq!((group.usage(), group.processes()), (None, Vec::new()));
        group.kill();
        group.remove();
    }
}
