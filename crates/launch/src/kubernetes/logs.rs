//! The output of runs, copied from the cluster into their directories.
//!
//! How far the copy came stands in `log.copied`, among what no pod has, and by whole lines. A copy that was interrupted is cut back
//! to there, and goes on from the time of its last line: so nothing is lost or there twice, whoever is restarted. Whoever
//! holds `log.lock` copies.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::AsyncReadExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use swifthook_core::RunKey;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::end;
use super::error::is_not_found;
use super::lines::{Cut, Lines};
use super::link::within;
use super::names::TRAIN;
use super::record::{COPIED, Files};
use crate::beneath::Beneath;
use crate::local::Lock;
use crate::log::LogCap;

/// The copies that this process makes.
#[derive(Default)]
pub(super) struct Logs {
    copies: Mutex<HashMap<RunKey, Copying>>,
}

struct Copying {
    task: AbortHandle,
    is_whole: watch::Receiver<bool>,
}

/// Where a log comes from and goes to.
pub(super) struct Route {
    pub(super) pods: Api<Pod>,
    pub(super) pod: String,
    pub(super) files: Files,
    /// Size that the copy may have, in bytes.
    pub(super) max_log: Option<u64>,
}

impl Logs {
    /// Sees to it that the output of a run is being copied.
    pub(super) fn follow(&self, key: &RunKey, route: impl FnOnce() -> Route) {
        drop(self.copy_of(key, route));
    }

    /// Waits until the log of a run that has ended is whole; not for ever, since a cluster may not have it any more.
    pub(super) async fn finish(&self, key: &RunKey, route: impl FnOnce() -> Route) {
        let mut is_whole = self.copy_of(key, route);
        if timeout(PATIENCE, is_whole.wait_for(|is_whole| *is_whole)).await.is_ok() {
            self.copies().remove(key);
        }
    }

    fn copy_of(&self, key: &RunKey, route: impl FnOnce() -> Route) -> watch::Receiver<bool> {
        let mut copies = self.copies();
        let copying = copies.entry(*key).or_insert_with(|| {
            let (whole, is_whole) = watch::channel(false);
            let route = route();
            let task = tokio::spawn(async move {
                route.copy_all().await;
                whole.send_replace(true);
            });
            Copying { task: task.abort_handle(), is_whole }
        });
        copying.is_whole.clone()
    }

    fn copies(&self) -> std::sync::MutexGuard<'_, HashMap<RunKey, Copying>> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.copies().values().for_each(|copying| copying.task.abort());
    }
}

