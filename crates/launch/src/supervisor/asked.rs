use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock, fstat};
use rustix::process::{getpid, set_child_subreaper, setsid};
use swifthook_core::Timestamp;

use super::confine::{CONFINE, confine};
use super::events::Events;
use super::run::Run;
use super::tasks::leave_some_to_others;
use crate::local::{Begun, Ended, Order, RunDir, VERSION};
use crate::process::{Process, boot_id, pid_namespace};
use crate::sandbox::{KEYRING, SANDBOX, enter, with_own_keyring};

/// Becomes the supervisor of a run if this process was started as one, and then does not return: the first thing in
/// `main`, before threads, logging and whatever reads the arguments.
///
/// The environment of a supervisor is that of the training; it reads nothing from it.
pub fn supervise_if_asked() {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(first) if first == OsStr::new(CONFINE) => confine(arguments),
        Some(first) if first == OsStr::new(SANDBOX) => enter(arguments),
        Some(first) if first == OsStr::new(KEYRING) => with_own_keyring(arguments),
        #[cfg(feature = "kubernetes")]
        Some(first) if first == OsStr::new(super::keep::KEEP) => super::keep::keep(arguments),
        #[cfg(feature = "kubernetes")]
        Some(first) if first == OsStr::new(super::install::INSTALL) => super::install::install(arguments),
        #[cfg(feature = "kubernetes")]
        Some(first) if first == OsStr::new(super::check_out::CHECK_OUT) => {
            super::check_out::check_out(arguments)
        }
        Some(first) if first == OsStr::new(ARGUMENT) => {}
        _ => return,
    }
    let outcome = match (arguments.next(), arguments.next()) {
        (Some(dir), Some(control)) => supervise(&RunDir::new(PathBuf::from(dir), PathBuf::from(control))),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "no directories of a run given")),
    };
    if let Err(error) = &outcome {
        let _ = writeln!(io::stderr(), "swifthook: cannot supervise: {error}");
    }
    std::process::exit(if outcome.is_ok() { 0 } else { CANNOT_SUPERVISE });
}

fn supervise(dir: &RunDir) -> io::Result<()> {
    assert_lock(dir)?;
    // It fails for the leader of a process group, which a child is not unless its starter made it one.
    setsid()?;
    set_child_subreaper(Some(getpid()))?;
    leave_some_to_others();
    let order = read_order(dir)?;
    let events = Events::new(&dir.wake_path())?;
    dir.write_begun(&begun()?)?;
    // Nobody may be listening any more; the run goes on.
    let _ = io::stdout().write_all(&[BEGUN]).and_then(|()| io::stdout().flush());
    let ended = Run::new(dir, &dir.path, &order, events).finish();
    record(dir, &ended)
}

/// Standard input must be the lock, and locked: by us, since the description is shared with whoever took it.
fn assert_lock(dir: &RunDir) -> io::Result<()> {
    let stdin = io::stdin();
    let ours = fstat(&stdin)?;
    if (ours.st_dev, ours.st_ino) != dir.lock_file()? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "standard input is not the lock of the run"));
    }
    Ok(flock(&stdin, FlockOperation::NonBlockingLockExclusive)?)
}

fn read_order(dir: &RunDir) -> io::Result<Order> {
    match dir.order()? {
        Some(order) if !order.argv.is_empty() => Ok(order),
        Some(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "the command is empty")),
        None => Err(io::Error::new(io::ErrorKind::NotFound, "there is no order for a run")),
    }
}

fn begun() -> io::Result<Begun> {
    let pid = getpid().as_raw_pid();
    let us = Process::read(pid).ok_or_else(|| io::Error::other("/proc does not show this process"))?;
    Ok(Begun {
        version: VERSION,
        supervisor: pid,
        supervisor_started: us.started,
        boot: boot_id()?,
        pids: pid_namespace()?,
        at: Timestamp::from(std::time::SystemTime::now()),
    })
}

/// The end of a run of many hours is worth waiting for a disk that is full or away: we have the lock meanwhile, so that
/// the run counts as running. Nobody will ask for it once the directory is removed: then our lock has no name any more.
fn record(dir: &RunDir, ended: &Ended) -> io::Result<()> {
    let mut told = None;
    while let Err(error) = dir.write_ended(ended) {
        if fstat(io::stdin())?.st_nlink == 0 {
            return Err(error);
        }
        // Once, and in the log, which may be on the same disk: then it is told as soon as there is room for a line.
        if told != Some(error.kind()) {
            let message = format!("swifthook: cannot record the end of the run yet: {error}\n");
            told = io::stderr().write_all(message.as_bytes()).is_ok().then_some(error.kind());
        }
        std::thread::sleep(RECORD_AGAIN);
    }
    if told.is_some() {
        let _ = writeln!(io::stderr(), "swifthook: the end of the run is recorded");
    }
    Ok(())
}

const RECORD_AGAIN: std::time::Duration = std::time::Duration::from_secs(2);

/// The hidden first argument.
pub(crate) const ARGUMENT: &str = "__swifthook_supervise";
/// The variable by which every process of a run can be known.
pub(crate) const RUN_VARIABLE: &str = "SWIFTHOOK_RUN";
/// What a supervisor says on its standard output when the run has begun.
pub(crate) const BEGUN: u8 = 0x06;
/// With this a supervisor says that it is one, but could not begin.
pub(crate) const CANNOT_SUPERVISE: i32 = 70;
