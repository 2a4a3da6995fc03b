//! A Slurm of its own for each test, by `scripts/slurm-single-node.sh`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use swifthook_core::{JobId, RunKey};
use swifthook_launch::{SlurmLauncher, SlurmOptions};

pub(crate) struct Cluster {
    dir: tempfile::TempDir,
    nodes: u32,
    /// What else it has, as the script calls it.
    with: Option<&'static str>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        Self::of(1)
    }

    /// Of several nodes, which are all this machine.
    pub(crate) fn of(nodes: u32) -> Self {
        Self::made(nodes, None)
    }

    /// One that soon forgets what has ended, and has accounting that does not.
    pub(crate) fn with_accounting() -> Self {
        Self::made(1, Some("SWIFTHOOK_SLURM_ACCOUNTING"))
    }

    /// Of several nodes that look at the memory of their jobs each second, and kill one that uses more than it may.
    pub(crate) fn that_looks_at_memory(nodes: u32) -> Self {
        Self::made(nodes, Some("SWIFTHOOK_SLURM_MEMORY"))
    }

    fn made(nodes: u32, with: Option<&'static str>) -> Self {
        let cluster = Self { dir: tempfile::tempdir().unwrap(), nodes, with };
        fs::create_dir(cluster.runs()).unwrap();
        cluster.script(&["start"]);
        fs::create_dir(cluster.dir.path().join("client")).unwrap();
        cluster.connect();
        cluster
    }

    /// A key that no other test has: what is left of a run is known by it, on the whole machine.
    pub(crate) fn key(&self, number: u8) -> RunKey {
        let mut job = [number; 16];
        let name = self.dir.path().file_name().unwrap().as_encoded_bytes();
        job[..8].copy_from_slice(&name[name.len() - 8..]);
        RunKey { job: JobId(job), attempt: 1 }
    }

    /// The folder of the test.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn runs(&self) -> PathBuf {
        self.dir.path().join("runs")
    }

    pub(crate) fn options(&self) -> SlurmOptions {
        SlurmOptions { conf: Some(self.conf()), poll: Duration::from_millis(50), ..SlurmOptions::default() }
    }

    pub(crate) fn launcher(&self) -> SlurmLauncher {
        SlurmLauncher::new("slurm", self.runs(), self.options()).unwrap()
    }

    /// Takes from clients what finds the cluster, which goes on. For a file that is not there they would wait a minute.
    pub(crate) fn cut_off(&self) {
        fs::write(self.conf(), "# says nothing\n").unwrap();
    }

    pub(crate) fn connect(&self) {
        fs::copy(self.dir.path().join("slurm/slurm.conf"), self.conf()).unwrap();
    }

    /// Runs a command of Slurm, as a person would.
    pub(crate) fn slurm(&self, command: &[&str]) -> String {
        let output = Command::new(command[0])
            .args(&command[1..])
            .env("SLURM_CONF", self.dir.path().join("slurm/slurm.conf"))
            .output()
            .unwrap_or_else(|error| {
                panic!("`{}` cannot be run ({error}): is slurm-wlm installed?", command[0])
            });
        text(&output)
    }

    /// Starts or stops the cluster, or one of its programs.
    pub(crate) fn script(&self, arguments: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/slurm-single-node.sh");
        let output = Command::new(script)
            .arg(arguments[0])
            .arg(self.dir.path().join("slurm"))
            .args(&arguments[1..])
            .env("SWIFTHOOK_SLURM_NODES", self.nodes.to_string())
            .envs(self.with.map(|name| (name, "1")))
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    }

    fn conf(&self) -> PathBuf {
        self.dir.path().join("client/slurm.conf")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let user = format!("--user={}", whoami());
        self.slurm(&["scancel", "--quiet", &user]);
        self.script(&["stop"]);
    }
}

fn whoami() -> String {
    text(&Command::new("id").arg("-un").output().unwrap()).trim().to_owned()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}
