use std::error::Error;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::body::{REPOSITORY, Requests, SECRET};
use crate::load;
use crate::server::{self, Server};

/// A folder with a configuration, a store and an upstream repository.
pub(crate) struct Site {
    folder: TempDir,
    address: SocketAddr,
    admin: SocketAddr,
}

/// What the recipe of the measured repository makes of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recipe {
    /// No path matches: a verdict and nothing more.
    Ignores,
    /// Every path matches: a job.
    Accepts,
    /// The same, and the run writes a line at once.
    Runs,
}

impl Site {
    pub(crate) fn new(recipe: Recipe) -> Result<Self, Box<dyn Error>> {
        let [address, admin] = [server::free_address()?, server::free_address()?];
        let site = Self { folder: tempfile::tempdir()?, address, admin };
        fs::write(site.path("secret"), SECRET)?;
        fs::write(site.path("swifthook.toml"), site.config(recipe))?;
        fs::create_dir(site.upstream())?;
        site.git(&["init", "--quiet"])?;
        site.git(&["symbolic-ref", "HEAD", "refs/heads/main"])?;
        site.commit()?;
        Ok(site)
    }

    pub(crate) fn serve(&self) -> Result<Server, Box<dyn Error>> {
        Server::swifthook(self.folder.path(), self.address)
    }

    /// Commits to the upstream, and answers the commit.
    pub(crate) fn commit(&self) -> Result<String, Box<dyn Error>> {
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "Tune"])?;
        self.git(&["rev-parse", "HEAD"])
    }

    /// Fills the only slot with a run that does nothing, so that what is accepted stays queued. It ends when the
    /// answer is dropped.
    pub(crate) fn block(&self) -> Result<Blocker, Box<dyn Error>> {
        let head = self.git(&["rev-parse", "HEAD"])?;
        let push = Rc::new(Requests::push_of(BLOCKER, &"a".repeat(40), &head));
        load::send(self.address, &push, 0, 1, 202)?;
        let log = self.log_of_a_new_run(&[]).ok_or("the slot was not filled")?;
        Ok(Blocker(fs::read_to_string(log)?.trim().parse()?))
    }

    /// Waits for the first byte that a run writes which is not among the `known`.
    pub(crate) fn log_of_a_new_run(&self, known: &[PathBuf]) -> Option<PathBuf> {
        server::wait(Duration::from_secs(20), || {
            let runs = fs::read_dir(self.path("state/runs")).ok()?;
            runs.flatten()
                .map(|run| run.path().join("log"))
                .find(|log| !known.contains(log) && fs::metadata(log).is_ok_and(|log| log.len() > 0))
        })
    }

    /// Waits until no job is on its way.
    pub(crate) fn wait_until_idle(&self) -> Option<()> {
        server::wait(Duration::from_secs(20), || self.is_idle().ok()?.then_some(()))
    }

    fn is_idle(&self) -> io::Result<bool> {
        let token = fs::read_to_string(self.path("state/admin-token"))?;
        let mut stream = TcpStream::connect(self.admin)?;
        write!(
            stream,
            "GET /api/v1/jobs?state=queued,running,finishing HTTP/1.1\r\nHost: admin\r\n\
             Authorization: Bearer {}\r\nConnection: close\r\n\r\n",
            token.trim()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200") && answer.contains(r#""jobs":[]"#))
    }

    fn config(&self, recipe: Recipe) -> String {
        let paths = match recipe {
            Recipe::Ignores => r#"["docs/**", "src/**/*.py", "*.md"]"#,
            Recipe::Accepts | Recipe::Runs => r#"["src/**/*.py", "configs/**", "!**/*.md"]"#,
        };
        format!(
            r#"[server]
listen = "{listen}"
admin_listen = "{admin}"
reconcile = "off"

[[hook]]
secrets = ["file:secret"]
repositories = ["acme/*"]

[store]
url = "sqlite:swifthook.db"
state_dir = "state"

[[repository]]
name = "{REPOSITORY}"
clone_url = "file://{upstream}"

[[repository]]
name = "{BLOCKER}"
clone_url = "file://{upstream}"

[[recipe]]
name = "sft"
repository = "{REPOSITORY}"
branches = ["main"]
paths = {paths}
superseded = "keep"
trust = "code"
run = {{ command = ["echo", "started"] }}

[[recipe]]
name = "blocker"
repository = "{BLOCKER}"
branches = ["main"]
trust = "code"
timeout = "20m"
run = {{ command = ["sh", "-c", "echo $$; exec sleep 1200"] }}
"#,
            listen = self.address,
            admin = self.admin,
            upstream = self.upstream().display(),
        )
    }

    fn git(&self, args: &[&str]) -> Result<String, Box<dyn Error>> {
        let output = Command::new("git")
            .current_dir(self.upstream())
            .args(["-c", "user.name=Dev", "-c", "user.email=dev@example.org", "-c", "commit.gpgsign=false"])
            .args(args)
            .output()?;
        if !output.status.success() {
            return Err(format!("git: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    fn upstream(&self) -> PathBuf {
        self.path("upstream")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The run that fills the slot, by its process.
pub(crate) struct Blocker(i32);

impl Drop for Blocker {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.0) {
            // It may have ended already.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

const BLOCKER: &str = "acme/blocker";
