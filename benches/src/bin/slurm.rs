//! What a run costs that is handed to Slurm, and what it costs to follow a thousand that wait there: on a real Slurm of
//! this machine, which `scripts/slurm-single-node.sh` makes.
//!
//! ```text
//! cargo run --release -p swifthook-benches --features slurm --bin slurm
//! ```
//!
//! `sbatch` by hand and a submission take turns, with the same options and the same script; no job ever begins. The runs
//! are polled every two seconds, as the runner does with a run that goes on for long. The marks are 1.1 times `sbatch`, and 1 % of a core with
//! at most one `squeue` in a poll interval. It exits with 1 where a mark is missed.

#![expect(clippy::print_stdout, reason = "the figures are what this program is for")]

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use swifthook_benches::marks::{mark, median};
use swifthook_benches::{cpu, runs};
use swifthook_core::{RunHandle, RunStatus, TrainingLauncher};
use swifthook_launch::{SlurmLauncher, SlurmOptions};
use swifthook_msswift::SwiftTraces;
use tokio::time::interval;

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    // As a runner does: of what the first future of a runtime waits for, it hears by another thread.
    tokio::spawn(async { measure().await.map_err(|error| error.to_string()) }).await?.map_err(Into::into)
}

async fn measure() -> Result<ExitCode, Box<dyn Error>> {
    let cluster = Cluster::start()?;
    let options = SlurmOptions {
        conf: Some(cluster.conf()),
        lines: vec!["--hold".to_owned()],
        ..SlurmOptions::default()
    };
    let by_hand = cluster.by_hand(options.clone()).await?;
    let poll = options.poll;
    let launcher = SlurmLauncher::new("slurm", cluster.runs(), options)?.reading(Arc::new(SwiftTraces));
    let mut handles = Vec::new();
    let is_quick = submit(&cluster, &launcher, &by_hand, &mut handles).await?;
    while handles.len() < RUNS {
        let key = runs::key(u64::try_from(handles.len())?);
        let run = runs::run(&cluster.runs(), &key, &["sleep", "600"]);
        handles.push(launcher.submit(&key, &run).await?);
    }
    let is_cheap = follow(&launcher, &handles, poll).await?;
    Ok(if is_quick && is_cheap { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn submit(
    cluster: &Cluster,
    launcher: &SlurmLauncher,
    by_hand: &[String],
    handles: &mut Vec<RunHandle>,
) -> Result<bool, Box<dyn Error>> {
    let (mut theirs, mut ours, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let by_hand: Vec<_> = by_hand.iter().map(String::as_str).collect();
    for round in 0..=ROUNDS {
        let key = runs::key(u64::try_from(handles.len())?);
        let run = runs::run(&cluster.runs(), &key, &["sleep", "600"]);
        let began = Instant::now();
        handles.push(launcher.submit(&key, &run).await?);
        let submitted = began.elapsed().as_secs_f64() * 1e3;
        let began = Instant::now();
        cluster.call("sbatch", &by_hand)?;
        let called = began.elapsed().as_secs_f64() * 1e3;
        // The first calls of all are not measured.
        if round > 0 {
            theirs.push(called);
            ours.push(submitted);
            ratios.push(submitted / called);
        }
    }
    let ratio = median(ratios);
    println!(
        "sbatch by hand {:.1} ms, a submission {:.1} ms, of {ROUNDS} each",
        median(theirs),
        median(ours)
    );
    Ok(mark(&format!("{ratio:.2} times sbatch, at most 1.1"), ratio <= 1.1))
}

async fn follow(
    launcher: &SlurmLauncher,
    handles: &[RunHandle],
    poll: Duration,
) -> Result<bool, Box<dyn Error>> {
    let (looks, children) = (launcher.looks(), of_children());
    let (began, before) = (Instant::now(), cpu::used());
    let following = handles.iter().cloned().map(|handle| {
        let launcher = launcher.clone();
        tokio::spawn(async move {
            let mut polls = interval(Duration::from_secs(2));
            let mut is_always_queued = true;
            while began.elapsed() < LONG {
                polls.tick().await;
                is_always_queued &= matches!(launcher.poll(&handle).await, Ok(RunStatus::Pending(_)));
            }
            is_always_queued
        })
    });
    for following in following.collect::<Vec<_>>() {
        if !following.await? {
            return Err("a run was not seen in the queue".into());
        }
    }
    let (took, used) = (began.elapsed(), cpu::used() - before);
    let share = used.as_secs_f64() / took.as_secs_f64() * 100.0;
    let asked = launcher.looks() - looks;
    let most = took.as_secs().div_ceil(poll.as_secs()) + 1;
    println!(
        "{} runs in the queue for {:.0} s: {:.0} ms of processor time, and {:.0} ms of {asked} squeue",
        handles.len(),
        took.as_secs_f64(),
        used.as_secs_f64() * 1e3,
        (of_children() - children).as_secs_f64() * 1e3,
    );
    let is_cheap = mark(&format!("{share:.2} % of a core, at most 1"), share <= 1.0);
    Ok(mark(&format!("{asked} times squeue, at most {most}"), asked <= most) && is_cheap)
}

/// The processor time of the programs that were called and have ended.
fn of_children() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // The 16th and 17th of proc_pid_stat(5), in hundredths of a second; the first two are before the parenthesis.
    let ticks: u64 = fields.iter().skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// A Slurm, until it is dropped.
struct Cluster {
    folder: tempfile::TempDir,
}

impl Cluster {
    fn start() -> Result<Self, Box<dyn Error>> {
        let cluster = Self { folder: tempfile::tempdir()? };
        match cluster.script("start")? {
            true => Ok(cluster),
            false => Err("Slurm does not start: see scripts/slurm-single-node.sh".into()),
        }
    }

    fn script(&self, what: &str) -> Result<bool, Box<dyn Error>> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/slurm-single-node.sh");
        let mut command = Command::new(script);
        command.arg(what).arg(self.folder.path()).stdout(Stdio::null());
        Ok(command.status()?.success())
    }

    fn conf(&self) -> PathBuf {
        self.folder.path().join("slurm.conf")
    }

    fn runs(&self) -> PathBuf {
        self.folder.path().join("runs")
    }

    /// The arguments that `sbatch` gets for a run, and its script: of one that is submitted by way of a program which
    /// writes them down.
    async fn by_hand(&self, options: SlurmOptions) -> Result<Vec<String>, Box<dyn Error>> {
        let (programs, script) = (self.folder.path().join("programs"), self.folder.path().join("script"));
        fs::create_dir(&programs)?;
        let between = programs.join("sbatch");
        let (folder, path) = (self.folder.path().display(), std::env::var("PATH")?);
        fs::write(
            &between,
            format!(
                "#!/bin/sh\nPATH='{path}'\nprintf '%s\\n' \"$@\" >'{folder}/arguments'\n\
                 tee '{folder}/script' | sbatch \"$@\"\n"
            ),
        )?;
        fs::set_permissions(&between, fs::Permissions::from_mode(0o755))?;
        let options = SlurmOptions { programs: Some(programs), ..options };
        let launcher = SlurmLauncher::new("slurm", self.runs(), options)?;
        let key = runs::key(u64::MAX);
        launcher.submit(&key, &runs::run(&self.runs(), &key, &["sleep", "600"])).await?;
        let arguments = fs::read_to_string(self.folder.path().join("arguments"))?;
        let script = script.to_str().ok_or("a path that is not UTF-8")?.to_owned();
        Ok(arguments.lines().map(str::to_owned).chain([script]).collect())
    }

    fn call(&self, program: &str, arguments: &[&str]) -> Result<String, Box<dyn Error>> {
        let mut command = Command::new(program);
        let output = command.args(arguments).env("SLURM_CONF", self.conf()).stdin(Stdio::null()).output()?;
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout)?),
            false => Err(String::from_utf8_lossy(&output.stderr).into()),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // What does not stop is seen, and nothing can be done about it here.
        let _ = self.script("stop");
    }
}

const ROUNDS: usize = 60;
const RUNS: usize = 1_000;
const LONG: Duration = Duration::from_secs(40);
