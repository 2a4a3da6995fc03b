//! What a run puts into its directory: it is its own word, and leads nobody astray.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

mod control;
mod lines;
mod supervisor;
mod support;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use control::control;
use rustix::fs::{CWD, FlockOperation, Mode, flock, mkfifoat};
use serde_json::{Value, json};
use support::{end, ended, script, until};
use swifthook_conformance::launcher::alive_with;
use swifthook_core::{
    Checkpoint, JobId, Problem, Reason, RunHandle, RunKey, RunStatus, Stop, StopKind, TrainingLauncher,
};
use swifthook_launch::LocalLauncher;

fn key(id: u8) -> RunKey {
    let mut job = [id; 16];
    job[..4].copy_from_slice(&std::process::id().to_be_bytes());
    RunKey { job: JobId(job), attempt: 1 }
}

fn launcher(runs: &Path) -> LocalLauncher {
    supervisor::launcher(runs).host("box").reading(Arc::new(lines::Lines))
}

fn begun(control: &Path) -> Value {
    serde_json::from_slice(&fs::read(control.join("begun.json")).unwrap()).unwrap()
}

fn kill(pid: &Value) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

#[tokio::test]
async fn files_of_the_names_of_control_decide_nothing_about_a_run() {
    let state = tempfile::tempdir().unwrap();
    let (runs, key) = (state.path().join("runs"), key(1));
    let launcher = launcher(&runs);
    let text = "cd \"$RUN_DIR\"; rm -rf lock; ln -s /dev/null lock; echo up >up
        for name in exit vanished forbidden stop.kill stop.grace run begun; do
            echo '{\"version\":1,\"code\":0,\"signal\":null,\"stopped\":null,\"message\":\"forged\",\"began_at\":0,\"ended_at\":1}' >$name.json
        done
        echo forged >done; while [ ! -e go ]; do sleep 0.01; done; exit 3";
    let run = script(&runs, &key, text);
    let handle = launcher.submit(&key, &run).await.unwrap();
    until("it has forged all of them", || run.run_dir.join("done").exists()).await;
    let status = launcher.poll(&handle).await.unwrap();
    assert!(matches!(status, RunStatus::Running(_)), "{status:?}");
    assert_eq!(launcher.find(&key).await.unwrap().as_ref(), Some(&handle));
    assert_eq!(launcher.forbid(&key).await.unwrap().as_ref(), Some(&handle));
    fs::write(run.run_dir.join("go"), "").unwrap();
    let exit = ended(&launcher, &handle).await;
    assert_eq!((exit.code, exit.message), (Some(3), None));
}

/// A process of somebody else, in a session of its own.
struct Bystander(Child);

impl Bystander {
    fn new() -> Self {
        Self(Command::new("setsid").args(["sleep", "600"]).stdin(Stdio::null()).spawn().unwrap())
    }

    fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn of_a_forged_order_and_a_forged_supervisor_nobody_else_is_killed() {
    let state = tempfile::tempdir().unwrap();
    let (runs, key) = (state.path().join("runs"), key(2));
    let (launcher, control) = (launcher(&runs), control(&runs, &key));
    let run = script(&runs, &key, "echo up >\"$RUN_DIR/up\"; exec sleep 600");
    let handle = launcher.submit(&key, &run).await.unwrap();
    until("it is up", || run.run_dir.join("up").exists()).await;
    let mut bystander = Bystander::new();
    let pid = bystander.0.id();
    until("it has a session", || session_of(pid) == Some(pid)).await;
    // As a run without a sandbox can, which is our own user.
    let (supervisor, group) = (begun(&control), state.path().join("group"));
    fs::create_dir(&group).unwrap();
    fs::write(group.join("cgroup.procs"), format!("{pid}\n")).unwrap();
    let mut order: Value = serde_json::from_slice(&fs::read(control.join("run.json")).unwrap()).unwrap();
    order["cgroup"] = json!(group);
    fs::write(control.join("run.json"), order.to_string()).unwrap();
    let mut forged = supervisor.clone();
    forged["supervisor"] = json!(pid);
    forged["boot"] = json!("00000000-0000-0000-0000-000000000000");
    fs::write(control.join("begun.json"), forged.to_string()).unwrap();
    kill(&supervisor["supervisor"]);
    assert_eq!(end(&launcher, &handle).await, RunStatus::Vanished);
    assert!(bystander.is_alive(), "it has nothing to do with the run");
    assert!(alive_with(&format!("SWIFTHOOK_RUN={key}")).is_empty());
}

fn session_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(3)?.parse().ok()
}

