use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::lock::{beside, private};

/// Room on the disk that is kept for the work which is under way. When the disk is full it is given back, so that runs
/// can be recorded to their end; new pushes are refused until it can be taken again.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    is_held: bool,
    given_back: Option<Instant>,
}

impl Reserve {
    /// Takes it, if there is room.
    pub(super) fn take(store: &Path, bytes: u64) -> Self {
        let mut this = Self { path: beside(store, ".reserve"), bytes, is_held: false, given_back: None };
        if let Err(error) = this.allocate() {
            tracing::warn!(%error, "no room can be kept for the end of what runs: new pushes are refused");
        }
        this
    }

    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Gives it back; answers whether there was anything to give.
    pub(super) fn give_back(&mut self) -> bool {
        if !std::mem::take(&mut self.is_held) || self.bytes == 0 {
            return false;
        }
        self.given_back = Some(Instant::now());
        tracing::error!(
            "the disk is full: new pushes are refused, and what runs is recorded in reserved room"
        );
        match OpenOptions::new().write(true).open(&self.path).and_then(|file| file.set_len(0)) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, "the reserved room cannot be given back");
                false
            }
        }
    }

    /// Takes it again, if there is room by now for as much once more; answers whether it is held.
    pub(super) fn regain(&mut self) -> bool {
        // Whatever does not show in the free blocks (a quota, a limit) is asked once in a while.
        let is_time = self.given_back.is_none_or(|at| at.elapsed() >= PAUSE);
        if !self.is_held && is_time && self.free() / 2 >= self.bytes && self.allocate().is_ok() {
            tracing::info!("there is room on the disk again: new pushes are taken");
        }
        self.is_held
    }

    /// How much is free; what cannot be asked is thought to be enough.
    fn free(&self) -> u64 {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let asked = statvfs(folder.unwrap_or(Path::new(".")));
        asked.map_or(u64::MAX, |fs| fs.f_bavail.saturating_mul(fs.f_frsize))
    }

    fn allocate(&mut self) -> io::Result<()> {
        if self.bytes == 0 {
            self.is_held = true;
            return Ok(());
        }
        let file = private(&self.path)?;
        if file.metadata()?.len() < self.bytes {
            let filled = fill(&file, self.bytes);
            if filled.is_err() {
                // Half of it would be in the way of those for whom it is meant.
                file.set_len(0)?;
            }
            filled?;
        }
        self.is_held = true;
        Ok(())
    }
}

fn fill(file: &File, bytes: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            let zeros = [0; 1 << 16];
            let mut left = bytes;
            while left > 0 {
                let some = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
                left -= (&*file).write(&zeros[..some])? as u64;
            }
            file.sync_all()
        }
        done => Ok(done?),
    }
}

/// How long it is given back at least.
const PAUSE: Duration = Duration::from_secs(1);
