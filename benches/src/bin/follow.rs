//! What it costs to follow two hundred runs: real ones, under supervisors, each of which tells a step a second.
//!
//! ```text
//! cargo run --release -p swifthook-benches --bin follow
//! ```
//!
//! Each is polled every two seconds, as the runner does with a run that goes on for long, and its pulse is asked for every
//! five. The lines are written by another process. The mark is 2 % of a core.

#![expect(clippy::print_stdout, reason = "a measurement is printed")]

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use swifthook_benches::{cpu, runs};
use swifthook_core::{RunHandle, RunStatus, Stop, TrainingLauncher};
use swifthook_launch::LocalLauncher;
use swifthook_msswift::SwiftTraces;
use tokio::time::{MissedTickBehavior, interval};

fn main() {
    swifthook_launch::supervise_if_asked();
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, runs] = &arguments[..]
        && word == WRITE
    {
        return write(Path::new(runs));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be made").block_on(measure());
}

async fn measure() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let launcher = LocalLauncher::new(folder.path()).expect("it can be used").reading(Arc::new(SwiftTraces));
    let mut handles = Vec::new();
    for number in 1..=RUNS {
        let key = runs::key(number);
        let run = runs::run(folder.path(), &key, &["sleep", "600"]);
        handles.push(launcher.submit(&key, &run).await.expect("it is started"));
    }
    let mut writer = writer(folder.path());
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (began, before) = (Instant::now(), cpu::used());
    let following =
        handles.iter().cloned().map(|handle| tokio::spawn(follow(launcher.clone(), handle, began)));
    let mut steps = 0;
    for following in following.collect::<Vec<_>>() {
        steps += following.await.expect("it does not panic");
    }
    let (took, used) = (began.elapsed(), cpu::used() - before);
    println!(
        "{RUNS} runs for {:.0} s, at step {} on average: {:.0} ms of processor time, {:.2} % of a core (mark 2)",
        took.as_secs_f64(),
        steps / RUNS,
        used.as_secs_f64() * 1e3,
        used.as_secs_f64() / took.as_secs_f64() * 100.0
    );
    let _ = writer.kill().and_then(|()| writer.wait());
    for handle in &handles {
        launcher.stop(handle, Stop::Kill).await.expect("it can be stopped");
    }
    for handle in &handles {
        while !matches!(launcher.poll(handle).await, Ok(RunStatus::Ended(_))) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Follows a run for a while; the step that it was seen at last.
async fn follow(launcher: LocalLauncher, run: RunHandle, began: Instant) -> u64 {
    let (mut polls, mut looks) = (interval(Duration::from_secs(2)), interval(Duration::from_secs(5)));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut step = 0;
    while began.elapsed() < LONG {
        tokio::select! {
            _ = polls.tick() => {
                if let Ok(RunStatus::Running(progress)) = launcher.poll(&run).await {
                    step = progress.step.unwrap_or(step);
                }
            }
            _ = looks.tick() => drop(launcher.pulse(&run).await),
        }
    }
    step
}

fn writer(runs: &Path) -> Child {
    let this = std::env::current_exe().expect("it has a path");
    Command::new(this).arg(WRITE).arg(runs).spawn().expect("it can be started again")
}

/// Adds a line to the log of each run every second, until it is killed.
fn write(runs: &Path) {
    let open = |entry: fs::DirEntry| -> Option<File> {
        OpenOptions::new().create(true).append(true).open(entry.path().join("output/logging.jsonl")).ok()
    };
    let mut logs: Vec<File> = fs::read_dir(runs).expect("it is there").flatten().filter_map(open).collect();
    for step in 1.. {
        let line = format!(
            "{{\"loss\": 6.29321957, \"grad_norm\": 0.89481491, \"learning_rate\": 0.0005, \"token_acc\": 0.0, \
             \"epoch\": 0.0625, \"global_step/max_steps\": \"{step}/100000\", \"elapsed_time\": \"2m 5s\", \
             \"remaining_time\": \"1h 3m 4s\", \"memory(GiB)\": 61.25, \"train_speed(s/it)\": 1.0}}\n"
        );
        for log in &mut logs {
            let _ = log.write_all(line.as_bytes());
        }
        thread::sleep(Duration::from_secs(1));
    }
}

const WRITE: &str = "write";
const RUNS: u64 = 200;
const LONG: Duration = Duration::from_secs(60);