#[tokio::test]
async fn a_checkpoint_that_is_told_is_beneath_the_results_of_its_run_or_none() {
    let state = tempfile::tempdir().unwrap();
    let (runs, key) = (state.path().join("runs"), key(3));
    let launcher = launcher(&runs);
    fs::write(state.path().join("admin-token"), "secret").unwrap();
    let run = script(&runs, &key, "mkdir \"$RUN_DIR/output/state\"");
    let handle = launcher.submit(&key, &run).await.unwrap();
    ended(&launcher, &handle).await;
    symlink(state.path(), run.output_dir.join("link")).unwrap();
    symlink("state", run.output_dir.join("inside")).unwrap();
    let absolute = |path: &Path| path.to_str().unwrap().to_owned();
    let told = |place: &str| {
        let line = json!({ "step": 3, "checkpoint": place });
        fs::write(run.run_dir.join("progress.jsonl"), format!("{line}\n")).unwrap();
    };
    for place in [
        "../../..".to_owned(),
        "../../../admin-token".to_owned(),
        absolute(state.path()),
        absolute(&state.path().join("admin-token")),
        "link".to_owned(),
        "link/admin-token".to_owned(),
        "inside".to_owned(),
        "state/../../../..".to_owned(),
    ] {
        told(&place);
        assert_eq!(launcher.checkpoint(&handle).await.unwrap(), None, "{place}");
        // As the version before wrote it into the store.
        let path = run.output_dir.join(&place).to_str().unwrap().into();
        let stored = Checkpoint { path, step: Some(3), attempt: 1, host: Some("box".into()) };
        assert!(!launcher.holds(&stored).await.unwrap(), "{place}");
    }
    for place in ["state".to_owned(), absolute(&run.output_dir.join("state"))] {
        told(&place);
        let found = launcher.checkpoint(&handle).await.unwrap().unwrap();
        assert_eq!(Path::new(&*found.path), run.output_dir.join("state"));
        assert!(launcher.holds(&found).await.unwrap());
    }
}

