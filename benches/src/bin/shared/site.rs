use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::body::SECRET;

/// A folder with servers that share a database, and an upstream repository.
pub(crate) struct Site {
    folder: TempDir,
    url: String,
    repositories: usize,
}

/// A server that runs.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Site {
    pub(crate) fn new(url: &str, repositories: usize) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("secret"), SECRET)?;
        fs::create_dir(folder.path().join("upstream"))?;
        let site = Self { folder, url: url.to_owned(), repositories };
        site.git(&["init", "--quiet", "--initial-branch=main"])?;
        Ok(site)
    }

    /// Commits to the upstream, and answers the commit.
    pub(crate) fn commit(&self) -> Result<String, Box<dyn Error>> {
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "Tune"])?;
        self.git(&["rev-parse", "HEAD"])
    }

    /// A server with so many slots and a state directory of its own.
    pub(crate) fn serve(&self, name: &str, slots: usize) -> Result<Server, Box<dyn Error>> {
        let free = || TcpListener::bind("127.0.0.1:0")?.local_addr();
        let [address, admin] = [free()?, free()?];
        let mut config = format!(
            "[server]\nlisten = \"{address}\"\nadmin_listen = \"{admin}\"\nreconcile = \"off\"\n\
             [[hook]]\nsecrets = [\"file:secret\"]\nrepositories = [\"acme/*\"]\n\
             [store]\nurl = \"{}\"\nstate_dir = \"{name}\"\n[worker]\nslots = {slots}\n",
            self.url
        );
        let upstream = self.folder.path().join("upstream");
        for number in 0..self.repositories {
            let repository = repository(number);
            write!(
                config,
                "[[repository]]\nname = \"{repository}\"\nclone_url = \"file://{}\"\n\
                 [[recipe]]\nname = \"sft-{number}\"\nrepository = \"{repository}\"\nbranches = [\"main\"]\n\
                 trust = \"code\"\nrun = {{ command = [\"true\"] }}\n",
                upstream.display()
            )?;
        }
        let file = format!("{name}.toml");
        fs::write(self.folder.path().join(&file), config)?;
        let program = std::env::current_exe()?.with_file_name("swifthook");
        if !program.exists() {
            return Err("build it first: cargo build --release -p swifthook --features postgres".into());
        }
        let mut command = Command::new(program);
        command.args(["serve", "--config", &file]).current_dir(self.folder.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let server = Server { child, address };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            if Instant::now() > deadline {
                return Err("the server does not answer".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    fn git(&self, args: &[&str]) -> Result<String, Box<dyn Error>> {
        let output = Command::new("git")
            .current_dir(self.folder.path().join("upstream"))
            .args(["-c", "user.name=Dev", "-c", "user.email=dev@example.org", "-c", "commit.gpgsign=false"])
            .args(args)
            .output()?;
        if !output.status.success() {
            return Err(format!("git: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended already.
            let _ = kill_process(pid, Signal::TERM);
        }
        drop(self.child.wait());
    }
}

pub(crate) fn repository(number: usize) -> String {
    format!("acme/models-{number}")
}
