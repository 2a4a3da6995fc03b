//! Runs in control groups of their own: `SWIFTHOOK_TEST_CGROUP` names the folder of a group (cgroup v2) in which they can be
//! made. `scripts/cgroup-virtual-machine` runs this list where the kernel keeps limits of memory too, and the other lists of
//! the local launcher with it.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

mod control;
mod supervisor;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use control::control;
use rustix::fs::{XattrFlags, removexattr, setxattr};
use supervisor::launcher;
use support::{end, ended, script, until};
use swifthook_core::{Exit, JobId, RunKey, RunLimits, RunSpec, RunStatus, Stop, StopKind, TrainingLauncher};
use swifthook_launch::RunGroups;

fn key(id: u8) -> RunKey {
    let mut job = [id; 16];
    job[..4].copy_from_slice(&std::process::id().to_be_bytes());
    RunKey { job: JobId(job), attempt: 1 }
}

fn parent() -> PathBuf {
    std::env::var_os("SWIFTHOOK_TEST_CGROUP").expect("SWIFTHOOK_TEST_CGROUP names a control group").into()
}

fn group(key: &RunKey) -> PathBuf {
    parent().join(format!("run-{key}"))
}

fn read(run: &RunSpec, name: &str) -> String {
    fs::read_to_string(run.run_dir.join(name)).unwrap()
}

async fn run(runs: &Path, run: &RunSpec, key: &RunKey) -> Exit {
    let launcher = launcher(runs);
    let handle = launcher.submit(key, run).await.unwrap();
    ended(&launcher, &handle).await
}

/// Writes its pid into `pid`, then forgets its environment and whose child it is.
const FLED: &str = "(env -i \"PATH=$PATH\" setsid sh -c 'echo $$ >\"$0.x\"; mv \"$0.x\" \"$0\"; exec sleep 600' \"$RUN_DIR/pid\" &)";

/// A process that waits to be reaped has no command line.
fn lives(run: &RunSpec) -> bool {
    let command = Path::new("/proc").join(read(run, "pid").trim()).join("cmdline");
    fs::read(command).is_ok_and(|command| !command.is_empty())
}

/// The test has to be in a group of its own below that folder, as a service is with `DelegateSubgroup`.
#[test]
#[ignore = "needs a control group"]
fn what_systemd_has_handed_over_is_found() {
    assert_eq!(RunGroups::delegated().unwrap(), None);
    setxattr(parent(), "user.delegate", b"1", XattrFlags::empty()).unwrap();
    let found = RunGroups::delegated();
    removexattr(parent(), "user.delegate").unwrap();
    assert_eq!(found.unwrap().unwrap().path(), parent());
}

#[tokio::test]
#[ignore = "needs a control group"]
async fn a_run_is_in_its_group_which_goes_with_it() {
    let runs = tempfile::tempdir().unwrap();
    let key = key(1);
    let mut spec = script(runs.path(), &key, "cat /proc/self/cgroup; ulimit -n");
    spec.limits.files = Some(77);
    assert!(run(runs.path(), &spec, &key).await.is_success(), "{}", read(&spec, "log"));
    let log = read(&spec, "log");
    assert!(log.contains(&format!("/run-{key}\n")) && log.ends_with("\n77\n"), "{log}");
    assert!(!group(&key).exists());
}

#[tokio::test]
#[ignore = "needs a control group"]
async fn who_left_the_family_ends_with_it() {
    let runs = tempfile::tempdir().unwrap();
    let key = key(2);
    let text = format!("{FLED}; while [ ! -e \"$RUN_DIR/pid\" ]; do sleep 0.01; done; exit 5");
    let spec = script(runs.path(), &key, &text);
    assert_eq!(run(runs.path(), &spec, &key).await.code, Some(5));
    assert!(!lives(&spec) && !group(&key).exists());
}

#[tokio::test]
#[ignore = "needs a control group"]
async fn who_left_the_family_is_found_when_the_supervisor_was_killed() {
    let runs = tempfile::tempdir().unwrap();
    let key = key(3);
    let spec = script(runs.path(), &key, &format!("{FLED}; exec sleep 600"));
    let launcher = launcher(runs.path());
    let handle = launcher.submit(&key, &spec).await.unwrap();
    until("it has fled", || spec.run_dir.join("pid").exists()).await;
    let begun: serde_json::Value =
        serde_json::from_slice(&fs::read(control(runs.path(), &key).join("begun.json")).unwrap()).unwrap();
    let killed = std::process::Command::new("kill").args(["-9", &begun["supervisor"].to_string()]).status();
    assert!(killed.unwrap().success());
    assert_eq!(end(&launcher, &handle).await, RunStatus::Vanished);
    assert!(!lives(&spec) && !group(&key).exists());
}

