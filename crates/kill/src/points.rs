//! Points of the server at which it is to die or to stop: armed with a file, taken by the first process that comes by.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where a process of a build with `failpoints` looks whether it is to die. In the order of a job.
pub(crate) const POINTS: [&str; 9] = [
    "accepting",
    "accepted",
    "started",
    "checked_out",
    "submitting",
    "submitted",
    "run_ended",
    "finishing",
    "finished",
];
/// Where a broker stands in front of the store: before a message is stored, and before it is acknowledged.
pub(crate) const POINTS_OF_A_BROKER: [&str; 2] = ["storing", "stored"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    Kill,
    Stop,
}

/// A point that waits for somebody.
pub(crate) struct Armed {
    file: PathBuf,
}

impl Armed {
    pub(crate) fn new(folder: &Path, point: &str, fate: Fate) -> io::Result<Self> {
        let (file, made) = (folder.join(point), folder.join(format!("new-{point}")));
        let armed = Self { file: file.clone() };
        for (_, old) in armed.takers()? {
            fs::remove_file(old)?;
        }
        fs::write(&made, if fate == Fate::Kill { "kill" } else { "stop" })?;
        fs::rename(made, &file)?;
        Ok(armed)
    }

    /// The process that took it. What it took is left there, since it may not have read it yet.
    pub(crate) fn taken_by(&self) -> io::Result<Option<u32>> {
        Ok(self.takers()?.first().map(|(pid, _)| *pid))
    }

    fn takers(&self) -> io::Result<Vec<(u32, PathBuf)>> {
        let name = self.file.file_name().unwrap_or_default().to_string_lossy().into_owned() + ".";
        let mut takers = Vec::new();
        for entry in fs::read_dir(self.file.parent().unwrap_or(Path::new("/")))? {
            let entry = entry?;
            let found = entry.file_name();
            let pid = found.to_str().and_then(|found| found.strip_prefix(&name)?.parse().ok());
            takers.extend(pid.map(|pid| (pid, entry.path())));
        }
        Ok(takers)
    }

    /// Nobody is to take it any more; somebody may just have done so.
    pub(crate) fn disarm(self) -> io::Result<Option<u32>> {
        match fs::remove_file(&self.file) {
            Ok(()) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.taken_by(),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_armed_point_is_taken_once_and_then_known_by_who_took_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let armed = Armed::new(folder.path(), "started", Fate::Kill).expect("it is armed");
        assert_eq!(armed.taken_by().expect("it is there"), None);
        fs::rename(folder.path().join("started"), folder.path().join("started.77")).expect("it is taken");
        assert_eq!(armed.taken_by().expect("it is there"), Some(77));
        assert_eq!(armed.disarm().expect("it is gone"), Some(77));
        let armed = Armed::new(folder.path(), "started", Fate::Stop).expect("it is armed");
        assert_eq!(armed.taken_by().expect("it is there"), None);
        assert_eq!(fs::read_to_string(folder.path().join("started")).expect("it is there"), "stop");
        assert_eq!(armed.disarm().expect("it was there"), None);
        assert!(!folder.path().join("started").exists());
    }
}
