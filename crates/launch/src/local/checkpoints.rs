//! Which checkpoint of a run is the last one from which another run can go on.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use swifthook_core::{Checkpoint, Folder, LaunchError, RunKey, Traces};

use super::follow::Follows;
use crate::beneath::{Beneath, place_beneath};

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
    pub(super) fn last_step(&mut self, output: &Beneath, traces: &dyn Traces) -> Option<u64> {
        let changed = output.own_metadata().and_then(|metadata| metadata.modified()).ok()?;
        let is_known = self
            .looked
            .as_ref()
            .is_some_and(|look| look.changed == changed && (!look.is_pending || look.at.elapsed() < AGAIN));
        if !is_known {
            let newest = newest_first(output, traces);
            let until = Instant::now() + LONGEST;
            let last = newest.iter().find(|(step, name)| whole(*step, output, name, traces, until).is_ok());
            self.last = last.map(|(step, _)| *step);
            let is_pending = newest.first().map(|(step, _)| *step) != self.last;
            self.looked = Some(Look { at: Instant::now(), changed, is_pending });
        }
        self.last
    }
}

/// The checkpoint from which another run can go on after the one in `dir`, which has ended. `host` is who alone has it.
///
/// A checkpoint that the run tells of counts if it is beneath its own results and no link is on the way: it is shown to the next
/// attempt, whatever is there.
pub(super) fn last_checkpoint(
    follows: &Follows,
    key: &RunKey,
    dir: &Path,
    host: Option<Arc<str>>,
) -> Option<Checkpoint> {
    let place = dir.join("output");
    let told = follows.told(key, dir).and_then(|(told, step)| Some((step, told_place(dir, &place, &told)?)));
    let (step, name) = match told {
        Some(told) => told,
        None => {
            let output = Beneath::at(dir).and_then(|dir| dir.folder("output")).ok()?;
            last(&output, follows.traces()?).map(|(step, name)| (Some(step), name))?
        }
    };
    follows.forget(key);
    let path = if name.is_empty() { place } else { place.join(name) };
    // What no argument could hold, nobody can go on from.
    let path = path.to_str()?.into();
    Some(Checkpoint { path, step, attempt: key.attempt, host })
}

/// The place of a checkpoint among the results of a run, as the run told it.
fn told_place(dir: &Path, output: &Path, told: &str) -> Option<String> {
    let found = place_beneath(output, told)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is not beneath the output directory"))
        .and_then(|place| Beneath::at(dir)?.folder("output")?.metadata(&place).map(|found| (place, found)));
    match found {
        Ok((place, found)) if found.is_dir() || found.is_file() => place.to_str().map(str::to_owned),
        Ok(_) => {
            tracing::warn!(checkpoint = told, "passed over: it is neither a file nor a directory");
            None
        }
        Err(error) => {
            tracing::warn!(checkpoint = told, %error, "passed over");
            None
        }
    }
}

