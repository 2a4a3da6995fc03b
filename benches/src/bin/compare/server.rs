use std::error::Error;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A server under test, pinned to a core of its own.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// The bare one: this program again.
    pub(crate) fn bare() -> Result<Self, Box<dyn Error>> {
        let address = free_address()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("bare").arg(address.to_string());
        Self::start(command, address)
    }

    /// `swifthook serve` in `folder`, whose configuration listens on `address`.
    pub(crate) fn swifthook(folder: &Path, address: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(swifthook()?);
        command.arg("serve").current_dir(folder);
        Self::start(command, address)
    }

    fn start(command: Command, address: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let child =
            pinned(command).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let server = Self { child, address };
        wait(Duration::from_secs(20), || TcpStream::connect(address).ok())
            .ok_or("the server does not answer")?;
        Ok(server)
    }

    /// Processor time so far, of its ended children too.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name in parentheses may hold anything; utime, stime, cutime and cstime are the fields 14 to 17.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().skip(11).take(4);
        let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_secs(1).mul_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
    }

    /// A line of `/proc/<pid>/status` in bytes: `VmHWM`, `VmRSS`.
    pub(crate) fn memory(&self, line: &str) -> Result<usize, Box<dyn Error>> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let value = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
        let kibibytes = value.and_then(|value| value.trim().strip_suffix(" kB")).ok_or("no such line")?;
        Ok(kibibytes.parse::<usize>()? << 10)
    }

    /// Asks it to end, as a service manager does.
    pub(crate) fn stop(mut self) -> io::Result<()> {
        self.terminate();
        self.child.wait().map(drop)
    }

    fn terminate(&self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended already.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.terminate();
            drop(self.child.wait());
        }
    }
}

/// Keeps this process, and so the load, off the server's core. To be called before there are other threads.
pub(crate) fn pin_the_load() -> Result<(), Box<dyn Error>> {
    let own = std::process::id().to_string();
    let done = Command::new("taskset").args(["-p", "-c", LOAD_CORE, &own]).stdout(Stdio::null()).status()?;
    if done.success() { Ok(()) } else { Err("taskset failed; two cores are needed".into()) }
}

/// The program under test, which stands beside this one.
pub(crate) fn swifthook() -> Result<PathBuf, Box<dyn Error>> {
    let beside = std::env::current_exe()?.with_file_name("swifthook");
    if beside.exists() {
        Ok(beside)
    } else {
        Err("build it first: cargo build --release -p swifthook".into())
    }
}

pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// Looks again and again, at short intervals, until there is something or the time is up.
pub(crate) fn wait<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        match look() {
            None if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
            found => return found,
        }
    }
}

fn pinned(command: Command) -> Command {
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", SERVER_CORE]).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        pinned.current_dir(folder);
    }
    pinned
}

const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";
