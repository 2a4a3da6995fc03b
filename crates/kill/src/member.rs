use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Failure;
use crate::http::ask;
use crate::site::{Place, Role, SECRET, Site, TOKEN};

/// A process of ours that is started again and again.
pub(crate) struct Member {
    pub(crate) place: Place,
    child: Child,
    since: Instant,
    /// Whether it has said so since it was started.
    is_ready: bool,
}

/// How a process is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Alive,
    /// By SIGKILL, which nobody but us sends.
    Killed,
    /// It ended before it was ready.
    GaveUp(ExitStatus),
    Ended(ExitStatus),
}

impl Member {
    pub(crate) fn start(program: &Path, site: &Site, place: &Place) -> Result<Self, Failure> {
        let child = spawn(program, site, place)?;
        Ok(Self { place: place.clone(), child, since: Instant::now(), is_ready: false })
    }

    /// Starts it again, and does not wait until it is ready.
    pub(crate) fn restart(&mut self, program: &Path, site: &Site) -> Result<(), Failure> {
        self.child = spawn(program, site, &self.place)?;
        (self.since, self.is_ready) = (Instant::now(), false);
        Ok(())
    }

    /// SIGKILL. How it was before: it must not have ended by itself.
    pub(crate) fn kill(&mut self) -> Result<Found, Failure> {
        let found = self.look()?;
        self.child.kill()?;
        self.child.wait()?;
        Ok(found)
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> Result<(), Failure> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).ok_or("no process has this id")?;
        Ok(kill_process(pid, signal)?)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    pub(crate) fn look(&mut self) -> Result<Found, Failure> {
        Ok(match self.child.try_wait()? {
            None => Found::Alive,
            Some(status) if status.signal() == Some(Signal::KILL.as_raw()) => Found::Killed,
            Some(status) if !self.is_ready => Found::GaveUp(status),
            Some(status) => Found::Ended(status),
        })
    }

    /// Asks it, unless it has said so before.
    pub(crate) fn is_ready(&mut self) -> bool {
        let patience = Duration::from_secs(1);
        self.is_ready = self.is_ready
            || ask(self.place.address, "GET /readyz", "", b"", patience)
                .is_ok_and(|reply| reply.status == 200);
        self.is_ready
    }

    pub(crate) fn is_receiver(&self) -> bool {
        matches!(self.place.role, Role::Receiver { .. })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &Path, site: &Site, place: &Place) -> Result<Child, Failure> {
    let log =
        File::options().create(true).append(true).open(site.path().join(format!("{}.log", place.name)))?;
    let command = match place.role {
        Role::Receiver { .. } => "serve",
        Role::Worker => "worker",
    };
    let child = Command::new(program)
        .args([command, "--config"])
        .arg(&place.config)
        .current_dir(site.path())
        .env("SWIFTHOOK_KILL_SECRET", SECRET)
        .env("SWIFTHOOK_KILL_TOKEN", TOKEN)
        .env("SWIFTHOOK_FAILPOINTS", site.points())
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .map_err(|error| format!("{} does not start: {error}", program.display()))?;
    Ok(child)
}
