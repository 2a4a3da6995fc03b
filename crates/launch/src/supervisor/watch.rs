//! What a run uses, looked at again and again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use swifthook_core::RunLimits;

use super::family::Family;
use crate::cgroup::wall;
use crate::process::Usage;

/// Looks at what a run uses: often at first, when most goes wrong, and never so often that it costs.
pub(super) struct Watch {
    limits: RunLimits,
    directory: PathBuf,
    next: Option<Instant>,
    pause: Duration,
}

impl Watch {
    pub(super) fn new(limits: RunLimits, directory: &Path, now: Instant) -> Self {
        let next = limits.are_watched().then_some(now);
        Self { limits, directory: directory.to_owned(), next, pause: FIRST }
    }

    /// When there is something to look at again.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// What the run uses more of than it may, if it is time to look.
    pub(super) fn look(&mut self, family: &Family, now: Instant) -> Option<String> {
        if self.next.is_none_or(|next| next > now) {
            return None;
        }
        let found = self.over(family);
        self.pause = (self.pause * 2).min(LAST).max(now.elapsed() * SHARE);
        self.next = Some(Instant::now() + self.pause);
        found
    }

    /// The words for a run that the kernel killed because it had more than it may; `None` if there is nothing that it may
    /// not have. A group that a run made below its own may have a wall too, which is not ours.
    pub(super) fn out_of_memory(&self) -> Option<String> {
        let most = self.limits.memory?;
        let wall = mib(wall(most));
        Some(format!("it wanted more than {wall} of memory, and was killed: it may have {}", mib(most)))
    }

    fn over(&self, family: &Family) -> Option<String> {
        let RunLimits { memory, cpu_time, disk, .. } = self.limits;
        if let Some(most) = disk
            && let Some(used) = Some(size_of(&self.directory)).filter(|used| *used > most)
        {
            return Some(format!("it has written {}, and may write {}", mib(used), mib(most)));
        }
        if memory.is_none() && cpu_time.is_none() {
            return None;
        }
        let Usage { memory: used, cpu_time: ran } = family.usage(memory);
        if let Some(most) = memory.filter(|most| used > *most) {
            return Some(format!("it has {} of memory, and may have {}", mib(used), mib(most)));
        }
        let most = cpu_time.filter(|most| ran > *most)?;
        Some(format!("it has had {} s of processor time, and may have {} s", ran.as_secs(), most.as_secs()))
    }
}

/// What the files under a directory take up on the disk. What cannot be read is not counted, and links are not followed.
fn size_of(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = directory.read_dir() else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size_of(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(5);
/// A look takes a twentieth of the time at most.
const SHARE: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_directory_is_counted_to_its_depth_and_links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("a/b")).unwrap();
        std::fs::write(directory.path().join("a/b/c"), vec![1; 1 << 20]).unwrap();
        std::os::unix::fs::symlink("/usr", directory.path().join("link")).unwrap();
        let size = size_of(directory.path());
        assert!((1 << 20..2 << 20).contains(&size), "{size}");
        assert_eq!(size_of(Path::new("/no/such/directory")), 0);
    }
}