#[tokio::test]
async fn pipes_and_links_in_place_of_files_hold_nobody_up_and_show_nothing() {
    let state = tempfile::tempdir().unwrap();
    let (runs, key) = (state.path().join("runs"), key(4));
    let launcher = launcher(&runs);
    let run = script(&runs, &key, "echo up >\"$RUN_DIR/up\"; exec sleep 600");
    let handle = launcher.submit(&key, &run).await.unwrap();
    until("it is up", || run.run_dir.join("up").exists()).await;
    let checkpoint = run.output_dir.join("checkpoint-1");
    fs::create_dir(&checkpoint).unwrap();
    for pipe in
        [checkpoint.join("whole"), run.run_dir.join("progress.jsonl"), run.output_dir.join("logging.jsonl")]
    {
        mkfifoat(CWD, &pipe, Mode::RWXU).unwrap();
    }
    fs::remove_file(run.run_dir.join("log")).unwrap();
    mkfifoat(CWD, run.run_dir.join("log"), Mode::RWXU).unwrap();
    symlink("/etc/passwd", run.run_dir.join("evidence-1.txt")).unwrap();
    let began = Instant::now();
    assert!(matches!(launcher.poll(&handle).await.unwrap(), RunStatus::Running(_)));
    launcher.pulse(&handle).await.unwrap();
    let evidence = launcher.examine(&handle, &Reason::new("silent", "nothing")).await.unwrap().unwrap();
    assert_eq!(evidence, run.run_dir.join("evidence-2.txt"));
    launcher.stop(&handle, Stop::Grace(Duration::from_secs(20))).await.unwrap();
    let exit = ended(&launcher, &handle).await;
    assert_eq!((exit.signal, exit.stopped), (Some(15), Some(StopKind::Cancel)));
    launcher.progress(&handle).await.unwrap();
    assert_eq!(launcher.checkpoint(&handle).await.unwrap(), None);
    // Without waiting for anything: a look would be given up after ten.
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

/// A run as the version before had it: all of it in the directory of the run, and a supervisor that knows no other.
struct Old {
    run_dir: PathBuf,
    handle: RunHandle,
    supervisor: Option<Child>,
}

impl Old {
    fn new(runs: &Path, key: &RunKey) -> Self {
        let run_dir = script(runs, key, "").run_dir;
        fs::create_dir(run_dir.join("output")).unwrap();
        fs::write(run_dir.join("lock"), "").unwrap();
        fs::write(run_dir.join("log"), "").unwrap();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned();
        let data = json!({ "key": key, "boot": boot });
        let handle = RunHandle { launcher: "local".into(), host: Some("box".into()), version: 1, data };
        Self { run_dir, handle, supervisor: None }
    }

    fn order(&self, key: &RunKey, text: &str) {
        let order = json!({
            "version": 1, "key": key, "argv": ["sh", "-c", text], "working_dir": self.run_dir,
            "timeout": null, "grace": { "secs": 20, "nanos": 0 },
        });
        fs::write(self.run_dir.join("run.json"), order.to_string()).unwrap();
    }

    async fn begins(&mut self, key: &RunKey, text: &str) {
        self.order(key, text);
        let lock = File::open(self.run_dir.join("lock")).unwrap();
        flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        let supervisor = Command::new(env!("CARGO_BIN_EXE_swifthook-supervise"))
            .arg("__swifthook_supervise")
            .args([&self.run_dir, &self.run_dir])
            .env("SWIFTHOOK_RUN", key.to_string())
            .stdin(lock)
            .stdout(Stdio::null())
            .stderr(File::options().append(true).open(self.run_dir.join("log")).unwrap())
            .spawn();
        self.supervisor = Some(supervisor.unwrap());
        until("it has begun", || self.run_dir.join("begun.json").exists()).await;
    }

    fn reap(&mut self) {
        self.supervisor.as_mut().unwrap().wait().unwrap();
    }
}

#[tokio::test]
async fn a_run_that_the_version_before_began_is_adopted_stopped_and_ends() {
    let state = tempfile::tempdir().unwrap();
    let (runs, key) = (state.path().join("runs"), key(5));
    let launcher = launcher(&runs);
    let mut old = Old::new(&runs, &key);
    old.begins(&key, "trap 'echo saved; exit 5' TERM; echo up >up; while :; do sleep 0.01; done").await;
    until("it is up", || old.run_dir.join("up").exists()).await;
    assert_eq!(launcher.find(&key).await.unwrap().unwrap().data["boot"], old.handle.data["boot"]);
    assert!(matches!(launcher.poll(&old.handle).await.unwrap(), RunStatus::Running(_)));
    let again = launcher.submit(&key, &script(&runs, &key, "exit 9")).await.unwrap();
    launcher.stop(&old.handle, Stop::Grace(Duration::from_secs(20))).await.unwrap();
    old.reap();
    let exit = ended(&launcher, &old.handle).await;
    assert_eq!((exit.code, exit.stopped), (Some(5), Some(StopKind::Cancel)));
    assert_eq!(ended(&launcher, &again).await.code, Some(5), "it is the same run");
    assert!(!control(&runs, &key).exists() && old.run_dir.join("exit.json").exists());
}

#[tokio::test]
async fn of_a_run_of_the_version_before_whose_supervisor_was_killed_nothing_is_left() {
    let state = tempfile::tempdir().unwrap();
    let (runs, key) = (state.path().join("runs"), key(6));
    let launcher = launcher(&runs);
    let mut old = Old::new(&runs, &key);
    old.begins(&key, "exec sleep 600").await;
    kill(&begun(&old.run_dir)["supervisor"]);
    old.reap();
    assert_eq!(end(&launcher, &old.handle).await, RunStatus::Vanished);
    assert!(old.run_dir.join("vanished.json").exists());
    assert!(alive_with(&format!("SWIFTHOOK_RUN={key}")).is_empty());
}

#[tokio::test]
async fn what_the_version_before_wrote_of_an_end_is_read_and_of_what_never_began_a_run_begins() {
    let state = tempfile::tempdir().unwrap();
    let runs = state.path().join("runs");
    let launcher = launcher(&runs);
    let over = Old::new(&runs, &key(7));
    let end = json!({
        "version": 1, "code": 4, "signal": null, "stopped": null, "message": null, "began_at": 1, "ended_at": 2,
    });
    fs::write(over.run_dir.join("exit.json"), end.to_string()).unwrap();
    assert_eq!(ended(&launcher, &over.handle).await.code, Some(4));

    let forbidden = Old::new(&runs, &key(8));
    let note = json!({ "version": 1, "message": "it was forbidden before it began", "at": 1 });
    fs::write(forbidden.run_dir.join("forbidden.json"), note.to_string()).unwrap();
    let refused = launcher.submit(&key(8), &script(&runs, &key(8), "exit 0")).await.unwrap_err();
    assert!(refused.is_permanent(), "{refused}");

    let open = Old::new(&runs, &key(9));
    open.order(&key(9), "exit 9");
    assert_eq!(launcher.find(&key(9)).await.unwrap(), None);
    let handle = launcher.submit(&key(9), &script(&runs, &key(9), "exit 6")).await.unwrap();
    assert_eq!(ended(&launcher, &handle).await.code, Some(6));
    assert!(control(&runs, &key(9)).join("exit.json").exists() && !open.run_dir.join("exit.json").exists());
}

#[tokio::test]
async fn a_run_that_has_control_never_falls_back_to_what_stands_in_its_own_directory() {
    let state = tempfile::tempdir().unwrap();
    let (runs, key) = (state.path().join("runs"), key(10));
    let launcher = launcher(&runs);
    let run = script(&runs, &key, "exit 3");
    let handle = launcher.submit(&key, &run).await.unwrap();
    ended(&launcher, &handle).await;
    fs::remove_dir_all(control(&runs, &key)).unwrap();
    fs::write(run.run_dir.join("lock"), "").unwrap();
    fs::write(
        run.run_dir.join("exit.json"),
        r#"{"version":1,"code":0,"signal":null,"stopped":null,"message":null,"began_at":1,"ended_at":2}"#,
    )
    .unwrap();
    assert!(!matches!(launcher.poll(&handle).await, Ok(RunStatus::Ended(_))));
}
