//! The first process of a container.

use std::process::{Command, ExitCode};
use std::thread;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, wait};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

use super::failure::failed;

/// Returns true for the process to which the kernel hands every process whose parent has ended. Each stays a zombie until
/// somebody waits for it, and a git that is killed leaves its children so.
pub(super) fn is_first() -> bool {
    getpid() == Pid::INIT
}

/// Runs this program once more, passes on what it is told, and waits for whoever else ends. Two processes, since each waits
/// for children of its own: one that waited for everybody's would take the end of a command from who has started it.
pub(super) fn run_below() -> ExitCode {
    match begin().and_then(attend) {
        Ok(code) => ExitCode::from(code),
        Err(error) => failed(&error),
    }
}

fn begin() -> std::io::Result<Pid> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let guard = runtime.enter();
    let told: Vec<(Signal, Signals)> = [
        (Signal::HUP, SignalKind::hangup()),
        (Signal::INT, SignalKind::interrupt()),
        (Signal::QUIT, SignalKind::quit()),
        (Signal::TERM, SignalKind::terminate()),
        (Signal::USR1, SignalKind::user_defined1()),
        (Signal::USR2, SignalKind::user_defined2()),
    ]
    .into_iter()
    .map(|(number, kind)| Ok((number, signal(kind)?)))
    .collect::<std::io::Result<_>>()?;
    drop(guard);
    let mut arguments = std::env::args_os();
    let child = Command::new(std::env::current_exe()?).args(arguments.by_ref().skip(1)).spawn()?;
    let pid = Pid::from_child(&child);
    thread::Builder::new().name("swifthook-signals".into()).spawn(move || {
        runtime.block_on(async {
            let passing = told.into_iter().map(|(number, mut signals)| {
                tokio::task::spawn(async move {
                    while signals.recv().await.is_some() {
                        // One that has ended ends this one.
                        let _ = kill_process(pid, number);
                    }
                })
            });
            for each in passing.collect::<Vec<_>>() {
                let _ = each.await;
            }
        });
    })?;
    Ok(pid)
}

/// Waits for everybody, until it is the child that has ended: then for nobody, as the kernel ends all who are left.
fn attend(child: Pid) -> std::io::Result<u8> {
    loop {
        match rustix::io::retry_on_intr(|| wait(WaitOptions::empty()))? {
            Some((pid, status)) if pid == child => return Ok(code(status)),
            _ => {}
        }
    }
}

/// As a shell would tell it.
fn code(status: WaitStatus) -> u8 {
    let signal = || status.terminating_signal().map(|signal| 128 + signal);
    let code = status.exit_status().or_else(signal).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
