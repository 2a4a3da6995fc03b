//! A PostgreSQL of the tests' own.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, Weak};

/// A server in a folder of its own, on a port of its own. It ends with the last test that has it.
pub(crate) struct Cluster {
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
}

/// Who signs certificates.
pub(crate) struct Authorities {
    /// Who signed the server's.
    pub(crate) ours: PathBuf,
    /// Who did not.
    pub(crate) others: PathBuf,
}

impl Cluster {
    /// One that several tests share, each in a database of its own.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(cluster) = shared.upgrade() {
            return cluster;
        }
        let cluster = Arc::new(Self::new());
        *shared = Arc::downgrade(&cluster);
        cluster
    }

    pub(crate) fn new() -> Self {
        let programs = programs();
        let folder = stdout(as_postgres("mktemp").args(["-d", "/tmp/swifthook-postgres-XXXXXX"]));
        let port = free_port();
        let cluster = Self { programs, folder: folder.into(), port };
        cluster.run(
            "initdb",
            &["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync", "-D", &cluster.data()],
        );
        cluster.set(&[
            ("port", &port.to_string()),
            ("listen_addresses", "'127.0.0.1'"),
            ("unix_socket_directories", "''"),
            ("max_connections", "100"),
        ]);
        cluster.start();
        cluster
    }

    /// A new database.
    pub(crate) fn database(&self, name: &str) -> String {
        let port = self.port.to_string();
        self.run("createdb", &["-h", "127.0.0.1", "-p", &port, "-U", "postgres", name]);
        format!("postgres://postgres@127.0.0.1:{port}/{name}")
    }

    pub(crate) fn start(&self) {
        let log = self.folder.join("log").display().to_string();
        self.run("pg_ctl", &["start", "--wait", "--timeout=180", "-D", &self.data(), "-l", &log]);
    }

    /// `fast` lets it write what it has, `immediate` is a crash.
    pub(crate) fn stop(&self, mode: &str) {
        self.run("pg_ctl", &["stop", "--wait", "--timeout=180", "-D", &self.data(), "-m", mode]);
    }

    pub(crate) fn set(&self, settings: &[(&str, &str)]) {
        let lines: String = settings.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
        let sh = ["-c", "cat >> \"$0\"", &format!("{}/postgresql.conf", self.data())].map(str::to_owned);
        let mut child = as_postgres("sh").args(sh).stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), lines.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// From now on it takes connections over TLS alone, with a certificate for `host`.
    pub(crate) fn only_over_tls(&self, host: &str) -> Authorities {
        let folder = self.folder.display();
        let make = format!(
            "cd {folder}; set -e; key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -batch'; \
             for ca in ours others; do openssl req -x509 $key -subj /CN=$ca -keyout $ca.key -out $ca.pem; done; \
             openssl req $key -subj /CN=database -addext subjectAltName=DNS:{host} -keyout server.key -out server.csr; \
             openssl x509 -req -in server.csr -CA ours.pem -CAkey ours.key -CAcreateserial -days 2 \
                 -copy_extensions copyall -out server.pem; \
             echo 'hostssl all all 127.0.0.1/32 trust' > data/pg_hba.conf; \
             chmod 755 . ; chmod 644 ours.pem others.pem"
        );
        let made = as_postgres("sh").args(["-c", &make]).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        self.set(&[
            ("ssl", "on"),
            ("ssl_cert_file", &format!("'{folder}/server.pem'")),
            ("ssl_key_file", &format!("'{folder}/server.key'")),
        ]);
        self.stop("fast");
        self.start();
        Authorities { ours: self.folder.join("ours.pem"), others: self.folder.join("others.pem") }
    }

    /// Where its data is.
    pub(crate) fn data(&self) -> String {
        self.folder.join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        // What it starts must not hold on to a pipe of ours.
        let said = self.folder.join("said");
        let command = format!("exec \"$0\" \"$@\" > {} 2>&1", said.display());
        let mut run = as_postgres("sh");
        run.args(["-c", &command]).arg(self.programs.join(program)).args(arguments);
        let status = run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        let text = || fs::read_to_string(&said).unwrap_or_default();
        assert!(status.success(), "{program} {arguments:?}: {}", text());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let stop = ["stop", "-D", &self.data(), "-m", "immediate"].map(str::to_owned);
        let _ = as_postgres(self.programs.join("pg_ctl")).args(stop).output();
        let _ = as_postgres("rm").arg("-rf").arg(&self.folder).output();
    }
}

/// A port that nobody else is given.
pub(crate) fn free_port() -> u16 {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/free-ports");
    let told = Command::new(script).output().unwrap();
    String::from_utf8(told.stdout).unwrap().trim().parse().expect("a port")
}

/// Where the server's programs are: distributions do not put them on the path.
fn programs() -> PathBuf {
    let has = |folder: &Path| folder.join("initdb").exists() && folder.join("pg_ctl").exists();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    let asked = Command::new("pg_config").arg("--bindir").output().ok();
    folders.extend(asked.map(|output| String::from_utf8(output.stdout).unwrap().trim().into()));
    folders.into_iter().rev().find(|folder| has(folder)).unwrap_or_else(|| {
        panic!("the programs of a PostgreSQL server (`initdb`, `pg_ctl`) are not here: install `postgresql`")
    })
}

/// The server refuses to run as root.
fn as_postgres(program: impl AsRef<OsStr>) -> Command {
    let is_root = stdout(Command::new("id").arg("-u")) == "0";
    let mut command = if is_root { Command::new("runuser") } else { Command::new(program.as_ref()) };
    if is_root {
        command.args(["-u", "postgres", "--"]).arg(program.as_ref());
    }
    command.current_dir("/");
    command
}

fn stdout(command: &mut Command) -> String {
    let output: Output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