#[tokio::test]
#[ignore = "needs a control group"]
async fn groups_that_a_run_made_go_with_it() {
    let runs = tempfile::tempdir().unwrap();
    let key = key(4);
    let text = "own=$GROUP/a/b; mkdir -p \"$own\"; (echo 0 >\"$own/cgroup.procs\"; exec sleep 600) & \
                while [ -z \"$(cat \"$own/cgroup.procs\")\" ]; do sleep 0.01; done; exit 6";
    let mut spec = script(runs.path(), &key, text);
    spec.env.insert("GROUP".into(), group(&key).to_str().unwrap().into());
    assert_eq!(run(runs.path(), &spec, &key).await.code, Some(6), "{}", read(&spec, "log"));
    assert!(!group(&key).exists());
}

#[tokio::test]
#[ignore = "needs a control group"]
async fn a_group_that_cannot_be_made_keeps_no_run_from_going() {
    let runs = tempfile::tempdir().unwrap();
    let key = key(5);
    fs::create_dir(group(&key)).unwrap();
    let spec = script(runs.path(), &key, "exit 7");
    let exit = run(runs.path(), &spec, &key).await;
    fs::remove_dir(group(&key)).unwrap();
    assert_eq!(exit.code, Some(7));
    assert!(read(&spec, "log").contains("goes on without"), "{}", read(&spec, "log"));
}

#[tokio::test]
#[ignore = "needs a control group whose memory the kernel limits"]
async fn memory_ends_a_run_at_its_wall_all_of_it_and_at_once() {
    let runs = tempfile::tempdir().unwrap();
    let key = key(6);
    // Nobody of it would ever end: it hears no request, and what needs no memory waits for what does.
    let text = "trap '' TERM; tail /dev/zero & sleep 600";
    let mut spec = script(runs.path(), &key, text);
    spec.limits = RunLimits { memory: Some(16 << 20), ..RunLimits::default() };
    spec.grace = Duration::from_secs(3_600);
    let exit = run(runs.path(), &spec, &key).await;
    let message = exit.message.unwrap_or_default();
    assert_eq!((exit.signal, exit.stopped), (Some(9), Some(StopKind::Limit)), "{message}");
    assert_eq!(&*message, "it wanted more than 18 MiB of memory, and was killed: it may have 16 MiB");
}

#[tokio::test]
#[ignore = "needs a control group whose memory the kernel limits"]
async fn a_run_that_has_more_memory_than_it_may_can_save_below_its_wall() {
    let runs = tempfile::tempdir().unwrap();
    let key = key(7);
    // What has no end of a line is kept, until there is no more. What programs take of memory
    // beside is little of the eighth that is left to the wall.
    let text = "trap 'echo saved; exit 0' TERM; \
                (head -c 69000000 /dev/zero; exec sleep 600) | tail & while :; do sleep 0.05; done";
    let mut spec = script(runs.path(), &key, text);
    spec.limits = RunLimits { memory: Some(64 << 20), ..RunLimits::default() };
    let exit = run(runs.path(), &spec, &key).await;
    let message = exit.message.unwrap_or_default();
    assert_eq!(exit.stopped, Some(StopKind::Limit), "{message} {}", read(&spec, "log"));
    assert!(message.contains("of memory, and may have 64 MiB"), "{message}");
    assert!(read(&spec, "log").contains("saved"), "{}", read(&spec, "log"));
}

#[tokio::test]
#[ignore = "needs a control group whose memory the kernel limits"]
async fn a_wall_that_a_run_has_built_for_itself_is_not_ours() {
    let runs = tempfile::tempdir().unwrap();
    let key = key(10);
    let text = "mkdir \"$GROUP/a\" \"$GROUP/b\" && echo 0 >\"$GROUP/b/cgroup.procs\" && \
                echo +memory >\"$GROUP/cgroup.subtree_control\" && echo 8388608 >\"$GROUP/a/memory.max\" && \
                (echo 0 >\"$GROUP/a/cgroup.procs\"; exec tail /dev/zero); exit 9";
    let mut spec = script(runs.path(), &key, text);
    spec.env.insert("GROUP".into(), group(&key).to_str().unwrap().into());
    let exit = run(runs.path(), &spec, &key).await;
    let events = read(&spec, "log");
    assert_eq!((exit.code, exit.stopped, exit.message), (Some(9), None, None), "{events}");
}

