//! Which checkpoint of a run is the last one from which another run can go on.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use swifthook_core::{Checkpoint, Folder, LaunchError, RunKey, Traces};

use super::follow::Follows;

/// The step of the last whole checkpoint, as of the last look that was worth it.
#[derive(Default)]
pub(super) struct Shelf {
    looked: Option<Look>,
    last: Option<u64>,
}

struct Look {
    at: Instant,
    /// When something was last put into the directory.
    changed: SystemTime,
    /// Whether the newest checkpoint was not whole.
    is_pending: bool,
}

impl Shelf {
    /// A directory in which nothing is new is not looked through again, unless something in it is not whole yet.
    pub(super) fn last_step(&mut self, output: &Path, traces: &dyn Traces) -> Option<u64> {
        let changed = output.metadata().and_then(|metadata| metadata.modified()).ok()?;
        let is_known = self
            .looked
            .as_ref()
            .is_some_and(|look| look.changed == changed && (!look.is_pending || look.at.elapsed() < AGAIN));
        if !is_known {
            let newest = newest_first(output, traces);
            let last = newest.iter().find(|(step, path)| whole(*step, path, traces).is_ok());
            self.last = last.map(|(step, _)| *step);
            let is_pending = newest.first().map(|(step, _)| *step) != self.last;
            self.looked = Some(Look { at: Instant::now(), changed, is_pending });
        }
        self.last
    }
}

/// The checkpoint from which another run can go on after the one in `dir`, which has ended. `host` is who alone has it.
pub(crate) fn last_checkpoint(
    follows: &Follows,
    key: &RunKey,
    dir: &Path,
    host: Option<Arc<str>>,
) -> Option<Checkpoint> {
    let output = dir.join("output");
    let told = follows.told(key, dir);
    let told = told.map(|(place, step)| (step, output.join(place))).filter(|(_, path)| path.exists());
    let (step, path) = match told {
        Some(told) => told,
        None => last(&output, follows.traces()?).map(|(step, path)| (Some(step), path))?,
    };
    follows.forget(key);
    // What no argument could hold, nobody can go on from.
    let path = path.to_str()?.into();
    Some(Checkpoint { path, step, attempt: key.attempt, host })
}

/// Whether a checkpoint is there, as seen from `host`. Whether it is whole was looked at when it was chosen, or its trainer
/// said so.
pub(crate) fn still_there(checkpoint: &Checkpoint, host: Option<&str>) -> Result<bool, LaunchError> {
    let path = Path::new(&*checkpoint.path);
    match (path.try_exists(), &checkpoint.host) {
        (Ok(true), _) => Ok(true),
        (Ok(false), Some(its)) if host != Some(its) => Err(LaunchError::passing(match host {
            Some(host) => format!("{checkpoint} is on host `{its}`, and this is `{host}`"),
            None => format!("{checkpoint} is on host `{its}`, which runs of a cluster do not see"),
        })),
        (Ok(false), _) => Ok(false),
        (Err(error), _) => {
            Err(LaunchError::passing(format!("cannot look at {}", checkpoint.path)).because(error))
        }
    }
}

/// The last whole checkpoint among the results of a run; those that are only half there are passed over.
pub(super) fn last(output: &Path, traces: &dyn Traces) -> Option<(u64, PathBuf)> {
    newest_first(output, traces).into_iter().find(|(step, path)| match whole(*step, path, traces) {
        Ok(()) => true,
        Err(why) => {
            tracing::warn!(checkpoint = %path.display(), why, "passed over: it is not whole");
            false
        }
    })
}

/// Whether a run can go on from a checkpoint.
fn whole(step: u64, path: &Path, traces: &dyn Traces) -> Result<(), String> {
    traces.missing(step, &Directory(path)).map_or(Ok(()), Err)
}

