//! From a key to a run that has begun.

use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use swifthook_core::{LaunchError, RunKey, RunSpec};

use super::config::LocalLauncher;
use super::enclose;
use super::lock::Lock;
use super::record::Order;
use super::run_dir::RunDir;
use crate::supervisor::{ARGUMENT, BEGUN, CANNOT_SUPERVISE, RUN_VARIABLE};

/// What is known of a key.
pub(super) enum Fate {
    /// Its run has begun.
    Begun,
    /// It never began, and never will.
    Forbidden,
    /// It has not begun, and nobody can begin it while the lock is held.
    Open(Lock),
}

/// Finds out what is known of the key of `dir`, and waits while somebody is just beginning its run.
pub(super) fn fate(dir: &RunDir) -> io::Result<Fate> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // Only under the lock is it certain that nothing has begun.
        let lock = dir.lock_or_make()?;
        if dir.is_spent()? {
            return Ok(Fate::Begun);
        }
        if dir.is_forbidden()? {
            return Ok(Fate::Forbidden);
        }
        if let Some(lock) = lock {
            return Ok(Fate::Open(lock));
        }
        if Instant::now() >= deadline {
            let message = format!("{} is held by somebody who does not get on", dir.lock_path().display());
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        thread::sleep(PAUSE);
    }
}

impl LocalLauncher {
    /// Begins the run of `key`, whose lock the caller holds. Where it fails, nothing has begun, unless a
    /// supervisor was slow and is killed at its first word: then the run has begun, and has vanished.
    pub(super) fn start(
        &self,
        dir: &RunDir,
        lock: Lock,
        key: &RunKey,
        run: &RunSpec,
    ) -> Result<(), LaunchError> {
        let mut supervisor = self
            .prepare(dir, &lock, key, run)
            .and_then(|mut command| command.spawn())
            .map_err(|error| LaunchError::passing("cannot start a supervisor").because(error))?;
        let answer = supervisor.stdout.take().expect("its standard output is a pipe");
        match wait_for_answer(answer) {
            Ok(Some(BEGUN)) => {
                lock.leave_to_child();
                reap_in_background(supervisor);
                Ok(())
            }
            other => Err(self.give_up(supervisor, other)),
        }
    }

    fn prepare(&self, dir: &RunDir, lock: &Lock, key: &RunKey, run: &RunSpec) -> io::Result<Command> {
        fs::create_dir_all(&run.working_dir)?;
        fs::create_dir_all(&run.output_dir)?;
        enclose::prepare(dir, run)?;
        let cgroup = self.groups.as_ref().map(|groups| groups.of(key));
        dir.write_order(&Order { cgroup, ..Order::of(key, run) })?;
        let mut command = Command::new(&*self.supervisor);
        command
            .arg0("swifthook-supervise")
            .arg(ARGUMENT)
            .args([&dir.path, &dir.control])
            .current_dir("/")
            .env_clear()
            .envs(&run.env)
            .env(RUN_VARIABLE, key.to_string())
            .stdin(lock.share()?)
            .stdout(Stdio::piped())
            .stderr(dir.log()?);
        Ok(command)
    }

    /// Ends a child that did not say that the run has begun.
    fn give_up(&self, mut child: Child, answer: io::Result<Option<u8>>) -> LaunchError {
        let deadline = Instant::now() + LAST_BREATH;
        while answer.is_ok() && matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(PAUSE);
        }
        let ended_by_itself = child.try_wait().ok().flatten().and_then(|status| status.code());
        let _ = child.kill();
        let _ = child.wait();
        match (answer, ended_by_itself) {
            (Err(error), _) => LaunchError::passing("the supervisor does not answer").because(error),
            (Ok(None), None | Some(CANNOT_SUPERVISE)) => LaunchError::passing(
                "the supervisor ended before the run began; the log of the run may say why",
            ),
            // Neither killed nor slow: this program does not know what it was asked.
            _ => LaunchError::permanent(format!(
                "`{}` is no supervisor: call swifthook_launch::supervise_if_asked() first in its main",
                self.supervisor.display()
            )),
        }
    }
}

/// The first byte that the child says; `None` if it ended without a word.
fn wait_for_answer(mut answer: ChildStdout) -> io::Result<Option<u8>> {
    let patience = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    let is_ready = {
        let mut ready = [PollFd::new(&answer, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut ready, Some(&patience)))? > 0
    };
    if !is_ready {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let mut byte = [0];
    Ok((answer.read(&mut byte)? == 1).then_some(byte[0]))
}

/// Waits for a supervisor that is our child, or it would stay a zombie. A thread and not a task: it must not end
/// with somebody's runtime, and there is one for each run on this machine, which are few.
fn reap_in_background(mut supervisor: Child) {
    let waiting = thread::Builder::new().name("swifthook-reap".into()).stack_size(64 * 1024);
    if let Err(error) = waiting.spawn(move || supervisor.wait()) {
        tracing::warn!(%error, "no thread to wait for a supervisor: it will stay a zombie once it ends");
    }
}

/// How long a supervisor may take to begin.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long one may take to end that has closed its output.
const LAST_BREATH: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(2);
