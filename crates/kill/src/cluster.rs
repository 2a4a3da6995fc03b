use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::Failure;

/// A PostgreSQL in a folder of its own, on a port of its own, that syncs what it commits.
pub(crate) struct Cluster {
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
}

/// How it is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    /// It ends its connections, and writes what it has.
    Fast,
    /// As if it had crashed: it recovers from its log when it is started.
    Immediate,
}

impl Cluster {
    pub(crate) fn start_new() -> Result<Self, Failure> {
        let programs = programs()?;
        let folder = stdout(as_postgres("mktemp")?.args(["-d", "/tmp/swifthook-kill-postgres-XXXXXX"]))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let cluster = Self { programs, folder: folder.into(), port };
        let data = cluster.data();
        cluster.run(
            "initdb",
            &["-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-sync", "-D", &data],
        )?;
        let settings = format!(
            "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nfsync = on\n\
             synchronous_commit = on\nmax_connections = 200\n",
            cluster.folder.display()
        );
        let append = ["-c", "cat >>\"$0\"", &format!("{data}/postgresql.conf")].map(str::to_owned);
        let mut child = as_postgres("sh")?.args(append).stdin(Stdio::piped()).spawn()?;
        child.stdin.take().expect("its standard input is a pipe").write_all(settings.as_bytes())?;
        child.wait()?;
        cluster.start()?;
        cluster.run("createdb", &["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "postgres", DATABASE])?;
        Ok(cluster)
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{DATABASE}", self.port)
    }

    pub(crate) fn start(&self) -> Result<(), Failure> {
        let log = self.folder.join("log").display().to_string();
        self.run("pg_ctl", &["start", "--wait", "--timeout=180", "-D", &self.data(), "-l", &log])
    }

    /// A fast stop that comes while it begins to recover need not come to an end: PostgreSQL 15 then waits for a
    /// recovery that does not begin. After a while that is stopped as whoever looks after it would.
    pub(crate) fn stop(&self, mode: Mode) -> Result<(), Failure> {
        let stop = |mode, time| self.run("pg_ctl", &["stop", "--wait", time, "-D", &self.data(), "-m", mode]);
        if mode == Mode::Fast && stop("fast", "--timeout=15").is_ok() {
            return Ok(());
        }
        stop("immediate", "--timeout=180")
    }

    /// SIGKILL to the process of one connection, whereupon the server throws all out and recovers by itself. Whether
    /// there was one.
    pub(crate) fn kill_backend(&self, who: u64) -> Result<bool, Failure> {
        let pids = stdout(as_postgres(self.programs.join("psql"))?.args([
            "-h",
            "127.0.0.1",
            "-p",
            &self.port.to_string(),
            "-U",
            "postgres",
            "-Atc",
            &format!("SELECT pid FROM pg_stat_activity WHERE datname = '{DATABASE}' ORDER BY state, pid"),
            "postgres",
        ]))?;
        let pids: Vec<i32> = pids.lines().filter_map(|line| line.parse().ok()).collect();
        let place = usize::try_from(who).unwrap_or(0) % pids.len().max(1);
        let Some(pid) = pids.get(place).copied().and_then(Pid::from_raw) else { return Ok(false) };
        Ok(kill_process(pid, Signal::KILL).is_ok())
    }

    /// What it said, for whoever looks for the cause of a breach.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn data(&self) -> String {
        self.folder.join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<(), Failure> {
        // What it starts must not hold on to a pipe of ours.
        let said = self.folder.join("said");
        let command = format!("exec \"$0\" \"$@\" >'{}' 2>&1", said.display());
        let mut run = as_postgres("sh")?;
        run.args(["-c", &command]).arg(self.programs.join(program)).args(arguments);
        let status = run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        if status.success() {
            return Ok(());
        }
        let said = fs::read_to_string(&said).unwrap_or_default();
        Err(format!("{program} {arguments:?}: {status}: {said}").into())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.stop(Mode::Immediate);
        let _ = as_postgres("rm").and_then(|mut remove| Ok(remove.arg("-rf").arg(&self.folder).output()?));
    }
}

/// Where the server's programs are: distributions do not put them on the path.
fn programs() -> Result<PathBuf, Failure> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders.extend(stdout(Command::new("pg_config").arg("--bindir")).ok().map(PathBuf::from));
    let has = |folder: &Path| folder.join("initdb").exists() && folder.join("pg_ctl").exists();
    let found = folders.into_iter().rev().find(|folder| has(folder));
    found.ok_or_else(|| "the programs of a PostgreSQL server (`initdb`, `pg_ctl`) are not here".into())
}

/// The server refuses to run as root.
fn as_postgres(program: impl AsRef<OsStr>) -> Result<Command, Failure> {
    let mut command = Command::new(program.as_ref());
    if stdout(Command::new("id").arg("-u"))? == "0" {
        command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program.as_ref());
    }
    command.current_dir("/");
    Ok(command)
}

fn stdout(command: &mut Command) -> Result<String, Failure> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

const DATABASE: &str = "swifthook";
