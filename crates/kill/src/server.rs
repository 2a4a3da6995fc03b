use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::Failure;
use crate::http::ask;
use crate::processes::wait_until;
use crate::site::{SECRET, Site, TOKEN};

/// `swifthook serve`, which is started again and again.
pub(crate) struct Server<'a> {
    site: &'a Site,
    program: PathBuf,
    child: Child,
}

impl<'a> Server<'a> {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(site: &'a Site, program: Option<&Path>) -> Result<Self, Failure> {
        let program = program.map_or_else(beside, |path| Ok(path.to_owned()))?;
        let child = spawn(&program, site)?;
        let mut server = Self { site, program, child };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// SIGKILL. It must not have ended by itself before.
    pub(crate) fn kill(&mut self) -> Result<(), Failure> {
        self.assert_alive()?;
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again after it was killed, and does not wait.
    pub(crate) fn spawn(&mut self) -> Result<(), Failure> {
        self.child = spawn(&self.program, self.site)?;
        Ok(())
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> Result<(), Failure> {
        self.assert_alive()?;
        let pid =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).ok_or("no process has this id")?;
        Ok(kill_process(pid, signal)?)
    }

    pub(crate) fn wait_until_ready(&mut self) -> Result<(), Failure> {
        let address = self.site.hooks;
        let is_ready = wait_until(PATIENCE, || {
            self.assert_alive()?;
            Ok(ask(address, "GET /readyz", "", b"").is_ok_and(|reply| reply.status == 200))
        })?;
        if is_ready { Ok(()) } else { Err("the server does not become ready".into()) }
    }

    pub(crate) fn assert_alive(&mut self) -> Result<(), Failure> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("the server ended by itself: {status}; see server.log").into()),
        }
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &Path, site: &Site) -> Result<Child, Failure> {
    let log = File::options().create(true).append(true).open(site.path().join("server.log"))?;
    let child = Command::new(program)
        .args(["serve", "--config"])
        .arg(site.config())
        .current_dir(site.path())
        .env("SWIFTHOOK_KILL_SECRET", SECRET)
        .env("SWIFTHOOK_KILL_TOKEN", TOKEN)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .map_err(|error| format!("{} does not start: {error}", program.display()))?;
    Ok(child)
}

fn beside() -> Result<PathBuf, Failure> {
    let beside = std::env::current_exe()?.with_file_name("swifthook");
    if beside.exists() { Ok(beside) } else { Err("build it first: cargo build -p swifthook".into()) }
}

const PATIENCE: Duration = Duration::from_secs(180);
