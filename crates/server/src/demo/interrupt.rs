use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;
use std::{io, thread};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};

use super::DemoError;

/// Word of whoever watches that it is to end: Ctrl-C, or a signal that asks for the same. The next one ends the demo where
/// it stands.
#[derive(Clone, Default)]
pub(super) struct Interrupt(Arc<AtomicI32>);

impl Interrupt {
    /// Listens from now on.
    pub(super) fn listen() -> io::Result<Self> {
        let this = Self::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let guard = runtime.enter();
        let signals = kinds.map(|kind| signal(kind).map(|signal| (kind.as_raw_value(), signal)));
        drop(guard);
        let [interrupt, terminate, hangup] = signals;
        let mut signals = [interrupt?, terminate?, hangup?];
        let raised = this.0.clone();
        thread::Builder::new().name("swifthook-signals".into()).spawn(move || {
            runtime.block_on(async move {
                loop {
                    let [(one, first), (two, second), (three, third)] = &mut signals;
                    let came = tokio::select! {
                        _ = first.recv() => *one,
                        _ = second.recv() => *two,
                        _ = third.recv() => *three,
                    };
                    if raised.swap(came, Ordering::SeqCst) != 0 {
                        std::process::exit(128 + came);
                    }
                }
            });
        })?;
        Ok(this)
    }

    /// # Errors
    ///
    /// If it has come.
    pub(super) fn check(&self) -> Result<(), DemoError> {
        match self.0.load(Ordering::SeqCst) {
            0 => Ok(()),
            signal => Err(DemoError::Interrupted { signal }),
        }
    }

    /// Waits until it comes.
    pub(super) async fn raised(&self) -> DemoError {
        loop {
            if let Err(interrupted) = self.check() {
                return interrupted;
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Runs a command to its end. What a terminal sends to all who are in front of it does not reach the command: when the
    /// interrupt comes it is killed, with all that it has started.
    pub(super) fn output(
        &self,
        command: &mut Command,
        input: impl FnOnce(&mut Child),
    ) -> Result<io::Result<Output>, DemoError> {
        let mut child = match command.process_group(0).spawn() {
            Ok(child) => child,
            Err(error) => return Ok(Err(error)),
        };
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        input(&mut child);
        let ending = thread::spawn(move || child.wait_with_output());
        while !ending.is_finished() {
            if let (Err(interrupted), Some(group)) = (self.check(), group) {
                // One that has ended meanwhile is fine too.
                let _ = kill_process_group(group, Signal::KILL);
                drop(ending.join());
                return Err(interrupted);
            }
            thread::sleep(GLANCE);
        }
        Ok(ending.join().unwrap_or_else(|_| Err(io::Error::other("waiting for it panicked"))))
    }
}

const GLANCE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_command_that_takes_long_is_ended_with_its_children_by_an_interrupt() {
        let interrupt = Interrupt::default();
        let later = interrupt.clone();
        let folder = tempfile::tempdir().unwrap();
        let begun = folder.path().join("begun");
        let seen = begun.clone();
        thread::spawn(move || {
            while !seen.exists() {
                thread::sleep(GLANCE);
            }
            later.0.store(2, Ordering::SeqCst);
        });
        let began = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", "touch \"$0\"; sleep 60 & wait"]).arg(&begun);
        // The child has the pipe: whoever reads it to its end sees the child end.
        command.stdout(std::process::Stdio::piped());
        let ended = interrupt.output(&mut command, |_| ());
        assert!(matches!(ended, Err(DemoError::Interrupted { signal: 2 })), "{ended:?}");
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}
