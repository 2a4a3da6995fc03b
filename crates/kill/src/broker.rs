use std::cell::RefCell;
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tempfile::TempDir;

use crate::Failure;

/// A RabbitMQ with a data folder, ports and a name of its own.
pub(crate) struct Broker {
    folder: TempDir,
    port: u16,
    distribution_port: u16,
    process: RefCell<Option<Child>>,
}

/// How it is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// It closes its connections, and writes what it has.
    StopApp,
    /// SIGKILL, to all of it.
    Kill,
}

impl Broker {
    /// Does not wait until it answers.
    pub(crate) fn start_new() -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("swifthook-kill-rabbitmq-").tempdir()?;
        let (port, distribution_port) = (free_port()?, free_port()?);
        fs::write(folder.path().join("plugins"), "[].")?;
        fs::write(folder.path().join("broker.conf"), format!("listeners.tcp.local = 127.0.0.1:{port}\n"))?;
        let broker = Self { folder, port, distribution_port, process: RefCell::default() };
        broker.start()?;
        Ok(broker)
    }

    pub(crate) fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.port)
    }

    pub(crate) fn stop(&self, way: Way) -> Result<(), Failure> {
        match way {
            Way::StopApp => self.control("stop_app"),
            Way::Kill => self.kill(),
        }
    }

    /// Whether it takes connections: one that is still starting cannot be asked to stop.
    pub(crate) fn is_up(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }

    /// After it was stopped in this way.
    pub(crate) fn start_after(&self, way: Way) -> Result<(), Failure> {
        match way {
            Way::StopApp => self.control("start_app"),
            Way::Kill => self.start(),
        }
    }

    fn start(&self) -> Result<(), Failure> {
        let log = File::options().create(true).append(true).open(self.folder.path().join("output"))?;
        let mut command = self.program("rabbitmq-server");
        command.stdout(log.try_clone()?).stderr(log).stdin(Stdio::null()).process_group(0);
        let process = command.spawn().map_err(|error| {
            format!("RabbitMQ has to be installed, with its programs in {PROGRAMS}: {error}")
        })?;
        *self.process.borrow_mut() = Some(process);
        Ok(())
    }

    fn kill(&self) -> Result<(), Failure> {
        let Some(mut process) = self.process.borrow_mut().take() else { return Ok(()) };
        let group = Pid::from_child(&process);
        kill_process_group(group, Signal::KILL)?;
        process.wait()?;
        // The whole of it: the next one needs its ports and its name.
        let deadline = Instant::now() + Duration::from_secs(120);
        while test_kill_process_group(group).is_ok() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn control(&self, what: &str) -> Result<(), Failure> {
        let said = self.program("rabbitmqctl").arg(what).output()?;
        if said.status.success() { Ok(()) } else { Err(format!("rabbitmqctl {what}: {said:?}").into()) }
    }

    fn program(&self, name: &str) -> Command {
        let path = |name: &str| self.folder.path().join(name);
        let mut command = Command::new(Path::new(PROGRAMS).join(name));
        command
            .env("HOME", self.folder.path())
            .env("RABBITMQ_NODENAME", format!("swifthook-kill-{}@localhost", self.port))
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("RABBITMQ_MNESIA_BASE", path("data"))
            .env("RABBITMQ_LOG_BASE", path("logs"))
            .env("RABBITMQ_CONFIG_FILE", path("broker.conf"))
            .env("RABBITMQ_CONF_ENV_FILE", path("none"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("plugins"))
            .env("ERL_EPMD_ADDRESS", "127.0.0.1");
        command
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";
