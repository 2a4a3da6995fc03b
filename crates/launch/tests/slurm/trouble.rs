//! What Slurm, its administrators and its network do to runs.

use std::fs;
use std::num::{NonZeroU8, NonZeroU32};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use swifthook_conformance::launcher::block_on;
use swifthook_core::{
    Exit, Problem, RunHandle, RunLimits, RunShape, RunSpec, RunStatus, Stop, StopKind, TrainingLauncher,
};
use swifthook_launch::{SlurmLauncher, SlurmOptions};

use crate::cluster::Cluster;
use crate::support::{ended, script, until};

/// Notes that it began, and lasts until it is told to go.
const LASTS: &str =
    "echo once >> \"$RUN_DIR/ran\"; while [ ! -e \"$RUN_DIR/go\" ]; do sleep 0.05; done; exit 4";

fn began(run: &RunSpec) -> Vec<String> {
    fs::read_to_string(run.run_dir.join("ran")).unwrap_or_default().lines().map(str::to_owned).collect()
}

async fn has_begun(run: &RunSpec) {
    until("it has begun", || !began(run).is_empty()).await;
}

/// Folder of the files that keep a run.
fn control(run: &RunSpec) -> PathBuf {
    let runs = run.run_dir.parent().unwrap();
    runs.with_file_name("control").join(run.run_dir.file_name().unwrap())
}

/// The number of the Slurm job of a run.
fn job_of(run: &RunSpec) -> String {
    let told = fs::read_to_string(control(run).join("submitted.json")).unwrap();
    serde_json::from_str::<serde_json::Value>(&told).unwrap()["slurm_job"].to_string()
}

/// Submits a run that lasts, and waits until it has begun.
async fn lasting(cluster: &Cluster, launcher: &SlurmLauncher, number: u8) -> (RunSpec, RunHandle) {
    let run = script(&cluster.runs(), &cluster.key(number), LASTS);
    let handle = launcher.submit(&cluster.key(number), &run).await.unwrap();
    has_begun(&run).await;
    (run, handle)
}

fn let_go(run: &RunSpec) {
    fs::write(run.run_dir.join("go"), "").unwrap();
}

async fn polled(launcher: &SlurmLauncher, run: &RunHandle) -> RunStatus {
    launcher.poll(run).await.unwrap()
}

fn said(exit: &Exit) -> &str {
    exit.message.as_deref().unwrap_or_default()
}

#[test]
fn what_a_site_has_not_is_refused_for_good() {
    let cluster = Cluster::start();
    block_on(async {
        let partition = SlurmOptions { partition: Some("nowhere".into()), ..cluster.options() };
        let line = SlurmOptions { lines: vec!["--no-such-option".into()], ..cluster.options() };
        for (number, options, told) in [(1, partition, "invalid partition"), (2, line, "unrecognized option")]
        {
            let launcher = SlurmLauncher::new("slurm", cluster.runs(), options).unwrap();
            let run = script(&cluster.runs(), &cluster.key(number), LASTS);
            let refused = launcher.submit(&cluster.key(number), &run).await.unwrap_err();
            assert!(refused.is_permanent() && refused.to_string().contains(told), "{refused}");
            assert_eq!(launcher.find(&cluster.key(number)).await.unwrap(), None);
        }
    });
}