/// Whether a checkpoint is there, as seen from `host`. Whether it is whole was looked at when it was chosen, or its trainer
/// said so.
///
/// One that is not beneath the results of a run in `runs`, or behind a link there, is none: an earlier version took any
/// place for one that a run told of.
pub(crate) fn still_there(
    checkpoint: &Checkpoint,
    runs: &Path,
    host: Option<&str>,
) -> Result<bool, LaunchError> {
    match (is_there(checkpoint, runs), &checkpoint.host) {
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

fn is_there(checkpoint: &Checkpoint, runs: &Path) -> io::Result<bool> {
    let Some(place) =
        place_beneath(runs, &checkpoint.path).filter(|place| is_result(place, checkpoint.attempt))
    else {
        tracing::warn!(checkpoint = &*checkpoint.path, "not gone on from: it is no result of a run here");
        return Ok(false);
    };
    match std::fs::canonicalize(runs).and_then(Beneath::at).and_then(|runs| runs.metadata(&place)) {
        Ok(found) => Ok(found.is_dir() || found.is_file()),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(false),
            io::ErrorKind::InvalidInput => {
                tracing::warn!(checkpoint = &*checkpoint.path, %error, "not gone on from");
                Ok(false)
            }
            _ => Err(error),
        },
    }
}

/// Tells whether a place is among the results of a run of this attempt: `<job>-<attempt>/output/…`.
fn is_result(place: &Path, attempt: u32) -> bool {
    let mut names = place.iter().map(|name| name.to_str().unwrap_or_default());
    let run = names.next().and_then(|run| run.rsplit_once('-'));
    run.is_some_and(|(job, number)| {
        job.parse::<swifthook_core::JobId>().is_ok() && number == attempt.to_string()
    }) && names.next() == Some("output")
}

/// The last whole checkpoint among the results of a run, by its name; those that are only half there are passed over.
pub(super) fn last(output: &Beneath, traces: &dyn Traces) -> Option<(u64, String)> {
    let until = Instant::now() + LONGEST;
    newest_first(output, traces).into_iter().find(|(step, name)| {
        match whole(*step, output, name, traces, until) {
            Ok(()) => true,
            Err(why) => {
                tracing::warn!(checkpoint = name, why, "passed over: it is not whole");
                false
            }
        }
    })
}

/// Whether a run can go on from a checkpoint.
fn whole(step: u64, output: &Beneath, name: &str, traces: &dyn Traces, until: Instant) -> Result<(), String> {
    let folder = output.folder(name).map_err(|error| error.to_string())?;
    traces.missing(step, &Directory::new(folder, until)).map_or(Ok(()), Err)
}

/// Real directories that are called as checkpoints are, not more than are worth a look.
fn newest_first(output: &Beneath, traces: &dyn Traces) -> Vec<(u64, String)> {
    let Ok(entries) = output.entries(MOST_ENTRIES) else { return Vec::new() };
    let step = |name: String| Some((traces.step_of(&name)?, name));
    let folders = entries.into_iter().filter(|entry| entry.is_dir);
    let mut found: Vec<_> =
        folders.filter_map(|entry| entry.name.into_string().ok()).filter_map(step).collect();
    found.sort_by_key(|(step, _)| std::cmp::Reverse(*step));
    found.truncate(MOST_LOOKED_AT);
    found
}

/// A directory of this machine, of which only so much is read, and only for so long.
struct Directory {
    folder: Beneath,
    until: Instant,
    left: Cell<u64>,
}

impl Directory {
    fn new(folder: Beneath, until: Instant) -> Self {
        Self { folder, until, left: Cell::new(MOST_BYTES) }
    }
}

impl Folder for Directory {
    fn files(&self) -> Vec<(String, u64)> {
        let mut files = Vec::new();
        list(&self.folder, "", &mut files);
        files
    }

    fn read(&self, file: &str, from: u64, most: usize) -> Option<Vec<u8>> {
        if Instant::now() >= self.until {
            return None;
        }
        let most = (most as u64).min(self.left.get()).min(MOST_AT_ONCE);
        let bytes = self.folder.read(file, from, most).ok()?;
        self.left.set(self.left.get() - bytes.len() as u64);
        Some(bytes)
    }
}

/// Regular files, down to one folder below.
fn list(folder: &Beneath, prefix: &str, files: &mut Vec<(String, u64)>) {
    for entry in folder.entries(MOST_FILES).unwrap_or_default() {
        let (Some(name), true) = (entry.name.to_str(), files.len() < MOST_FILES) else { continue };
        if entry.is_file {
            let size = folder.metadata(name).map(|metadata| metadata.len());
            files.extend(size.map(|size| (format!("{prefix}{name}"), size)));
        } else if entry.is_dir
            && prefix.is_empty()
            && let Ok(below) = folder.folder(name)
        {
            list(&below, &format!("{name}/"), files);
        }
    }
}

/// Limit of entries in the results of a run that are looked through for checkpoints.
const MOST_ENTRIES: usize = 100_000;
/// Limit of those that are not whole and are passed over. One is what a run leaves that is killed while it saves.
const MOST_LOOKED_AT: usize = 100;
/// Limit of files of a checkpoint that are looked at. One of a large model on many GPUs has some thousand.
const MOST_FILES: usize = 20_000;
/// Limit in bytes of what is read of a checkpoint, of the beginnings and ends of its files.
const MOST_BYTES: u64 = 1 << 30;
const MOST_AT_ONCE: u64 = 1 << 20;
/// Time for which all of them are looked at.
const LONGEST: Duration = Duration::from_secs(60);
/// How often one that is being written is looked at.
const AGAIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use swifthook_core::TraceReader;

    use super::*;

    use std::fs;
    use std::os::unix::fs::symlink;

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
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path();
        let last = |output: &Path| last(&Beneath::at(output).unwrap(), &Marked);
        assert_eq!(last(output), None);
        save(output, 90, true);
        save(output, 100, true);
        save(output, 110, false);
        fs::write(output.join("checkpoint-120"), "a file").unwrap();
        symlink(output.join("checkpoint-100"), output.join("checkpoint-130")).unwrap();
        assert_eq!(last(output), Some((100, "checkpoint-100".to_owned())));
        let mut shelf = Shelf::default();
        let mut last_step = || shelf.last_step(&Beneath::at(output).unwrap(), &Marked);
        assert_eq!(last_step(), Some(100));
        save(output, 140, true);
        assert_eq!(last_step(), Some(140));
    }

    #[test]
    fn what_lies_in_a_folder_of_a_checkpoint_is_listed_and_no_deeper() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        for file in ["x", "a/y", "a/b/z"] {
            fs::write(folder.path().join(file), "12").unwrap();
        }
        symlink("/etc/passwd", folder.path().join("link")).unwrap();
        symlink("/etc", folder.path().join("folder")).unwrap();
        let directory = |until| Directory::new(Beneath::at(folder.path()).unwrap(), until);
        let later = Instant::now() + LONGEST;
        let mut files = directory(later).files();
        files.sort();
        assert_eq!(files, [("a/y".to_owned(), 2), ("x".to_owned(), 2)]);
        assert_eq!(directory(later).read("a/y", 1, 9).unwrap(), b"2");
        assert_eq!(directory(later).read("folder/passwd", 0, 9), None);
        assert_eq!(directory(Instant::now()).read("a/y", 1, 9), None, "its time is up");
    }

    #[test]
    fn of_a_checkpoint_no_more_is_read_than_its_share() {
        let folder = tempfile::tempdir().unwrap();
        fs::File::create(folder.path().join("sparse")).unwrap().set_len(3 << 40).unwrap();
        let until = Instant::now() + LONGEST;
        let directory = Directory::new(Beneath::at(folder.path()).unwrap(), until);
        assert_eq!(directory.read("sparse", 0, usize::MAX).unwrap().len() as u64, MOST_AT_ONCE);
        directory.left.set(10);
        assert_eq!(directory.read("sparse", 1 << 40, usize::MAX).unwrap().len(), 10);
        assert_eq!(directory.read("sparse", 0, 1).unwrap(), b"");
    }

    const JOB: &str = "01900000-0000-7000-8000-000000000001";

    #[test]
    fn what_a_run_told_counts_beneath_its_own_results_and_over_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join(format!("runs/{JOB}-1"));
        let output = dir.join("output");
        fs::create_dir_all(output.join("state")).unwrap();
        fs::write(output.join("file"), "x").unwrap();
        fs::write(folder.path().join("secret"), "x").unwrap();
        symlink(folder.path().join("secret"), output.join("link")).unwrap();
        symlink("../../..", output.join("up")).unwrap();
        symlink("state", output.join("inside")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, output.join("pipe"), rustix::fs::Mode::RWXU).unwrap();
        let told = |place: &str| told_place(&dir, &output, place);
        let absolute = output.join("state").display().to_string();
        for (place, found) in [("state", "state"), ("./file", "file"), (&*absolute, "state"), (".", "")] {
            assert_eq!(told(place).as_deref(), Some(found), "{place}");
        }
        let secret = folder.path().join("secret").display().to_string();
        for place in [
            "../../..",
            "..",
            &*secret,
            "/",
            "link",
            "up",
            "up/secret",
            "inside",
            "pipe",
            "absent",
            "../tree",
        ] {
            assert_eq!(told(place), None, "{place}");
        }
    }

    #[test]
    fn what_an_earlier_version_took_for_a_checkpoint_is_looked_at_again_before_it_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        let output = runs.join(format!("{JOB}-1/output"));
        fs::create_dir_all(output.join("state")).unwrap();
        fs::write(folder.path().join("admin-token"), "x").unwrap();
        symlink(folder.path(), output.join("link")).unwrap();
        let holds = |path: String, attempt| {
            let checkpoint = Checkpoint { path: path.into(), step: None, attempt, host: Some("box".into()) };
            still_there(&checkpoint, &runs, Some("box")).unwrap()
        };
        let at = |rest: &str| format!("{}/{rest}", output.display());
        assert!(holds(at("state"), 1) && holds(output.display().to_string(), 1));
        assert!(!holds(at("state"), 2), "that is another attempt's");
        for path in [
            at("../../.."),
            at("link/admin-token"),
            at("link"),
            at("absent"),
            folder.path().display().to_string(),
            folder.path().join("admin-token").display().to_string(),
            runs.join(format!("{JOB}-1")).display().to_string(),
            runs.join(format!("{JOB}-1/tree")).display().to_string(),
        ] {
            assert!(!holds(path.clone(), 1), "{path}");
        }
        let elsewhere =
            Checkpoint { path: "/elsewhere".into(), step: None, attempt: 1, host: Some("far".into()) };
        assert!(still_there(&elsewhere, &runs, Some("box")).is_err(), "it is waited for");
    }
}