#[tokio::test]
#[ignore = "needs a control group whose memory the kernel limits"]
async fn a_run_that_was_cancelled_stays_so_when_it_runs_into_its_wall() {
    let runs = tempfile::tempdir().unwrap();
    let key = key(8);
    let text = "trap 'tail /dev/zero' TERM; echo up >\"$RUN_DIR/up\"; while :; do sleep 0.02; done";
    let mut spec = script(runs.path(), &key, text);
    spec.limits = RunLimits { memory: Some(16 << 20), ..RunLimits::default() };
    let launcher = launcher(runs.path());
    let handle = launcher.submit(&key, &spec).await.unwrap();
    until("it is up", || spec.run_dir.join("up").exists()).await;
    launcher.stop(&handle, Stop::Grace(Duration::from_secs(3_600))).await.unwrap();
    let exit = ended(&launcher, &handle).await;
    assert_eq!((exit.signal, exit.stopped), (Some(9), Some(StopKind::Cancel)), "{exit:?}");
}

#[tokio::test]
#[ignore = "needs a control group whose memory the kernel limits"]
async fn processor_time_of_those_who_left_counts() {
    let runs = tempfile::tempdir().unwrap();
    let key = key(9);
    let text = "trap 'exit 0' TERM; (setsid sh -c 'while :; do :; done' &); while :; do sleep 0.02; done";
    let mut spec = script(runs.path(), &key, text);
    spec.limits = RunLimits { cpu_time: Some(Duration::from_millis(300)), ..RunLimits::default() };
    let exit = run(runs.path(), &spec, &key).await;
    let message = exit.message.unwrap_or_default();
    assert_eq!(exit.stopped, Some(StopKind::Limit));
    assert!(message.contains("of processor time, and may have 0 s"), "{message}");
}

#[tokio::test]
#[ignore = "needs a control group whose processes the kernel limits"]
async fn the_kernel_gives_a_run_no_more_processes_than_it_may_have() {
    let runs = tempfile::tempdir().unwrap();
    let key = key(11);
    // All of them leave its family. A shell that cannot fork ends; the first one need not, and goes on.
    let text = "(for i in $(seq 60); do (setsid sleep 600 &); done) 2>/dev/null; \
                read most <\"$GROUP/pids.max\"; echo \"$most\"";
    let (list, fails) = (format!("{text}; exit 0"), format!("{text}; exit 7"));
    for (id, text, code, stopped) in [(11, list, Some(0), None), (12, fails, Some(7), Some(StopKind::Limit))]
    {
        let key = RunKey { attempt: id, ..key };
        let mut spec = script(runs.path(), &key, &text);
        spec.env.insert("GROUP".into(), group(&key).to_str().unwrap().into());
        spec.limits = RunLimits { processes: Some(20), ..RunLimits::default() };
        let exit = run(runs.path(), &spec, &key).await;
        let log = read(&spec, "log");
        assert_eq!((exit.code, exit.stopped), (code, stopped), "{log}");
        let told = "it wanted more than 20 processes and threads, and may have 20";
        assert!(log.contains("20\n") && log.contains(told), "{log}");
        assert_eq!(exit.message.as_deref(), stopped.map(|_| told));
        assert!(!group(&key).exists());
    }
}

#[tokio::test]
#[ignore = "needs a control group whose processes the kernel limits"]
async fn a_run_that_forks_without_end_takes_neither_the_machine_nor_its_supervisor() {
    let runs = tempfile::tempdir().unwrap();
    let key = key(13);
    let text = "trap '' TERM; bomb() { bomb | bomb & bomb; }; (while :; do (bomb); done) 2>/dev/null & exec sleep 600";
    let mut spec = script(runs.path(), &key, text);
    spec.limits = RunLimits { processes: Some(500), ..RunLimits::default() };
    let launcher = launcher(runs.path());
    let handle = launcher.submit(&key, &spec).await.unwrap();
    until("the kernel refuses", || {
        fs::read_to_string(spec.run_dir.join("log")).is_ok_and(|log| log.contains("and may have 500"))
    })
    .await;
    launcher.stop(&handle, Stop::Kill).await.unwrap();
    let exit = ended(&launcher, &handle).await;
    assert_eq!((exit.signal, exit.stopped), (Some(9), Some(StopKind::Cancel)), "{exit:?}");
    assert!(!group(&key).exists());
}
