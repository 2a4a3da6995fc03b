//! What is kept of a run in its directory, since anybody may delete what the cluster has of it: that it has a Job, so that
//! its key is spent for good, and how it ended.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use swifthook_core::Exit;

use crate::local::Ended;
use crate::supervisor::{BEGUN_BEFORE, LEFT};

#[derive(Serialize, Deserialize)]
struct Record {
    version: u16,
    /// The identity of the Job that was the run.
    uid: String,
    exit: Exit,
}

/// Keeps how the run ended that was the Job `uid`. What was kept first stays.
pub(super) fn keep(dir: &Path, uid: &str, exit: &Exit) -> io::Result<()> {
    if kept(dir, uid).is_some() {
        return Ok(());
    }
    let record = Record { version: VERSION, uid: uid.to_owned(), exit: exit.clone() };
    let unfinished = dir.join(format!("{NAME}.{}.tmp", std::process::id()));
    fs::write(&unfinished, serde_json::to_vec(&record)?)?;
    fs::rename(unfinished, dir.join(NAME))
}

/// How it ended, if that was kept.
pub(super) fn kept(dir: &Path, uid: &str) -> Option<Exit> {
    let record: Record = serde_json::from_slice(&fs::read(dir.join(NAME)).ok()?).ok()?;
    (record.version == VERSION && record.uid == uid).then_some(record.exit)
}

/// How a run ended, as its keeper left word of it in its directory: what a pod tells is lost with the pod.
pub(super) fn left(dir: &Path) -> Option<Exit> {
    // The run can write there too, and nobody waits for what it put in place of a file.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(dir.join(LEFT)).ok()?;
    let mut text = Vec::new();
    let is_file = file.metadata().ok()?.is_file();
    is_file.then(|| file.take(LONGEST).read_to_end(&mut text))?.ok()?;
    let ended: Ended = serde_json::from_slice(&text).ok()?;
    (ended.version == crate::local::VERSION).then(|| ended.into())
}

/// An end as the cluster tells it, with what it has lost of it: it forgets the containers of a pod that it evicts, and before
/// 1.26 it makes a second pod in place of one that somebody deletes.
pub(super) fn whole(dir: &Path, told: Exit) -> Exit {
    if told.code.is_some() || told.signal.is_some() {
        return told;
    }
    let Some(left) = left(dir) else { return told };
    let message = told.message.filter(|message| **message != *BEGUN_BEFORE).or(left.message);
    Exit { stopped: told.stopped.or(left.stopped), message, ..left }
}

/// Notes that the run has the Job `uid`.
pub(super) fn note_job(dir: &Path, uid: &str) -> io::Result<()> {
    match noted_job(dir)? {
        Some(_) => Ok(()),
        None => {
            let unfinished = dir.join(format!("{JOB}.{}.tmp", std::process::id()));
            fs::write(&unfinished, uid)?;
            fs::rename(unfinished, dir.join(JOB))
        }
    }
}

/// The identity of the Job that the run had, if that was noted.
pub(super) fn noted_job(dir: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(dir.join(JOB)) {
        Ok(uid) => Ok(Some(uid)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

const JOB: &str = "job.kubernetes";
const NAME: &str = "ended.json";
const VERSION: u16 = 1;
/// More than a keeper writes.
const LONGEST: u64 = 64 * 1024;
