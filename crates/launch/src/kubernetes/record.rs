//! What is kept of a run, since anybody may delete what the cluster has of it: that it has a Job, so that its key is spent
//! for good, and how it ended.
//!
//! It is kept in a directory that no pod has, on the claim, so that whichever host asks finds it. What an earlier version
//! kept of a run stands in the directory of the run itself, and counts as long as nothing is kept of it elsewhere.

use std::fs::DirBuilder;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use swifthook_core::{Exit, RunKey};

use crate::beneath::Beneath;
use crate::local::{Ended, shared_control_of};
use crate::supervisor::{BEGUN_BEFORE, LEFT};

#[derive(Serialize, Deserialize)]
struct Record {
    version: u16,
    /// The identity of the Job that was the run.
    uid: String,
    exit: Exit,
}

/// Directories of a run.
#[derive(Clone)]
pub(super) struct Files {
    /// Those that its pod has too.
    pub(super) run: PathBuf,
    /// Those that keep it.
    pub(super) control: PathBuf,
}

impl Files {
    pub(super) fn of(runs: &Path, key: &RunKey) -> Self {
        let key = key.to_string();
        Self { run: runs.join(&key), control: shared_control_of(runs).join(&key) }
    }

    /// Makes both directories, before there is a pod that could write into its own. What an earlier version kept is taken
    /// over.
    pub(super) fn make(&self) -> io::Result<()> {
        let make = |path| DirBuilder::new().recursive(true).mode(0o700).create(path);
        make(&self.run)?;
        if self.control.try_exists()? {
            return Ok(());
        }
        let old = OLD.map(|name| Some((name, self.read(name).ok()??)));
        make(&self.control)?;
        old.into_iter().flatten().try_for_each(|(name, text)| self.write(name, &text))
    }

    /// Keeps how the run ended that was the Job `uid`. What was kept first stays.
    pub(super) fn keep(&self, uid: &str, exit: &Exit) -> io::Result<()> {
        if self.kept(uid).is_some() {
            return Ok(());
        }
        let record = Record { version: VERSION, uid: uid.to_owned(), exit: exit.clone() };
        self.make()?;
        self.write(NAME, &serde_json::to_vec(&record)?)
    }

    /// End of the run, if that was kept.
    pub(super) fn kept(&self, uid: &str) -> Option<Exit> {
        let record: Record = serde_json::from_slice(&self.read(NAME).ok()??).ok()?;
        (record.version == VERSION && record.uid == uid).then_some(record.exit)
    }

    /// End of a run, as its keeper left word of it in its directory: what a pod tells is lost with the pod.
    pub(super) fn left(&self) -> Option<Exit> {
        // The run can write there too.
        let text = Beneath::at(&self.run).ok()?.read_all(LEFT, LONGEST).ok()?;
        let ended: Ended = serde_json::from_slice(&text).ok()?;
        (ended.version == crate::local::VERSION).then(|| ended.into())
    }

    /// An end as the cluster tells it, with what it has lost of it: it forgets the containers of a pod that it evicts, and
    /// before 1.26 it makes a second pod in place of one that somebody deletes.
    pub(super) fn whole(&self, told: Exit) -> Exit {
        if told.code.is_some() || told.signal.is_some() {
            return told;
        }
        let Some(left) = self.left() else { return told };
        let message = told.message.filter(|message| **message != *BEGUN_BEFORE).or(left.message);
        Exit { stopped: told.stopped.or(left.stopped), message, ..left }
    }

    /// Notes that the run has the Job `uid`.
    pub(super) fn note_job(&self, uid: &str) -> io::Result<()> {
        self.make()?;
        match self.noted_job()? {
            Some(_) => Ok(()),
            None => self.write(JOB, uid.as_bytes()),
        }
    }

    /// The identity of the Job that the run had, if that was noted.
    pub(super) fn noted_job(&self) -> io::Result<Option<String>> {
        let text = self.read(JOB)?;
        Ok(text.map(|text| String::from_utf8_lossy(&text).into_owned()))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let control = Beneath::at(&self.control)?;
        let unfinished = format!("{name}.{}.tmp", std::process::id());
        control.remove_file(&unfinished)?;
        control.create_new(&unfinished)?.write_all(bytes)?;
        control.rename(&unfinished, name)
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let is_kept = self.control.try_exists()?;
        let place = if is_kept { &self.control } else { &self.run };
        match Beneath::at(place).and_then(|place| place.read_all(name, LONGEST)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The names of what may be kept.
const OLD: [&str; 3] = [JOB, NAME, COPIED];
/// Length of its log that was copied.
pub(super) const COPIED: &str = "log.copied";
const JOB: &str = "job.kubernetes";
const NAME: &str = "ended.json";
const VERSION: u16 = 1;
/// More than is written.
const LONGEST: u64 = 64 * 1024;