#[test]
fn a_run_that_waits_says_why_and_can_be_taken_back() {
    let cluster = Cluster::start();
    let options = SlurmOptions { partition: Some("closed".into()), ..cluster.options() };
    let launcher = SlurmLauncher::new("slurm", cluster.runs(), options).unwrap();
    block_on(async {
        let run = script(&cluster.runs(), &cluster.key(1), LASTS);
        let handle = launcher.submit(&cluster.key(1), &run).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            match polled(&launcher, &handle).await {
                RunStatus::Pending(why) if why.detail.starts_with("its partition is down") => break,
                RunStatus::Pending(why) => assert!(Instant::now() < deadline, "{why}"),
                other => panic!("{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        launcher.stop(&handle, Stop::Grace(Duration::from_secs(5))).await.unwrap();
        let exit = ended(&launcher, &handle).await;
        assert_eq!((exit.code, exit.stopped), (None, Some(StopKind::Cancel)));
        assert_eq!(began(&run), Vec::<String>::new());
        assert!(!control(&run).join("environment").exists());
    });
}

#[test]
fn a_run_that_a_person_cancelled_on_slurm_is_cancelled() {
    let cluster = Cluster::start();
    let launcher = cluster.launcher();
    block_on(async {
        let (run, handle) = lasting(&cluster, &launcher, 1).await;
        cluster.slurm(&["scancel", &job_of(&run)]);
        let exit = ended(&launcher, &handle).await;
        assert_eq!(exit.stopped, Some(StopKind::Cancel), "{exit:?}");
        assert!(said(&exit).contains("cancelled on Slurm"), "{exit:?}");
        assert_eq!(ended(&cluster.launcher(), &handle).await, exit, "and stays so");
    });
}

/// Where Slurm looks at its memory by itself, it kills the whole batch script, and calls its job failed; on several nodes it
/// kills what runs there, and its job completes.
#[test]
fn a_run_that_uses_more_memory_than_it_may_is_told_and_is_not_the_machines_fault() {
    let cluster = Cluster::that_looks_at_memory(2);
    let launcher = cluster.launcher();
    block_on(async {
        for nodes in [1, 2] {
            let key = cluster.key(nodes);
            // 400 MiB of a shell's own.
            let text = "more=$(head -c 419430400 /dev/zero | tr '\\0' x); sleep 600; echo ${#more}";
            let run = script(&cluster.runs(), &key, text);
            let shape = RunShape { nodes: NonZeroU32::from(NonZeroU8::new(nodes).unwrap()), ..run.shape };
            let limits = RunLimits { memory: Some(200 << 20), ..run.limits };
            let handle = launcher.submit(&key, &RunSpec { shape, limits, ..run }).await.unwrap();
            let exit = ended(&launcher, &handle).await;
            assert_eq!(exit.stopped, Some(StopKind::Limit), "on {nodes}: {exit:?}");
            assert_eq!(said(&exit), "it used more memory than its Slurm job may, and was killed");
            assert_eq!(ended(&cluster.launcher(), &handle).await, exit, "and stays so");
        }
    });
}

/// One ends meanwhile, and one goes on.
#[test]
fn a_controller_that_is_away_ends_nothing() {
    let cluster = Cluster::start();
    let launcher = cluster.launcher();
    block_on(async {
        let (ending, ends) = lasting(&cluster, &launcher, 1).await;
        let (going, goes) = lasting(&cluster, &launcher, 2).await;
        cluster.script(&["stop", "slurmctld"]);
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert!(matches!(polled(&launcher, &goes).await, RunStatus::Unreachable { .. }));
        let run = script(&cluster.runs(), &cluster.key(3), LASTS);
        let refused = launcher.submit(&cluster.key(3), &run).await.unwrap_err();
        assert!(!refused.is_permanent(), "{refused}");
        assert!(launcher.find(&cluster.key(3)).await.is_err(), "it cannot know");
        let_go(&ending);
        // It wrote down how it ended, so nobody has to be asked.
        until("it has written it down", || control(&ending).join("exit.json").exists()).await;
        let exit = ended(&launcher, &ends).await;
        assert_eq!((exit.code, exit.stopped), (Some(4), None));
        cluster.script(&["start"]);
        let_go(&going);
        assert_eq!(ended(&launcher, &goes).await.code, Some(4));
        assert_eq!((began(&ending).len(), began(&going).len()), (1, 1));
        assert_eq!(launcher.find(&cluster.key(3)).await.unwrap(), None);
    });
}

/// The worker was killed, or its `sbatch` was accepted and nobody heard.
#[test]
fn a_submission_of_which_nobody_heard_is_found_and_not_repeated() {
    let cluster = Cluster::start();
    let programs = cluster.path().join("programs");
    fs::create_dir(&programs).unwrap();
    for program in ["squeue", "scontrol", "scancel"] {
        std::os::unix::fs::symlink(which(program), programs.join(program)).unwrap();
    }
    let real = which("sbatch");
    let deaf = format!(
        "#!/bin/sh\n'{}' \"$@\" >/dev/null\necho 'sbatch: error: Socket timed out on send/recv operation' >&2\nexit 1\n",
        real.display()
    );
    fs::write(programs.join("sbatch"), deaf).unwrap();
    fs::set_permissions(programs.join("sbatch"), fs::Permissions::from_mode(0o700)).unwrap();
    let deaf = SlurmOptions { programs: Some(programs), ..cluster.options() };
    let deaf = SlurmLauncher::new("slurm", cluster.runs(), deaf).unwrap();
    block_on(async {
        let run = script(&cluster.runs(), &cluster.key(1), LASTS);
        let unheard = deaf.submit(&cluster.key(1), &run).await.unwrap_err();
        assert!(!unheard.is_permanent(), "{unheard}");
        let next = cluster.launcher();
        let found = next.find(&cluster.key(1)).await.unwrap().expect("Slurm has it");
        assert_eq!(next.submit(&cluster.key(1), &run).await.unwrap(), found);
        assert_eq!(
            next.forbid(&cluster.key(1)).await.unwrap(),
            Some(found.clone()),
            "to forbid is no way to stop"
        );
        let_go(&run);
        assert_eq!(ended(&next, &found).await.code, Some(4));
        assert_eq!(began(&run), ["once"]);
    });
}

/// The same script twice: of an `sbatch` that was on its way for long, from a worker that nobody believes any more.
#[test]
fn of_two_slurm_jobs_with_one_key_one_runs() {
    let cluster = Cluster::start();
    let launcher = cluster.launcher();
    block_on(async {
        let (run, handle) = lasting(&cluster, &launcher, 1).await;
        let file = cluster.path().join("script");
        cluster.slurm(&["scontrol", "write", "batch_script", &job_of(&run), file.to_str().unwrap()]);
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains("echo once"), "the command is nobody's business");
        let directory = format!("--chdir={}", run.run_dir.display());
        let second =
            cluster.slurm(&["sbatch", "--parsable", "--output=log", &directory, file.to_str().unwrap()]);
        let is_over = || {
            cluster.slurm(&["squeue", "-h", "-t", "all", "-o", "%T", "-j", second.trim()]).trim()
                == "COMPLETED"
        };
        until("the second is over", is_over).await;
        assert!(matches!(polled(&launcher, &handle).await, RunStatus::Running(_)));
        let_go(&run);
        assert_eq!(ended(&launcher, &handle).await.code, Some(4));
        assert_eq!(began(&run), ["once"]);
        // And one that was forbidden runs nothing, whatever comes.
        let forbidden = cluster.runs().with_file_name("control").join(cluster.key(2).to_string());
        assert_eq!(launcher.forbid(&cluster.key(2)).await.unwrap(), None);
        let late = text.replace(control(&run).to_str().unwrap(), forbidden.to_str().unwrap());
        fs::write(&file, late).unwrap();
        let directory = format!("--chdir={}", forbidden.display());
        let late =
            cluster.slurm(&["sbatch", "--parsable", "--output=log", &directory, file.to_str().unwrap()]);
        let is_over = || {
            cluster.slurm(&["squeue", "-h", "-t", "all", "-o", "%T", "-j", late.trim()]).trim() == "COMPLETED"
        };
        until("the late one is over", is_over).await;
        assert!(!forbidden.join("exit.json").exists() && !forbidden.join("session").exists());
    });
}

#[test]
fn a_run_that_slurm_puts_back_goes_on_as_another_attempt() {
    let cluster = Cluster::start();
    let launcher = cluster.launcher();
    block_on(async {
        let (run, handle) = lasting(&cluster, &launcher, 1).await;
        let job = job_of(&run);
        let requeue = cluster.slurm(&["scontrol", "requeue", &job]);
        assert!(requeue.contains("disabled"), "we ask Slurm not to: {requeue}");
        cluster.slurm(&["scontrol", "update", &format!("JobId={job}"), "Requeue=1"]);
        cluster.slurm(&["scontrol", "requeue", &job]);
        let exit = ended(&launcher, &handle).await;
        assert_eq!(exit.stopped, Some(StopKind::Yield), "{exit:?}");
        assert!(began(&run).len() == 1, "the batch script does not begin it again");
    });
}

#[test]
fn a_run_that_has_to_make_way_saves_first_and_is_told_of() {
    const SAVES: &str = "trap 'echo saved >\"$RUN_DIR/saved\"; exit 0' TERM; echo once >>\"$RUN_DIR/ran\"; \
                         while :; do sleep 0.05; done";
    const DEAF: &str = "trap '' TERM; echo once >>\"$RUN_DIR/ran\"; while :; do sleep 0.05; done";
    let cluster = Cluster::start();
    let launcher = cluster.launcher();
    block_on(async {
        for (number, text) in [(1, SAVES), (2, DEAF)] {
            let run = script(&cluster.runs(), &cluster.key(number), text);
            let handle = launcher.submit(&cluster.key(number), &run).await.unwrap();
            has_begun(&run).await;
            // It wants the whole node, and may.
            let urgent = [
                "sbatch",
                "--parsable",
                "--partition=urgent",
                "--cpus-per-task=16",
                "--output=/dev/null",
                "--wrap=true",
            ];
            let urgent = cluster.slurm(&urgent);
            let exit = ended(&launcher, &handle).await;
            assert_eq!(exit.stopped, Some(StopKind::Yield), "{exit:?}");
            assert_eq!(said(&exit), "Slurm had it make way for another job");
            assert_eq!(run.run_dir.join("saved").exists(), number == 1);
            let is_over = || cluster.slurm(&["squeue", "-h", "-t", "all", "-o", "%T", "-j", urgent.trim()]);
            until("the urgent one is over", || is_over().trim() == "COMPLETED").await;
        }
    });
}

/// While nobody looked, as when the server was away.
#[test]
fn what_slurm_has_forgotten_its_accounting_still_knows() {
    let cluster = Cluster::with_accounting();
    block_on(async {
        let (begun, begun_run) = lasting(&cluster, &cluster.launcher(), 1).await;
        cluster.slurm(&["scontrol", "update", "PartitionName=main", "State=DOWN"]);
        let waiting = script(&cluster.runs(), &cluster.key(2), LASTS);
        let waiting_run = cluster.launcher().submit(&cluster.key(2), &waiting).await.unwrap();
        cluster.slurm(&["scancel", &job_of(&waiting)]);
        cluster.slurm(&["scancel", &job_of(&begun)]);
        let knows_nothing = || {
            let told =
                [&begun, &waiting].map(|run| cluster.slurm(&["scontrol", "show", "job", &job_of(run)]));
            told.iter().all(|told| told.contains("Invalid job id"))
        };
        let deadline = Instant::now() + Duration::from_secs(300);
        while !knows_nothing() {
            assert!(Instant::now() < deadline, "Slurm does not forget");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let launcher = cluster.launcher();
        for (handle, why) in [
            (begun_run, "it was cancelled on Slurm, by `scancel`"),
            (waiting_run, "it was cancelled on Slurm before it began"),
        ] {
            let exit = ended(&launcher, &handle).await;
            assert_eq!((exit.stopped, said(&exit)), (Some(StopKind::Cancel), why), "{exit:?}");
        }
    });
}

#[test]
fn a_node_that_fails_is_told_and_is_the_machines_fault() {
    let cluster = Cluster::start();
    let launcher = cluster.launcher();
    block_on(async {
        let (run, handle) = lasting(&cluster, &launcher, 1).await;
        let node = cluster.slurm(&["sinfo", "-h", "-p", "main", "-o", "%N"]);
        // It cannot be told to end anything.
        cluster.script(&["stop", "slurmd.node1"]);
        let name = format!("NodeName={}", node.trim());
        cluster.slurm(&["scontrol", "update", &name, "State=DOWN", "Reason=test"]);
        let exit = ended(&launcher, &handle).await;
        assert_eq!((exit.code, exit.stopped), (None, None), "{exit:?}");
        assert_eq!(said(&exit), "a node failed under it");
        assert!(exit.is_machine_failure(&swifthook_core::Retry::default()));
        // Of a node that has really failed nothing would be left to end.
        let_go(&run);
    });
}

#[test]
fn secrets_are_in_a_file_for_the_user_alone_while_it_is_needed() {
    let cluster = Cluster::start();
    let launcher = cluster.launcher();
    block_on(async {
        let text = "echo once >> \"$RUN_DIR/ran\"; env > \"$RUN_DIR/env\"; while [ ! -e \"$RUN_DIR/go\" ]; do sleep 0.05; done";
        let mut run = script(&cluster.runs(), &cluster.key(1), text);
        run.env.insert("HF_TOKEN".into(), "hf_it's a secret\n$(x)".into());
        let handle = launcher.submit(&cluster.key(1), &run).await.unwrap();
        has_begun(&run).await;
        let mode = |file: PathBuf| file.metadata().unwrap().permissions().mode() & 0o777;
        let files =
            [control(&run).join("environment"), control(&run).join("command"), run.run_dir.join("log")];
        assert_eq!(files.map(mode), [0o600; 3]);
        let job = cluster.slurm(&["scontrol", "show", "job", "-dd", &job_of(&run)]);
        let file = cluster.path().join("script");
        cluster.slurm(&["scontrol", "write", "batch_script", &job_of(&run), file.to_str().unwrap()]);
        for shown in [job, fs::read_to_string(&file).unwrap()] {
            assert!(!shown.contains("hf_"), "{shown}");
        }
        let_go(&run);
        assert!(ended(&launcher, &handle).await.is_success());
        assert!(!control(&run).join("environment").exists());
        let env = fs::read_to_string(run.run_dir.join("env")).unwrap();
        assert!(env.contains("HF_TOKEN=hf_it's a secret\n$(x)\n"), "{env}");
        let own = [
            "SLURM",
            "SWIFTHOOK_",
            "PATH=",
            "RUN_DIR=",
            "HF_TOKEN=",
            "$(x)",
            "PWD=",
            "HOME=",
            "USER=",
            "LOGNAME=",
            "LANG=",
            "TZ=",
            "TMPDIR=",
            "SHELL=",
            "_=",
        ];
        let foreign: Vec<_> =
            env.lines().filter(|line| !own.iter().any(|name| line.starts_with(name))).collect();
        assert_eq!(foreign, Vec::<&str>::new());
    });
}

/// One whose runs wait, and that looks at the queue once in a test.
fn looking_once(cluster: &Cluster) -> SlurmLauncher {
    let options = SlurmOptions {
        partition: Some("closed".into()),
        poll: Duration::from_secs(600),
        ..cluster.options()
    };
    SlurmLauncher::new("slurm", cluster.runs(), options).unwrap()
}

#[test]
fn all_runs_are_looked_at_at_once() {
    let cluster = Cluster::start();
    let launcher = looking_once(&cluster);
    block_on(async {
        let mut handles = Vec::new();
        for number in 1..=20 {
            let run = script(&cluster.runs(), &cluster.key(number), LASTS);
            handles.push(launcher.submit(&cluster.key(number), &run).await.unwrap());
        }
        for _ in 0..3 {
            for handle in &handles {
                assert!(matches!(polled(&launcher, handle).await, RunStatus::Pending(_)));
            }
        }
        assert_eq!(launcher.looks(), 1);
    });
}

/// One that waited at the last look at the queue.
#[test]
fn what_a_run_wrote_down_counts_more_than_an_old_look_at_the_queue() {
    let cluster = Cluster::start();
    let launcher = looking_once(&cluster);
    block_on(async {
        let run = script(&cluster.runs(), &cluster.key(1), "exit 4");
        let handle = launcher.submit(&cluster.key(1), &run).await.unwrap();
        assert!(matches!(polled(&launcher, &handle).await, RunStatus::Pending(_)));
        cluster.slurm(&["scontrol", "update", "PartitionName=closed", "State=UP"]);
        assert_eq!(ended(&launcher, &handle).await.code, Some(4));
        assert_eq!(launcher.looks(), 1, "that look is all that it has");
    });
}

fn which(program: &str) -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap();
    let found = std::env::split_paths(&paths).map(|folder| folder.join(program)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("there is no `{program}`: is slurm-wlm installed?"))
}
