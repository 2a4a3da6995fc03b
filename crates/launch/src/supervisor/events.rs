use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
use rustix::process::Signal;

/// Everything that a supervisor waits for, in one place.
pub(super) struct Events {
    signals: UnixStream,
    is_asked_to_end: Arc<AtomicBool>,
    wake: Option<File>,
}

impl Events {
    /// From now on nothing is missed. Where `wake` cannot be a pipe, since its disk has none, waiting is short.
    pub(super) fn new(wake: &Path) -> io::Result<Self> {
        let (signals, writer) = UnixStream::pair()?;
        signals.set_nonblocking(true)?;
        let is_asked_to_end = Arc::new(AtomicBool::new(false));
        for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
            // Actions run in order: when the byte is read, the flag is up.
            signal_hook::flag::register(signal.as_raw(), is_asked_to_end.clone())?;
            signal_hook::low_level::pipe::register(signal.as_raw(), writer.try_clone()?)?;
        }
        signal_hook::low_level::pipe::register(Signal::CHILD.as_raw(), writer)?;
        Ok(Self { signals, is_asked_to_end, wake: open_wake(wake).ok() })
    }

    /// Waits until something has happened, at most `limit`.
    pub(super) fn wait(&mut self, limit: Option<Duration>) {
        let limit = match &self.wake {
            Some(_) => limit,
            None => Some(limit.map_or(SHORT, |limit| limit.min(SHORT))),
        };
        let limit = limit.map(|limit| Timespec {
            tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        let mut sources = vec![PollFd::new(&self.signals, PollFlags::IN)];
        sources.extend(self.wake.iter().map(|wake| PollFd::new(wake, PollFlags::IN)));
        // Interrupted is as good as woken: the caller looks at everything anyway.
        let _ = poll(&mut sources, limit.as_ref());
        drain(&mut self.signals);
        self.wake.iter_mut().for_each(drain);
    }

    /// Whether this process was asked to end.
    pub(super) fn is_asked_to_end(&self) -> bool {
        self.is_asked_to_end.load(Ordering::SeqCst)
    }
}

/// Opened for both ends, so that it never reports that its writers are gone.
fn open_wake(path: &Path) -> io::Result<File> {
    match mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
    let pipe = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    // Anything else would be ready all the time.
    if !pipe.metadata()?.file_type().is_fifo() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no pipe"));
    }
    Ok(pipe)
}

fn drain(source: &mut impl Read) {
    while matches!(source.read(&mut [0; 64]), Ok(64)) {}
}

const SHORT: Duration = Duration::from_millis(200);
