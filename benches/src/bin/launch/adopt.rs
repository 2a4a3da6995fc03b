use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::Value;
use swifthook_benches::marks::{mark, median};
use tempfile::TempDir;

use crate::body::{REPOSITORY, Requests, SECRET};
use crate::load;
use crate::repository::Repository;

/// A server is killed beside a hundred runs and started again: from its start until each of them is owned again and was
/// polled, which the server's log tells by how far the run has come.
#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
pub(crate) fn measure(rounds: usize) -> Result<bool, Box<dyn Error>> {
    let site = Site::new()?;
    let mut server = site.serve()?;
    site.push()?;
    server.until_all_are_polled()?;
    let mut took = Vec::new();
    for _ in 0..rounds {
        server.kill()?;
        server = site.serve()?;
        let ready = server.began.elapsed();
        server.until_all_are_polled()?;
        took.push(server.began.elapsed().as_secs_f64() * 1e3);
        println!(
            "  ready after {:.0} ms, all polled after {:.0} ms",
            ready.as_secs_f64() * 1e3,
            took[took.len() - 1]
        );
    }
    server.kill()?;
    site.end_all()?;
    let middle = median(took);
    println!("{RUNS} runs adopted after a SIGKILL of the server: {middle:.0} ms, median of {rounds}");
    Ok(mark(
        &format!("{middle:.0} ms until {RUNS} runs are owned and polled again, at most 1,000"),
        middle <= 1_000.0,
    ))
}

/// A server that runs, and what it says.
struct Server {
    child: Child,
    began: Instant,
    polled: Receiver<()>,
}

impl Server {
    fn until_all_are_polled(&self) -> Result<(), Box<dyn Error>> {
        for number in 0..RUNS {
            let told = self.polled.recv_timeout(Duration::from_secs(120));
            told.map_err(|_| format!("only {number} runs were polled"))?;
        }
        Ok(())
    }

    fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

struct Site {
    folder: TempDir,
    head: String,
    address: SocketAddr,
}

impl Site {
    fn new() -> Result<Self, Box<dyn Error>> {
        let free = || TcpListener::bind("127.0.0.1:0")?.local_addr();
        let folder = tempfile::tempdir()?;
        let mut origin = Repository::new(folder.path().join("origin.git"), 1)?;
        let head = origin.commit()?.to_string();
        let site = Self { head, address: free()?, folder };
        fs::write(site.folder.path().join("secret"), SECRET)?;
        let mut config = format!(
            "[server]\nlisten = \"{}\"\nadmin_listen = \"{}\"\nreconcile = \"off\"\n\
             [[hook]]\nsecrets = [\"file:secret\"]\nrepositories = [\"acme/*\"]\n\
             [store]\nurl = \"sqlite:swifthook.db\"\nstate_dir = \"state\"\n[worker]\nslots = {RUNS}\n\
             [[repository]]\nname = \"{REPOSITORY}\"\nclone_url = \"file://{}\"\n",
            site.address,
            free()?,
            origin.path.display()
        );
        for number in 0..RUNS {
            write!(
                config,
                "[[recipe]]\nname = \"sleep-{number}\"\nrepository = \"{REPOSITORY}\"\nbranches = [\"main\"]\n\
                 trust = \"code\"\nrun = {{ command = [\"sh\", \"-c\", '''{SLEEPS}'''] }}\n"
            )?;
        }
        fs::write(site.folder.path().join("swifthook.toml"), config)?;
        Ok(site)
    }

    fn serve(&self) -> Result<Server, Box<dyn Error>> {
        let program = std::env::current_exe()?.with_file_name("swifthook");
        if !program.exists() {
            return Err("build it first: cargo build --release -p swifthook".into());
        }
        let mut command = Command::new(program);
        command.args(["serve", "--log", "swifthook_runner=debug"]).current_dir(self.folder.path());
        let began = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let said = child.stderr.take().ok_or("the server has no log")?;
        let (tell, polled) = mpsc::channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(said).lines().map_while(Result::ok);
            // Whoever listens may be gone; the server must not stop for that.
            for _ in lines.filter(|line| line.contains("Progressed")) {
                let _ = tell.send(());
            }
        });
        let server = Server { child, began, polled };
        until("the server answers", || TcpStream::connect(self.address).ok().map(drop))?;
        Ok(server)
    }

    /// One push, by which every recipe begins a run.
    fn push(&self) -> Result<(), Box<dyn Error>> {
        let push = Rc::new(Requests::push_of(REPOSITORY, &"a".repeat(40), &self.head));
        load::send(self.address, &push, 0, 1, 202).map(drop)
    }

    fn end_all(&self) -> Result<(), Box<dyn Error>> {
        for run in fs::read_dir(self.folder.path().join("state/control"))? {
            let begun: Value = serde_json::from_slice(&fs::read(run?.path().join("begun.json"))?)?;
            let supervisor = begun["supervisor"].as_i64().and_then(|pid| i32::try_from(pid).ok());
            if let Some(pid) = supervisor.and_then(rustix::process::Pid::from_raw) {
                rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
            }
        }
        Ok(())
    }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T, Box<dyn Error>> {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        match look() {
            Some(found) => return Ok(found),
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            None => return Err(format!("waited in vain until {what}").into()),
        }
    }
}

const RUNS: usize = 100;
/// The braces by their numbers, since they would be fields of a template.
const SLEEPS: &str =
    r#"printf '\173"step": 1, "max_steps": 9\175\n' >> "$SWIFTHOOK_PROGRESS"; exec sleep 1200"#;
