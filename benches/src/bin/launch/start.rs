use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use swifthook_benches::marks::{mark, median};
use swifthook_benches::runs;
use swifthook_core::{Checkout, RefName, RepoName, TrainingLauncher, Workspace};
use swifthook_launch::{GitWorkspace, LocalLauncher, Remote, RunGroups};

use crate::repository::Repository;

/// From the submission of a run to the first thing that its process does, in turn with the checkout before it.
#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
pub(crate) fn measure(rounds: usize, groups: Option<RunGroups>) -> Result<bool, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let mut origin = Repository::new(folder.path().join("origin.git"), 1)?;
    let name = RepoName::new("acme/models")?;
    let remote = Remote::new(name.clone(), &format!("file://{}", origin.path.display()))?;
    let workspace = GitWorkspace::new(folder.path().join("state"), [remote])?;
    let folder_of_runs = folder.path().join("state/runs");
    let plain = LocalLauncher::new(&folder_of_runs)?;
    let grouped = groups.map(|groups| plain.clone().in_groups(groups));
    let us = std::env::current_exe()?.display().to_string();
    let (main, with) = (RefName::Branch("main".into()), Checkout::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (mut checkouts, mut starts, mut starts_in_groups) = (Vec::new(), Vec::new(), Vec::new());
    let each = if grouped.is_some() { 2 } else { 1 };
    for round in 0..=rounds * each {
        let in_group = grouped.as_ref().filter(|_| round % 2 == 1);
        let launcher = in_group.unwrap_or(&plain);
        let commit = origin.commit()?;
        let key = runs::key(u64::try_from(round)?);
        let stamp = folder_of_runs.join(key.to_string()).join("stamp").display().to_string();
        let run = runs::run(&folder_of_runs, &key, &[&us, STAMP, &stamp]);
        let (checked_out, started) = runtime.block_on(async {
            let began = Instant::now();
            workspace.checkout(&name, &main, &commit, &with, &run.working_dir).await?;
            let checked_out = began.elapsed();
            let submitted = now();
            launcher.submit(&key, &run).await?;
            let stamp = stamp_of(&run.run_dir).ok_or("the run does not start")?;
            Ok::<_, Box<dyn Error>>((checked_out, stamp.saturating_sub(submitted)))
        })?;
        // The first one clones.
        if round > 0 {
            checkouts.push(checked_out.as_secs_f64() * 1e3);
            let starts = if in_group.is_some() { &mut starts_in_groups } else { &mut starts };
            starts.push(started.as_secs_f64() * 1e3);
        }
    }
    if grouped.is_some() {
        println!("the same in a control group: median {:.1} ms", median(starts_in_groups));
    }
    starts.sort_by(f64::total_cmp);
    let p95 = starts[starts.len() * 95 / 100];
    let middle = median(starts);
    println!(
        "submission to the start of the process: median {middle:.1} ms, p95 {p95:.1} ms of {rounds}; the checkout before it \
         {:.1} ms",
        median(checkouts)
    );
    Ok(mark(&format!("{middle:.1} ms from submission to start, at most 30"), middle <= 30.0))
}

/// What a run does: it writes down when it began.
pub(crate) fn stamp(file: &str) -> Result<(), Box<dyn Error>> {
    let unfinished = format!("{file}.new");
    fs::write(&unfinished, now().as_nanos().to_string())?;
    Ok(fs::rename(unfinished, file)?)
}

fn stamp_of(run_dir: &Path) -> Option<Duration> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if let Ok(text) = fs::read_to_string(run_dir.join("stamp")) {
            return text.parse().ok().map(Duration::from_nanos);
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    None
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970")
}

/// The argument by which this program is a run.
pub(crate) const STAMP: &str = "__stamp";
