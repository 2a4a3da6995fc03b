//! What becomes of runs when servers are killed: this program is the server, and its own supervisor too.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

mod support;

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use support::{ended, script, until};
use swifthook_core::{JobId, RunHandle, RunKey, RunStatus, Stop, TrainingLauncher};
use swifthook_launch::LocalLauncher;

fn main() {
    swifthook_launch::supervise_if_asked();
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let [_, mode, runs, supervisor] = &arguments[..]
        && mode == SERVER
    {
        return runtime.block_on(serve(Path::new(runs), supervisor));
    }
    runtime.block_on(async {
        submitted_by_two_servers_at_once_it_runs_once().await;
        a_run_survives_the_kill_of_its_server_and_leaves_no_zombie().await;
        a_server_killed_while_the_supervisor_starts_has_begun_one_run().await;
    });
}

/// A server that submits one run, says so, and waits for its end.
async fn serve(runs: &Path, supervisor: &str) {
    let launcher = match supervisor {
        "" => LocalLauncher::new(runs).unwrap(),
        program => LocalLauncher::new(runs).unwrap().supervised_by(program),
    };
    let run = script(
        runs,
        &key(runs, 1),
        "echo $$ >> \"$RUN_DIR/ran\"; while [ ! -e \"$RUN_DIR/go\" ]; do sleep 0.01; done; exit 3",
    );
    let handle = launcher.submit(&key(runs, 1), &run).await.unwrap();
    print(&serde_json::to_string(&handle).unwrap());
    ended(&launcher, &handle).await;
}

async fn submitted_by_two_servers_at_once_it_runs_once() {
    let runs = tempfile::tempdir().unwrap();
    let mut servers: Vec<Child> = (0..4).map(|_| server(runs.path(), "")).collect();
    let handles: Vec<RunHandle> = servers.iter_mut().map(read_handle).collect();
    assert!(handles.iter().all(|handle| *handle == handles[0]), "{handles:?}");
    let_go(runs.path());
    servers.iter_mut().for_each(|server| assert!(server.wait().unwrap().success()));
    assert_ran_once(runs.path());
}

async fn a_run_survives_the_kill_of_its_server_and_leaves_no_zombie() {
    let runs = tempfile::tempdir().unwrap();
    let mut killed = server(runs.path(), "");
    let handle = read_handle(&mut killed);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let launcher = LocalLauncher::new(runs.path()).unwrap();
    assert!(matches!(launcher.poll(&handle).await.unwrap(), RunStatus::Running(_)));
    assert_eq!(launcher.find(&key(runs.path(), 1)).await.unwrap().as_ref(), Some(&handle));
    let_go(runs.path());
    assert_eq!(ended(&launcher, &handle).await.code, Some(3));
    assert_ran_once(runs.path());

    let own = launcher
        .submit(&key(runs.path(), 2), &script(runs.path(), &key(runs.path(), 2), "exit 0"))
        .await
        .unwrap();
    ended(&launcher, &own).await;
    until("our supervisor is reaped", || children_of(std::process::id()).is_empty()).await;
}

/// The window between the start of a supervisor and its first word: the run must not be taken for one that never
/// began, nor for one that has vanished.
async fn a_server_killed_while_the_supervisor_starts_has_begun_one_run() {
    let runs = tempfile::tempdir().unwrap();
    let us = std::env::current_exe().unwrap();
    let slow = runs.path().join("slow");
    let text = format!(
        "#!/bin/sh\ntouch '{0}/up'\nwhile [ ! -e '{0}/begin' ]; do sleep 0.01; done\nexec '{1}' \"$@\"\n",
        runs.path().display(),
        us.display()
    );
    fs::write(&slow, text).unwrap();
    fs::set_permissions(&slow, fs::Permissions::from_mode(0o755)).unwrap();
    let mut killed = server(runs.path(), slow.to_str().unwrap());
    until("the supervisor is started", || runs.path().join("up").exists()).await;
    killed.kill().unwrap();
    killed.wait().unwrap();

    let launcher = LocalLauncher::new(runs.path()).unwrap();
    let key = key(runs.path(), 1);
    let finding = {
        let launcher = launcher.clone();
        tokio::spawn(async move { launcher.find(&key).await })
    };
    let submitting = {
        let (launcher, run) = (launcher.clone(), script(runs.path(), &key, "echo $$ >> \"$RUN_DIR/ran\""));
        tokio::spawn(async move { launcher.submit(&key, &run).await })
    };
    tokio::task::yield_now().await;
    assert!(!finding.is_finished() && !submitting.is_finished());
    fs::write(runs.path().join("begin"), "").unwrap();
    let found = finding.await.unwrap().unwrap().unwrap();
    assert_eq!(submitting.await.unwrap().unwrap(), found);
    until("it has come to its first line", || !ran(runs.path()).is_empty()).await;
    launcher.stop(&found, Stop::Kill).await.unwrap();
    assert_eq!(ended(&launcher, &found).await.signal, Some(9));
    assert_ran_once(runs.path());
}

fn server(runs: &Path, supervisor: &str) -> Child {
    let us = std::env::current_exe().unwrap();
    Command::new(us).args([SERVER]).arg(runs).arg(supervisor).stdout(Stdio::piped()).spawn().unwrap()
}

/// What a server says first.
fn read_handle(server: &mut Child) -> RunHandle {
    let mut said = Vec::new();
    let mut byte = [0];
    let stdout = server.stdout.as_mut().unwrap();
    while stdout.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
        said.push(byte[0]);
    }
    serde_json::from_slice(&said).unwrap()
}

fn print(line: &str) {
    use std::io::Write;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).unwrap();
}

fn let_go(runs: &Path) {
    fs::write(runs.join(key(runs, 1).to_string()).join("go"), "").unwrap();
}

fn ran(runs: &Path) -> String {
    fs::read_to_string(runs.join(key(runs, 1).to_string()).join("ran")).unwrap_or_default()
}

fn assert_ran_once(runs: &Path) {
    let ran = ran(runs);
    assert_eq!(ran.lines().count(), 1, "{ran}");
}

/// Processes whose parent is `pid`, zombies included.
fn children_of(pid: u32) -> Vec<String> {
    let is_child = |stat: &str| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.split(' ').nth(1) == Some(pid.to_string().as_str()))
    };
    let stats = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("stat"));
    stats.filter_map(|path| fs::read_to_string(path).ok()).filter(|stat| is_child(stat)).collect()
}

/// The key of a run in a directory of runs: all processes of a test have the same, and no two tests.
fn key(runs: &Path, attempt: u32) -> RunKey {
    let name = runs.file_name().unwrap().as_encoded_bytes();
    let mut job = [0; 16];
    job[..name.len().min(16)].copy_from_slice(&name[..name.len().min(16)]);
    RunKey { job: JobId(job), attempt }
}

const SERVER: &str = "server";