/// Real directories that are called as checkpoints are.
fn newest_first(output: &Path, traces: &dyn Traces) -> Vec<(u64, PathBuf)> {
    let Ok(entries) = fs::read_dir(output) else { return Vec::new() };
    let step = |entry: fs::DirEntry| {
        let step = traces.step_of(entry.file_name().to_str()?)?;
        entry.file_type().is_ok_and(|kind| kind.is_dir()).then(|| (step, entry.path()))
    };
    let mut found: Vec<_> = entries.flatten().filter_map(step).collect();
    found.sort_by_key(|(step, _)| std::cmp::Reverse(*step));
    found
}

/// A directory of this machine.
struct Directory<'a>(&'a Path);

impl Folder for Directory<'_> {
    fn files(&self) -> Vec<(String, u64)> {
        let mut files = Vec::new();
        list(self.0, "", &mut files);
        files
    }

    fn read(&self, file: &str, from: u64, most: usize) -> Option<Vec<u8>> {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(self.0.join(file))?;
            file.seek(SeekFrom::Start(from))?;
            let mut bytes = Vec::new();
            file.take(most as u64).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().ok()
    }
}

/// Regular files, down to one folder below.
fn list(folder: &Path, prefix: &str, files: &mut Vec<(String, u64)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (Some(name), Ok(metadata)) = (entry.file_name().to_str().map(str::to_owned), entry.metadata())
        else {
            continue;
        };
        if metadata.is_file() {
            files.push((format!("{prefix}{name}"), metadata.len()));
        } else if metadata.is_dir() && prefix.is_empty() {
            list(&entry.path(), &format!("{name}/"), files);
        }
    }
}

/// How often one that is being written is looked at.
const AGAIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use swifthook_core::TraceReader;

    use super::*;

    /// Checkpoints that are whole with a file `whole` that holds their step.
    struct Marked;

    impl Traces for Marked {
        fn reader(&self) -> Box<dyn TraceReader> {
            unreachable!("nothing is read here")
        }

        fn step_of(&self, directory: &str) -> Option<u64> {
            directory.strip_prefix("checkpoint-")?.parse().ok()
        }

        fn missing(&self, step: u64, checkpoint: &dyn Folder) -> Option<String> {
            let mark = checkpoint.read("whole", 0, 100).unwrap_or_default();
            (mark != step.to_string().as_bytes()).then(|| "no mark".to_owned())
        }
    }

    fn save(output: &Path, step: u64, is_whole: bool) {
        let place = output.join(format!("checkpoint-{step}"));
        fs::create_dir_all(&place).unwrap();
        if is_whole {
            fs::write(place.join("whole"), step.to_string()).unwrap();
        }
    }

    #[test]
    fn the_last_whole_one_counts_and_half_ones_are_passed_over() {
        let output = tempfile::tempdir().unwrap();
        let output = output.path();
        assert_eq!(last(output, &Marked), None);
        save(output, 90, true);
        save(output, 100, true);
        save(output, 110, false);
        fs::write(output.join("checkpoint-120"), "a file").unwrap();
        std::os::unix::fs::symlink(output.join("checkpoint-100"), output.join("checkpoint-130")).unwrap();
        assert_eq!(last(output, &Marked), Some((100, output.join("checkpoint-100"))));
        let mut shelf = Shelf::default();
        assert_eq!(shelf.last_step(output, &Marked), Some(100));
        save(output, 140, true);
        assert_eq!(shelf.last_step(output, &Marked), Some(140));
    }

    #[test]
    fn what_lies_in_a_folder_of_a_checkpoint_is_listed_and_no_deeper() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        for file in ["x", "a/y", "a/b/z"] {
            fs::write(folder.path().join(file), "12").unwrap();
        }
        let mut files = Directory(folder.path()).files();
        files.sort();
        assert_eq!(files, [("a/y".to_owned(), 2), ("x".to_owned(), 2)]);
        assert_eq!(Directory(folder.path()).read("a/y", 1, 9).unwrap(), b"2");
    }
}
