use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use swifthook_core::{
    Change, CommitSha, Enclosure, Exit, Job, JobId, JobSpec, RefName, RepoName, Retry, RunHandle, RunKey,
    RunLimits, RunShape, RunSpec, RunStatus, Source, State, Superseding, Timestamp, TrainingLauncher,
};

/// A world in which a launcher works, for one test.
pub trait Harness: Send + Sync {
    /// A launcher that knows only what the world keeps: dropping it and making another is a restart.
    fn launcher(&self) -> Arc<dyn TrainingLauncher>;

    /// The directory of a run; it need not exist.
    fn run_dir(&self, key: &RunKey) -> PathBuf;

    /// What is alive of a run, found without the launcher's help.
    fn alive(&self, key: &RunKey) -> Vec<String>;

    /// What the run has written to its standard output and standard error.
    fn log(&self, key: &RunKey) -> String;

    /// Kills what keeps a run, so that it cannot clear up; `false` if nothing here keeps runs.
    fn kill_keeper(&self, key: &RunKey) -> bool;
}

/// The processes on this machine whose environment holds `entry` (`NAME=value`): a help for
/// [`Harness::alive`].
#[must_use]
pub fn alive_with(entry: &str) -> Vec<String> {
    let holds = |pid: &str| {
        std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
            environment.split(|byte| *byte == 0).any(|found| found == entry.as_bytes())
        })
    };
    let processes = std::fs::read_dir("/proc").expect("/proc is there").flatten();
    processes.filter_map(|entry| entry.file_name().into_string().ok()).filter(|pid| holds(pid)).collect()
}

/// Runs a test to its end, on several threads.
pub fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be made").block_on(test);
}

/// A key that no other test has.
pub(super) fn new_key() -> RunKey {
    use std::hash::{BuildHasher, RandomState};
    let random = |n: u64| RandomState::new().hash_one((n, std::process::id())).to_be_bytes();
    let mut id = [0; 16];
    id[..8].copy_from_slice(&random(0));
    id[8..].copy_from_slice(&random(1));
    RunKey { job: JobId(id), attempt: 1 }
}

/// A run of a shell script, which finds its directory in `RUN_DIR` and starts in `RUN_DIR/tree`.
pub(super) fn script(harness: &dyn Harness, key: &RunKey, text: &str) -> RunSpec {
    command(harness, key, &["sh", "-c", text])
}

pub(super) fn command(harness: &dyn Harness, key: &RunKey, argv: &[&str]) -> RunSpec {
    let run_dir = harness.run_dir(key);
    let (working_dir, output_dir) = (run_dir.join("tree"), run_dir.join("output"));
    for dir in [&working_dir, &output_dir] {
        std::fs::create_dir_all(dir).expect("a directory can be made");
    }
    let path = std::env::var("PATH").expect("there is a PATH");
    let own = run_dir.to_str().expect("its name is text").to_owned();
    RunSpec {
        job: Arc::new(job(key)),
        argv: argv.iter().map(ToString::to_string).collect(),
        env: BTreeMap::from([("PATH".to_owned(), path), ("RUN_DIR".to_owned(), own)]),
        run_dir,
        working_dir,
        checkout: None,
        output_dir,
        timeout: None,
        grace: Duration::from_secs(20),
        limits: RunLimits::default(),
        enclosure: Enclosure::default(),
        shape: RunShape::default(),
    }
}

/// Waits until the run has ended.
pub(super) async fn ended(launcher: &dyn TrainingLauncher, run: &RunHandle) -> Exit {
    match end(launcher, run).await {
        RunStatus::Ended(exit) => exit,
        other => panic!("the run should have ended, and is {other:?}"),
    }
}

/// Waits until the run is over, one way or another.
pub(super) async fn end(launcher: &dyn TrainingLauncher, run: &RunHandle) -> RunStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = launcher.poll(run).await.expect("the launcher can tell");
        if matches!(status, RunStatus::Ended(_) | RunStatus::Vanished) {
            return status;
        }
        assert!(Instant::now() < deadline, "the run does not end: {status:?}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until `condition` holds.
pub(super) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// The lines of a file that a run writes; none if it has not been written yet.
pub(super) fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Asserts that nothing of the run is alive: nothing that the harness sees, and none of the processes that the run
/// has noted in `pids`.
pub(super) fn assert_nothing_left(harness: &dyn Harness, key: &RunKey) {
    assert_eq!(harness.alive(key), Vec::<String>::new(), "something is left of the run");
    for pid in lines(&harness.run_dir(key).join("pids")) {
        assert!(!is_alive(&pid), "process {pid} of the run is left");
    }
}

fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}

fn job(key: &RunKey) -> Job {
    let head = CommitSha::parse(&"a".repeat(40)).expect("it is a commit").expect("it is not zeros");
    let change = Change {
        repository: RepoName::new("acme/models").expect("it is a name"),
        ref_name: RefName::Branch("main".into()),
        head,
        recipe: "test".into(),
        config: "".into(),
        run: 0,
    };
    let spec = JobSpec {
        recipe: "test".into(),
        config: None,
        group: "test".into(),
        priority: 0,
        launcher: "test".into(),
        labels: Vec::new(),
        command: Vec::new().into(),
        file: None,
        superseded: Superseding::default(),
        debounce: None,
        retry: Retry::default(),
        origin: Default::default(),
    };
    Job {
        id: key.job,
        change,
        before: None,
        sender: None,
        pushed_at: None,
        source: Source::Person,
        spec,
        state: State::queued(None, None),
        created_at: Timestamp(0),
        rerun_of: None,
        superseded_by: None,
        progress: None,
    }
}

/// A machine that others keep busy takes its time.
const PATIENCE: Duration = Duration::from_secs(120);
pub(super) const PAUSE: Duration = Duration::from_millis(5);
