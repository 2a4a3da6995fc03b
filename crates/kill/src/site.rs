use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::Failure;

/// A folder with a repository, a configuration and all that the server writes.
pub(crate) struct Site {
    folder: TempDir,
    /// Where hooks are posted to.
    pub(crate) hooks: SocketAddr,
    /// Where the store is read.
    pub(crate) admin: SocketAddr,
    /// The commits of each branch, oldest first.
    pub(crate) branches: Vec<Vec<String>>,
}

impl Site {
    pub(crate) fn new() -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("swifthook-kill-").tempdir()?;
        let branches = repository(&folder.path().join("origin.git"))?;
        let (hooks, admin) = free_addresses()?;
        let site = Self { folder, hooks, admin, branches };
        fs::write(site.config(), site.configuration())?;
        fs::write(site.marks(), "")?;
        Ok(site)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path().join("swifthook.toml")
    }

    /// The file in which runs leave their marks.
    pub(crate) fn marks(&self) -> PathBuf {
        self.path().join("marks")
    }

    /// Under which the directories of the runs are.
    pub(crate) fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// Leaves the folder where it is.
    pub(crate) fn keep(self) -> PathBuf {
        self.folder.keep()
    }

    fn configuration(&self) -> String {
        let (folder, hooks, admin) = (self.path().display(), self.hooks, self.admin);
        format!(
            r#"[server]
listen = "{hooks}"
admin_listen = "{admin}"
admin_token = "env:SWIFTHOOK_KILL_TOKEN"

[[hook]]
name = "github"
path = "/webhook"
secrets = ["env:SWIFTHOOK_KILL_SECRET"]
repositories = ["acme/*"]

[store]
url = "sqlite:{folder}/swifthook.db"
state_dir = "{folder}/state"

[worker]
slots = 4

[[repository]]
name = "{REPOSITORY}"
clone_url = "file://{folder}/origin.git"

[[recipe]]
name = "train"
repository = "{REPOSITORY}"
branches = ["train/*"]
superseded = "keep"
retry = {{ attempts = 6, backoff = "1s" }}
env = {{ MARKS = "{folder}/marks" }}
trust = "code"
run = {{ command = ["sh", "-c", '''{RUN}'''] }}
"#
        )
    }
}

/// A bare repository whose branches `train/0` and so on have commits enough for any number of pushes.
fn repository(path: &Path) -> Result<Vec<Vec<String>>, Failure> {
    git(Command::new("git").args(["init", "-q", "--bare", "-b", "train/0"]).arg(path), "")?;
    let marks = path.join("commits");
    let mut export = std::ffi::OsString::from("--export-marks=");
    export.push(&marks);
    git(Command::new("git").current_dir(path).args(["fast-import", "--quiet"]).arg(export), &history())?;
    let text = fs::read_to_string(marks)?;
    let mut commits = vec![String::new(); BRANCHES * LENGTH];
    for line in text.lines() {
        let (mark, sha) = line.split_once(' ').ok_or("a line of git's marks has no space")?;
        let number: usize = mark.trim_start_matches(':').parse()?;
        sha.clone_into(&mut commits[number - 1]);
    }
    Ok(commits.chunks(LENGTH).map(<[_]>::to_vec).collect())
}

/// As `git fast-import` reads it. Each commit has its number, and how long its run takes.
fn history() -> String {
    let mut text = String::new();
    for number in 0..BRANCHES * LENGTH {
        let (branch, mark, now) = (number / LENGTH, number + 1, 1_795_000_000 + number);
        let (own, pause) = (number.to_string(), format!("0.{:02}", number * 37 % 70));
        text += &format!("commit refs/heads/train/{branch}\nmark :{mark}\n");
        text += &format!("committer a <a@example.org> {now} +0000\ndata 4\ntune\n");
        for (file, content) in [("number", own), ("pause", pause)] {
            text += &format!("M 100644 inline {file}\ndata {}\n{content}\n", content.len());
        }
    }
    text
}

fn git(command: &mut Command, input: &str) -> Result<(), Failure> {
    let mut child = command.env("GIT_CONFIG_GLOBAL", "/dev/null").stdin(Stdio::piped()).spawn()?;
    child.stdin.take().expect("its standard input is a pipe").write_all(input.as_bytes())?;
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(format!("git: {status}").into()) }
}

/// Two that stay free while the server is down: below the ports that the kernel gives to connections.
fn free_addresses() -> io::Result<(SocketAddr, SocketAddr)> {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).expect("it is below ten thousand");
    let mut free = (first..32_000).filter_map(|port| {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        TcpListener::bind(address).is_ok().then_some(address)
    });
    free.next().zip(free.next()).ok_or_else(|| io::ErrorKind::AddrInUse.into())
}

pub(crate) const REPOSITORY: &str = "acme/models";
pub(crate) const SECRET: &str = "a secret of the kill harness, long enough";
pub(crate) const TOKEN: &str = "a-token-of-the-kill-harness-of-enough-characters";
const BRANCHES: usize = 6;
const LENGTH: usize = 1_000;
/// Lines are appended whole, since each is one write to a file that is opened to append.
const RUN: &str = r#"number=$(cat number); echo "$SWIFTHOOK_RUN begin $number" >>"$MARKS"; sleep "$(cat pause)"; echo "$SWIFTHOOK_RUN end $number" >>"$MARKS""#;
