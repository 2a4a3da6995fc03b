use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{getxattr, statfs};
use swifthook_core::RunKey;

use super::group::Group;

/// A control group (cgroup v2) in which every run of this machine gets one of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunGroups {
    path: Arc<Path>,
    limit_memory: bool,
}

impl RunGroups {
    /// That which systemd has handed over to the service that this process is: `Delegate=yes` in its unit. `None` where
    /// it has handed over nothing.
    ///
    /// With `DelegateSubgroup=server` (systemd 254) the kernel keeps limits there too; before, a run can be counted, found
    /// and killed by its group, and no more: a group in which processes are, as the service itself is, has no controllers
    /// for those below it.
    ///
    /// # Errors
    ///
    /// As [`at`](Self::at), when a group was handed over and cannot be used.
    pub fn delegated() -> io::Result<Option<Self>> {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let Some(own) = folder_of(&own, &mounts) else { return Ok(None) };
        let found = own.ancestors().take(2).filter(|group| is_handed_over(group)).last();
        found.map(Self::at).transpose()
    }

    /// That in the folder `path`, such as `/sys/fs/cgroup/swifthook`.
    ///
    /// # Errors
    ///
    /// When it is no control group of version 2, when no group can be made in it, or no process be moved there: that takes
    /// the right to write `cgroup.procs` of the group that holds both, the process and `path`.
    pub fn at(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let place = statfs(path).map_err(|error| about(path, "cannot be looked at", &error.into()))?;
        if place.f_type != MAGIC {
            let message = format!("{} is no control group of version 2", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        // Refused where processes are in the group itself, or its own parent has no memory to give.
        let switch = path.join("cgroup.subtree_control");
        let limit_memory = fs::write(&switch, "+memory").is_ok();
        // Without it a run is looked at in its processes.
        let _ = fs::write(switch, "+pids");
        let number = TRIALS.fetch_add(1, Ordering::Relaxed);
        try_out(&path.join(format!("trial-{}-{number}", std::process::id())))
            .map_err(|error| about(path, "takes no group of a run", &error))?;
        Ok(Self { path: path.into(), limit_memory })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the kernel keeps the limits of memory that runs have.
    #[must_use]
    pub fn limit_memory(&self) -> bool {
        self.limit_memory
    }

    pub(crate) fn of(&self, key: &RunKey) -> PathBuf {
        self.path.join(format!("run-{key}"))
    }
}

/// Returns the number of processes and threads that there can be in the tightest of the groups that this process is in.
pub(crate) fn most_tasks() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let limit = |group: &Path| fs::read_to_string(group.join("pids.max")).ok()?.trim().parse().ok();
    folder_of(&own, &mounts)?.ancestors().filter_map(limit).min()
}

/// Makes a group, moves a process there that does nothing, and removes both.
fn try_out(path: &Path) -> io::Result<()> {
    let group = Group::make(path, None, None)?;
    let idle = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
    let outcome = idle.and_then(|mut idle| {
        let moved = fs::write(path.join("cgroup.procs"), idle.id().to_string());
        drop(idle.stdin.take());
        idle.wait()?;
        moved
    });
    group.remove();
    outcome
}

/// The folder of this process's group, by `/proc/self/cgroup` and `/proc/self/mountinfo`; `None` without version 2.
fn folder_of(own: &str, mounts: &str) -> Option<PathBuf> {
    let own = Path::new(own.lines().find_map(|line| line.strip_prefix("0::"))?);
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        let below = own.strip_prefix(root).ok().filter(|_| kind.starts_with("cgroup2 "))?;
        Some(Path::new(point).join(below))
    })
}

/// Whether systemd leaves what is under a group to whoever is in it: it says so since version 251.
fn is_handed_over(group: &Path) -> bool {
    let mut value = [0; 8];
    getxattr(group, "user.delegate", &mut value).is_ok_and(|length| value[..length] == *b"1")
}

fn about(path: &Path, what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{} {what}: {error}", path.display()))
}

/// Tells the trials of one process apart.
static TRIALS: AtomicU64 = AtomicU64::new(0);
/// `CGROUP2_SUPER_MAGIC` of `linux/magic.h`.
const MAGIC: rustix::fs::FsWord = 0x6367_7270;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_wherever_version_two_is_mounted() {
        let mounts = "24 1 0:22 / /proc rw - proc proc rw\n\
                      30 1 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let folder = |own: &str, mounts: &str| folder_of(own, mounts).map(|path| path.display().to_string());
        assert_eq!(
            folder("0::/system.slice/swifthook.service/server\n", mounts).as_deref(),
            Some("/sys/fs/cgroup/system.slice/swifthook.service/server")
        );
        let beside = "31 1 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      32 1 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(
            folder("4:memory:/elsewhere\n0::/a\n", beside).as_deref(),
            Some("/sys/fs/cgroup/unified/a")
        );
        let part = "30 1 0:27 /docker/1 /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(folder("0::/docker/1/a\n", part).as_deref(), Some("/sys/fs/cgroup/a"));
        assert_eq!(folder("0::/elsewhere\n", part), None);
        assert_eq!(folder("4:memory:/a\n", beside), None);
    }

    #[test]
    fn a_folder_that_is_no_group_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = RunGroups::at(folder.path()).unwrap_err();
        assert!(error.to_string().ends_with("is no control group of version 2"), "{error}");
        let error = RunGroups::at("/nonexistent").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
    }
}
