use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tempfile::TempDir;

/// A broker of a test's own, with a data folder, ports and a name of its own.
pub(crate) struct Broker {
    directory: TempDir,
    port: u16,
    distribution_port: u16,
    process: Option<Child>,
    started: Instant,
}

impl Broker {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (port, distribution_port) = (free_port(), free_port());
        std::fs::write(directory.path().join("plugins"), "[].").unwrap();
        let config = format!("listeners.tcp.local = 127.0.0.1:{port}\n");
        std::fs::write(directory.path().join("broker.conf"), config).unwrap();
        let mut broker = Self { directory, port, distribution_port, process: None, started: Instant::now() };
        broker.start_again();
        broker
    }

    pub(crate) fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.port)
    }

    pub(crate) fn start_again(&mut self) {
        let log = std::fs::File::create(self.directory.path().join("output")).unwrap();
        let mut command = self.program("rabbitmq-server");
        command.stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null()).process_group(0);
        self.process = Some(command.spawn().unwrap_or_else(|error| {
            panic!("RabbitMQ has to be installed, with its programs in {PROGRAMS}: {error}")
        }));
    }

    /// Between two looks at whether it is there by now.
    pub(crate) fn wait(&self) {
        assert!(self.started.elapsed() < PATIENCE, "the broker does not start");
        std::thread::sleep(Duration::from_millis(20));
    }

    /// A broker that is killed within seconds of making a queue may never find a leader for it again (seen with RabbitMQ
    /// 3.10): what it knows of the queue reaches its disk a little later, or when it ends in order.
    pub(crate) fn settle(&self) {
        self.control(&["stop_app"]);
        self.control(&["start_app"]);
    }

    /// SIGKILL, to all of it.
    pub(crate) fn kill(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let group = Pid::from_child(&process);
        kill_process_group(group, Signal::KILL).unwrap();
        process.wait().unwrap();
        // The whole of it: the next one needs its ports and its name.
        let deadline = Instant::now() + PATIENCE;
        while test_kill_process_group(group).is_ok() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGSTOP: its connections stay, and nothing comes over them.
    pub(crate) fn stand_still(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let group = Pid::from_child(self.process.as_ref().unwrap());
        kill_process_group(group, signal).unwrap();
    }

    /// Asks the broker for something.
    pub(crate) fn control(&self, what: &[&str]) {
        let said = self.program("rabbitmqctl").args(what).output().unwrap();
        assert!(said.status.success(), "{said:?}");
    }

    fn program(&self, name: &str) -> Command {
        let path = |name: &str| self.directory.path().join(name);
        let mut command = Command::new(format!("{PROGRAMS}/{name}"));
        command
            .env("HOME", self.directory.path())
            .env("RABBITMQ_NODENAME", format!("swifthook-test-{}@localhost", self.port))
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
        if std::thread::panicking() {
            let output = std::fs::read_to_string(self.directory.path().join("output"));
            eprintln!("the broker said: {}", output.unwrap_or_default());
        }
        self.kill();
    }
}

/// A port that nobody else is given.
fn free_port() -> u16 {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/free-ports");
    let told = Command::new(script).output().unwrap();
    String::from_utf8(told.stdout).unwrap().trim().parse().expect("a port")
}

const PATIENCE: Duration = Duration::from_secs(180);
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";