impl Route {
    /// Returns when the log is whole.
    async fn copy_all(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.copy().await {
                Ok(true) => return,
                Ok(false) => pause = FIRST_PAUSE,
                Err(error) => {
                    tracing::debug!(%error, pod = self.pod, "the log is not there yet, or cut off");
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
            sleep(pause).await;
        }
    }

    /// Copies for as long as the cluster goes on giving; whether the log is whole then.
    async fn copy(&self) -> io::Result<bool> {
        let mut copy = match Copy::resume(&self.files, self.max_log)? {
            Resumed::Whole => return Ok(true),
            Resumed::Elsewhere => return Ok(false),
            Resumed::Here(copy) => copy,
        };
        // Asked before the last look, so that nothing is written after it.
        let is_over = match within(self.pods.get(&self.pod)).await {
            Ok(pod) => end::container(&pod, TRAIN).and_then(end::terminated).is_some(),
            Err(error) if is_not_found(&error) => {
                copy.close()?;
                return Ok(true);
            }
            Err(error) => return Err(io::Error::other(error)),
        };
        let params = LogParams {
            container: Some(TRAIN.into()),
            follow: !is_over,
            timestamps: true,
            since_time: copy.lines.since().and_then(|since| since.parse().ok()),
            ..LogParams::default()
        };
        let stream = within(self.pods.log_stream(&self.pod, &params)).await;
        let stream = match stream {
            // Its node has it no more.
            Err(error) if is_over && is_not_found(&error) => {
                copy.close()?;
                return Ok(true);
            }
            other => other.map_err(io::Error::other)?,
        };
        let mut stream = std::pin::pin!(stream);
        let mut piece = vec![0; PIECE];
        loop {
            match stream.read(&mut piece).await? {
                0 => break,
                count => copy.write(&piece[..count])?,
            }
        }
        if is_over {
            copy.close()?;
        }
        Ok(is_over)
    }
}

/// A log that is being written.
struct Copy {
    control: Beneath,
    log: File,
    lines: Lines,
    length: u64,
    noted: Copied,
    cap: Option<LogCap>,
    /// Set when there is too much of it, which cannot be cut: no more is kept.
    is_full: bool,
    _lock: Lock,
}

enum Resumed {
    Here(Box<Copy>),
    /// Another process copies.
    Elsewhere,
    Whole,
}

impl Copy {
    fn resume(files: &Files, max_log: Option<u64>) -> io::Result<Resumed> {
        files.make()?;
        let (dir, control) = (Beneath::at(&files.run)?, Beneath::at(&files.control)?);
        let lock = control.read_write(LOCK)?;
        let Some(lock) = Lock::take(lock, FlockOperation::NonBlockingLockExclusive)? else {
            return Ok(if Copied::read(&control)?.is_whole { Resumed::Whole } else { Resumed::Elsewhere });
        };
        let noted = Copied::read(&control)?;
        if noted.is_whole {
            return Ok(Resumed::Whole);
        }
        let log = dir.append(LOG)?;
        let length = log.metadata()?.len().min(noted.length);
        log.set_len(length)?;
        let lines = Lines::after(noted.last.clone());
        let cap = max_log.map(|most| LogCap::of(&log, most)).transpose()?.flatten();
        let copy = Self { control, log, lines, length, noted, cap, is_full: false, _lock: lock };
        Ok(Resumed::Here(Box::new(copy)))
    }

    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        let mut text = Vec::with_capacity(piece.len());
        self.lines.push(piece, &mut text);
        if self.is_full {
            text.clear();
        }
        if let Some(Err(uncut)) = self.cap.as_mut().map(|cap| cap.look(Instant::now())) {
            tracing::warn!(%uncut, "no more of the log of a run is kept");
            (self.cap, self.is_full) = (None, true);
            text = format!("\nswifthook: {uncut}: no more of it is kept\n").into_bytes();
        }
        self.log.write_all(&text)?;
        let before = self.length;
        self.length += text.len() as u64;
        // Where the last line ended that is there as a whole.
        if let Some(last) = text.iter().rposition(|byte| *byte == b'\n') {
            self.noted =
                Copied { length: before + last as u64 + 1, last: self.lines.last_whole(), ..self.noted };
            self.noted.write(&self.control)?;
        }
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        Copied { length: self.length, last: self.lines.last_whole(), is_whole: true }.write(&self.control)
    }
}

/// How far a copy came.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Copied {
    length: u64,
    last: Option<Cut>,
    is_whole: bool,
}

impl Copied {
    fn read(control: &Beneath) -> io::Result<Self> {
        match control.read_all(COPIED, LONGEST) {
            // One that a power failure left half there is as none: all is copied again.
            Ok(text) => Ok(serde_json::from_slice(&text).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    fn write(&self, control: &Beneath) -> io::Result<()> {
        let unfinished = format!("{COPIED}.tmp");
        control.remove_file(&unfinished)?;
        control.create_new(&unfinished)?.write_all(&serde_json::to_vec(self)?)?;
        control.rename(&unfinished, COPIED)
    }
}

/// More than a note has, which holds the end of a line.
const LONGEST: u64 = 4 << 20;
const LOG: &str = "log";
const LOCK: &str = "log.lock";
const PIECE: usize = 64 * 1024;
/// How long the end of a run waits for its log.
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use super::*;

    fn copy(dir: &Path) -> Box<Copy> {
        let files = Files { run: dir.join("run"), control: dir.join("control") };
        match Copy::resume(&files, Some(1 << 20)).unwrap() {
            Resumed::Here(copy) => copy,
            _ => panic!("nobody else copies"),
        }
    }

    #[test]
    fn a_copy_is_kept_to_its_size_and_goes_on_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let mut piece = String::new();
        for number in 0..800 {
            piece += &format!("2026-12-01T00:00:00.{number:09}Z {number:>63}\n");
        }
        let mut length = 0;
        for round in 0..100 {
            // Interrupted now and then.
            let mut copy = copy(dir.path());
            assert_eq!(copy.length, length, "in round {round}");
            let later = piece.replace("T00:00:00", &format!("T00:{:02}:{:02}", round / 60, round % 60));
            copy.write(later.as_bytes()).unwrap();
            length = copy.length;
        }
        let log = dir.path().join("run").join(LOG).metadata().unwrap();
        assert_eq!(log.len(), 100 * 800 * 64);
        assert!(log.blocks() * 512 <= 1 << 20, "{log:?}");
    }
}
