//! What a run may use, and what it is started within.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

mod control;
mod supervisor;
mod support;

use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use control::control;
use supervisor::launcher;
use support::{end, ended, script, until};
use swifthook_conformance::launcher::alive_with;
use swifthook_core::{
    Account, Enclosure, Exit, JobId, Retry, RunKey, RunLimits, RunSpec, RunStatus, Sandbox, Stop, StopKind,
    TrainingLauncher,
};
use swifthook_launch::LogReader;

/// The first attempt of a job that no other test has, in this process or another.
fn key(id: u8) -> RunKey {
    let mut job = [id; 16];
    job[..4].copy_from_slice(&std::process::id().to_be_bytes());
    RunKey { job: JobId(job), attempt: 1 }
}

fn log(run: &RunSpec) -> String {
    fs::read_to_string(run.run_dir.join("log")).unwrap()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_process_has_no_more_files_open_than_it_may() {
    let runs = tempfile::tempdir().unwrap();
    let mut run = script(
        runs.path(),
        &key(1),
        "ulimit -n; ulimit -Hn; echo $$; cat /proc/$$/stat; echo \"$SWIFTHOOK_RUN\"",
    );
    run.limits = RunLimits { files: Some(64), ..RunLimits::default() };
    let handle = launcher(runs.path()).submit(&key(1), &run).await.unwrap();
    assert!(ended(&launcher(runs.path()), &handle).await.is_success(), "{}", log(&run));
    let text = log(&run);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines[0], lines[1]), ("64", "64"), "{text}");
    let stat: Vec<_> = lines[3].rsplit_once(')').unwrap().1.split_whitespace().collect();
    assert_eq!(stat[2], lines[2], "it still leads its group: {text}");
    assert_eq!(lines[4], key(1).to_string());
}

#[tokio::test]
async fn a_run_takes_along_that_its_user_may_not_have_all_processes_of_the_machine() {
    let runs = tempfile::tempdir().unwrap();
    // Root itself is not counted, and who becomes another user is.
    let run = script(runs.path(), &key(40), "grep 'Max processes' /proc/self/limits");
    let handle = launcher(runs.path()).submit(&key(40), &run).await.unwrap();
    assert!(ended(&launcher(runs.path()), &handle).await.is_success(), "{}", log(&run));
    let text = log(&run);
    let most: u64 = text.split_whitespace().nth(2).unwrap().parse().unwrap_or(u64::MAX);
    let of_kernel =
        |name| fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap().trim().parse().unwrap();
    let can_be: u64 = ["pid_max", "threads-max"].map(of_kernel).into_iter().min().unwrap();
    assert!(most <= can_be / 4 * 3, "{text}");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_within_limits_too() {
    let runs = tempfile::tempdir().unwrap();
    let mut run = script(runs.path(), &key(2), "");
    run.argv = words(&["no-such-program"]);
    run.limits = RunLimits { files: Some(64), ..RunLimits::default() };
    let handle = launcher(runs.path()).submit(&key(2), &run).await.unwrap();
    let exit = ended(&launcher(runs.path()), &handle).await;
    assert_eq!(exit.code, Some(127));
    assert_eq!(
        exit.message.as_deref().unwrap_or_default().split(':').next(),
        Some("cannot start `no-such-program`")
    );
    assert!(log(&run).contains("cannot start `no-such-program`"), "{}", log(&run));
}

#[tokio::test]
async fn a_run_that_uses_more_than_it_may_is_asked_to_end_and_it_is_told_of_what() {
    let runs = tempfile::tempdir().unwrap();
    let (saves, waits) = ("trap 'echo saved; exit 0' TERM", "while :; do sleep 0.05; done");
    let none = RunLimits::default();
    for (id, text, limits, told) in [
        // What it has written is there at once: else a look might find half of it.
        (
            3,
            format!(
                "{saves}; head -c 8388608 /dev/zero >\"$RUN_DIR.x\"; mv \"$RUN_DIR.x\" \"$RUN_DIR/output/x\"; {waits}"
            ),
            RunLimits { disk: Some(1 << 20), ..none },
            "it has written 8 MiB, and may write 1 MiB",
        ),
        (
            4,
            format!("{saves}; x=$(head -c 60000000 /dev/zero | tr '\\0' x); {waits}"),
            RunLimits { memory: Some(20 << 20), ..none },
            "MiB of memory, and may have 20 MiB",
        ),
        (
            5,
            "trap 'echo saved; exit 0' TERM; sh -c 'while :; do :; done' & wait".to_owned(),
            RunLimits { cpu_time: Some(Duration::from_millis(300)), ..none },
            "of processor time, and may have 0 s",
        ),
    ] {
        let mut run = script(runs.path(), &key(id), &text);
        run.limits = limits;
        let handle = launcher(runs.path()).submit(&key(id), &run).await.unwrap();
        let exit = ended(&launcher(runs.path()), &handle).await;
        let message = exit.message.unwrap_or_default();
        assert_eq!(exit.stopped, Some(StopKind::Limit), "{told}: {message} {}", log(&run));
        assert!(message.contains(told), "{told}: {message}");
        assert!(log(&run).contains("saved"), "it had its grace: {}", log(&run));
    }
}

#[tokio::test]
async fn a_run_with_more_processes_than_it_may_have_is_asked_to_end_and_one_with_many_more_is_killed() {
    let runs = tempfile::tempdir().unwrap();
    let waits = "while :; do sleep 0.05; done";
    // Each leaves its session and its parent.
    let fled = |count: u32| format!("for i in $(seq {count}); do (setsid sleep 600 &); done");
    for (id, text, grace, code) in [
        (12, format!("trap 'echo saved; exit 0' TERM; {}; {waits}", fled(24)), 30, Some(0)),
        (13, format!("trap '' TERM; {}; {waits}", fled(80)), 3_600, None),
        // Nobody waits for its end, so that it keeps its place: more than 60 of them.
        (
            14,
            format!("trap '' TERM; (for i in $(seq 80); do : & done; exec sleep 600) & {waits}"),
            3_600,
            None,
        ),
    ] {
        let mut run = script(runs.path(), &key(id), &text);
        run.limits = RunLimits { processes: Some(20), ..RunLimits::default() };
        run.grace = Duration::from_secs(grace);
        let handle = launcher(runs.path()).submit(&key(id), &run).await.unwrap();
        let exit = ended(&launcher(runs.path()), &handle).await;
        let message = exit.message.unwrap_or_default();
        assert_eq!((exit.code, exit.stopped), (code, Some(StopKind::Limit)), "{id}: {message} {}", log(&run));
        assert!(message.contains("processes and threads, and may have 20"), "{message}");
        assert!(alive_with(&format!("SWIFTHOOK_RUN={}", key(id))).is_empty());
    }
}

#[tokio::test]
async fn threads_count_as_processes() {
    let runs = tempfile::tempdir().unwrap();
    let mut run = script(runs.path(), &key(15), "");
    // Asked to end while they are still few, it goes on.
    let text = "import signal, threading\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
        for i in range(90): threading.Thread(target=threading.Event().wait).start()";
    run.argv = words(&["python3", "-c", text]);
    run.limits = RunLimits { processes: Some(20), ..RunLimits::default() };
    run.grace = Duration::from_secs(3_600);
    let handle = launcher(runs.path()).submit(&key(15), &run).await.unwrap();
    let exit = ended(&launcher(runs.path()), &handle).await;
    assert_eq!((exit.signal, exit.stopped), (Some(9), Some(StopKind::Limit)), "{exit:?} {}", log(&run));
}

/// Some forks of each process, so that nobody has to fear for the machine if it is not ended.
#[tokio::test]
async fn a_run_that_forks_as_fast_as_it_can_is_ended_to_the_last() {
    let runs = tempfile::tempdir().unwrap();
    let text = "trap '' TERM\nbomb() {\n  if [ $1 -gt 0 ]; then bomb $(($1 - 1)) & bomb $(($1 - 1)) & fi\n  exec sleep 600\n}\nbomb 10";
    let mut run = script(runs.path(), &key(16), text);
    run.limits = RunLimits { processes: Some(300), ..RunLimits::default() };
    run.grace = Duration::from_secs(3_600);
    let handle = launcher(runs.path()).submit(&key(16), &run).await.unwrap();
    let exit = ended(&launcher(runs.path()), &handle).await;
    assert_eq!((exit.signal, exit.stopped), (Some(9), Some(StopKind::Limit)), "{exit:?}");
    assert!(alive_with(&format!("SWIFTHOOK_RUN={}", key(16))).is_empty());
}

#[tokio::test]
async fn a_process_that_calls_itself_no_text_ends_with_its_run() {
    let runs = tempfile::tempdir().unwrap();
    let text = "name=$(printf 'x\\377\\376'); cp \"$(command -v sleep)\" \"$RUN_DIR/$name\"; \"$RUN_DIR/$name\" 600 & \
        until grep -qa ^x \"/proc/$!/comm\"; do :; done; exit 4";
    let run = script(runs.path(), &key(17), text);
    let handle = launcher(runs.path()).submit(&key(17), &run).await.unwrap();
    assert_eq!(ended(&launcher(runs.path()), &handle).await.code, Some(4), "{}", log(&run));
    assert!(alive_with(&format!("SWIFTHOOK_RUN={}", key(17))).is_empty());
}

fn kept(run: &RunSpec) -> String {
    let file = fs::File::open(run.run_dir.join("log")).unwrap();
    let mut bytes = Vec::new();
    LogReader::all(file).unwrap().read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn of_a_log_that_is_too_large_beginning_and_end_are_kept() {
    let runs = tempfile::tempdir().unwrap();
    let text = "echo begins; head -c 300000000 /dev/zero | tr '\\0' 'x'; echo; echo ends; exit 5";
    let mut run = script(runs.path(), &key(18), text);
    run.limits = RunLimits { log: Some(4 << 20), ..RunLimits::default() };
    let handle = launcher(runs.path()).submit(&key(18), &run).await.unwrap();
    let exit = ended(&launcher(runs.path()), &handle).await;
    assert_eq!((exit.code, exit.stopped), (Some(5), None), "{exit:?}");
    let metadata = run.run_dir.join("log").metadata().unwrap();
    assert!(metadata.blocks() * 512 <= 5 << 20 && metadata.len() > 300_000_000, "{metadata:?}");
    let text = kept(&run);
    assert!(text.starts_with("begins\nx") && text.ends_with("x\nends\n") && text.len() >= 3 << 20);
    assert_eq!(text.matches("\n[swifthook: ").count(), 1);
    let raw = fs::read(run.run_dir.join("log")).unwrap();
    assert!(raw[..2 << 20].windows(12).any(|text| text == b"[swifthook: "), "it stands in the file too");
}

/// In its own output a run can seek, and forget that it appends.
#[tokio::test]
async fn what_a_run_does_to_its_output_does_not_take_away_what_we_say() {
    let runs = tempfile::tempdir().unwrap();
    let text = "import fcntl, os, signal\nfcntl.fcntl(1, fcntl.F_SETFL, 0)\nos.lseek(1, 1 << 42, 0)\nos.write(1, b'far')\nos.lseek(1, 0, 0)\n\
        x = bytearray(60000000)\nsignal.pause()";
    let mut run = script(runs.path(), &key(19), "");
    run.argv = words(&["python3", "-c", text]);
    run.limits = RunLimits { memory: Some(20 << 20), log: Some(1 << 20), ..RunLimits::default() };
    let handle = launcher(runs.path()).submit(&key(19), &run).await.unwrap();
    let exit = ended(&launcher(runs.path()), &handle).await;
    assert_eq!(exit.stopped, Some(StopKind::Limit), "{exit:?}");
    let text = kept(&run);
    assert!(text.contains("bytes are cut out of the log here]"), "{text}");
    let [far, ours] = ["far", "swifthook: it has "].map(|words| text.find(words));
    assert!(far.is_some() && far < ours && text.len() < 20_000, "{text}");
}

#[tokio::test]
async fn a_log_that_cannot_be_cut_ends_its_run() {
    let runs = tempfile::tempdir().unwrap();
    // It takes room behind the end of the file, where no cut reaches.
    let text = "fallocate --keep-size --length 200000000 /proc/self/fd/1; trap '' TERM; while :; do sleep 0.05; done";
    let mut run = script(runs.path(), &key(20), text);
    run.limits = RunLimits { log: Some(1 << 20), ..RunLimits::default() };
    run.grace = Duration::from_secs(3_600);
    let handle = launcher(runs.path()).submit(&key(20), &run).await.unwrap();
    let exit = ended(&launcher(runs.path()), &handle).await;
    let message = exit.message.unwrap_or_default();
    assert_eq!((exit.signal, exit.stopped), (Some(9), Some(StopKind::Limit)), "{message}");
    assert!(message.starts_with("its log has more than 1 MiB (`max_log`)"), "{message}");
}

/// The supervisor looked again and again at nothing, for all of the grace.
#[tokio::test]
async fn a_supervisor_rests_while_its_run_saves() {
    let runs = tempfile::tempdir().unwrap();
    // What becomes of it in the second after it was asked.
    let text = "ran() { read -r stat <\"/proc/$PPID/stat\"; set -- ${stat##*)}; echo $((${12} + ${13})); }
        trap 'asked=yes' TERM; head -c 4000000 /dev/zero >\"$RUN_DIR/output/x\"
        until [ \"$asked\" ]; do sleep 0.05; done
        sleep 1; before=$(ran); sleep 1; echo \"ran $(($(ran) - before))\"";
    let mut run = script(runs.path(), &key(21), text);
    run.limits = RunLimits { disk: Some(1 << 20), ..RunLimits::default() };
    let handle = launcher(runs.path()).submit(&key(21), &run).await.unwrap();
    let exit = ended(&launcher(runs.path()), &handle).await;
    assert_eq!(exit.stopped, Some(StopKind::Limit), "{exit:?}");
    let text = log(&run);
    let ran = text.lines().find_map(|line| line.strip_prefix("ran ")?.parse::<u32>().ok());
    assert!(ran.is_some_and(|hundredths| hundredths < 30), "{text}");
}

#[tokio::test]
async fn a_run_within_its_limits_is_left_alone() {
    let runs = tempfile::tempdir().unwrap();
    let mut run = script(runs.path(), &key(6), "head -c 100000 /dev/zero >\"$RUN_DIR/x\"; sleep 0.5; exit 3");
    run.limits = RunLimits {
        memory: Some(1 << 30),
        cpu_time: Some(Duration::from_secs(60)),
        files: Some(1_000),
        disk: Some(1 << 30),
        processes: Some(100),
        log: Some(1 << 20),
    };
    let handle = launcher(runs.path()).submit(&key(6), &run).await.unwrap();
    let exit = ended(&launcher(runs.path()), &handle).await;
    assert_eq!((exit.code, exit.stopped), (Some(3), None));
}

#[tokio::test]
async fn what_a_run_is_started_within_gets_its_mark_and_its_group() {
    let runs = tempfile::tempdir().unwrap();
    let mut run = script(
        runs.path(),
        &key(7),
        "echo \"$SWIFTHOOK_RUN $WRAPPED\"; cat /proc/$$/stat; echo $$; touch tmp/here",
    );
    run.enclosure = Enclosure { prefix: words(&["env", "WRAPPED=yes"]), ..Enclosure::default() };
    run.limits.files = Some(99);
    let handle = launcher(runs.path()).submit(&key(7), &run).await.unwrap();
    assert!(ended(&launcher(runs.path()), &handle).await.is_success(), "{}", log(&run));
    let text = log(&run);
    assert!(text.starts_with(&format!("{} yes\n", key(7))), "{text}");
    let stat: Vec<_> = text.lines().nth(1).unwrap().rsplit_once(')').unwrap().1.split_whitespace().collect();
    assert_eq!(Some(stat[2]), text.lines().nth(2), "{text}");
    assert!(run.run_dir.join("progress.jsonl").exists() && run.run_dir.join("tmp/here").exists());
}

/// Stands between supervisor and training as bubblewrap does: it dies of a signal, and its child with it.
fn between(outlives_command: bool) -> Enclosure {
    let text =
        "\"$@\" & child=$!; trap 'kill -9 $child; trap - TERM; kill -TERM $$' TERM; wait $child; exit $?";
    Enclosure { prefix: words(&["sh", "-c", text, "between"]), outlives_command, ..Enclosure::default() }
}

#[tokio::test]
async fn a_signal_goes_past_what_only_stands_in_between() {
    let runs = tempfile::tempdir().unwrap();
    let text = "trap 'echo saved; exit 5' TERM; echo up >\"$RUN_DIR/up\"; while :; do sleep 0.02; done";
    for (id, outlives, code) in [(8, true, Some(5)), (9, false, None)] {
        let mut run = script(runs.path(), &key(id), text);
        run.enclosure = between(outlives);
        let launcher = launcher(runs.path());
        let handle = launcher.submit(&key(id), &run).await.unwrap();
        until("it is up", || run.run_dir.join("up").exists()).await;
        launcher.stop(&handle, Stop::Grace(Duration::from_secs(20))).await.unwrap();
        let exit = ended(&launcher, &handle).await;
        assert_eq!((exit.code, exit.stopped), (code, Some(StopKind::Cancel)), "{exit:?}: {}", log(&run));
        assert!(!outlives || log(&run).contains("saved"), "{}", log(&run));
    }
}

#[tokio::test]
async fn what_is_left_within_something_is_found_when_the_supervisor_is_killed() {
    let runs = tempfile::tempdir().unwrap();
    let mut run = script(runs.path(), &key(10), "echo up >\"$RUN_DIR/up\"; setsid sleep 600 & sleep 600");
    run.enclosure = between(true);
    let launcher = launcher(runs.path());
    let handle = launcher.submit(&key(10), &run).await.unwrap();
    until("it is up", || run.run_dir.join("up").exists()).await;
    let begun: serde_json::Value =
        serde_json::from_slice(&fs::read(control(runs.path(), &key(10)).join("begun.json")).unwrap())
            .unwrap();
    let killed = std::process::Command::new("kill").args(["-9", &begun["supervisor"].to_string()]).status();
    assert!(killed.unwrap().success());
    assert_eq!(end(&launcher, &handle).await, RunStatus::Vanished);
    assert!(alive_with(&format!("SWIFTHOOK_RUN={}", key(10))).is_empty());
}

#[tokio::test]
#[ignore = "needs root, setpriv and a user `nobody`"]
async fn a_run_of_another_user_writes_where_it_may_and_sees_nothing_beside_it() {
    let state = tempfile::tempdir().unwrap();
    fs::set_permissions(state.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let runs = state.path().join("runs");
    fs::write(state.path().join("admin-token"), "secret").unwrap();
    fs::create_dir(state.path().join("git")).unwrap();
    fs::write(state.path().join("git/objects"), "secret").unwrap();
    let text = "id -un; echo result >\"$RUN_DIR/output/result\"; echo '{}' >>\"$RUN_DIR/progress.jsonl\"; touch tmp/x; \
        cat \"$STATE/admin-token\" \"$STATE/git/objects\" \"$STATE/control/$SWIFTHOOK_RUN/run.json\" && exit 9; touch \"$STATE/control/$SWIFTHOOK_RUN/exit.json\" && exit 9; touch \"$RUN_DIR/exit.json\" && exit 9; \
        exit 0";
    let mut run = script(&runs, &key(11), text);
    run.env.insert("STATE".into(), state.path().to_str().unwrap().into());
    run.working_dir = run.run_dir.join("tree");
    run.argv[2] = format!("cd \"$RUN_DIR\"; {}", run.argv[2]);
    let prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"];
    run.enclosure =
        Enclosure { prefix: words(&prefix), owner: Some((65_534, 65_534)), ..Enclosure::default() };
    let handle = launcher(&runs).submit(&key(11), &run).await.unwrap();
    let exit = ended(&launcher(&runs), &handle).await;
    assert_eq!(exit.code, Some(0), "{}", log(&run));
    assert!(log(&run).starts_with("nobody\n") && !log(&run).contains("secret"), "{}", log(&run));
    assert!(run.run_dir.join("output/result").exists());
}

/// The end of a run in a sandbox that a script stands in for.
async fn end_in(state: &Path, number: u8, bubblewrap: &str) -> Exit {
    let program = state.join(format!("bwrap-{number}"));
    fs::write(&program, bubblewrap).unwrap();
    for path in [state, &program] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    let (runs, key) = (state.join("state/runs"), key(number));
    let launcher = launcher(&runs);
    // Root has no sandbox of its own.
    let is_root = rustix::process::geteuid().is_root();
    let account = Account { user: 61_235, group: 61_235, groups: Vec::new(), name: None };
    let sandbox = Sandbox {
        program: program.to_str().unwrap().to_owned(),
        account: is_root.then_some(account),
        working_dir: "/".into(),
        ..Sandbox::default()
    };
    let mut run = script(&runs, &key, "exit 0");
    run.enclosure = Enclosure { outlives_command: true, sandbox: Some(sandbox), ..Enclosure::default() };
    let handle = launcher.submit(&key, &run).await.unwrap();
    ended(&launcher, &handle).await
}

#[tokio::test]
async fn a_sandbox_that_the_machine_does_not_make_is_no_failed_training() {
    let state = tempfile::tempdir_in("/var/tmp").unwrap();
    let full = "#!/bin/sh\necho 'bwrap: Creating new namespace failed: Disk quota exceeded' >&2\nexit 1\n";
    let exit = end_in(state.path(), 41, full).await;
    let told = "its sandbox could not be made: bwrap: Creating new namespace failed: Disk quota exceeded";
    assert_eq!((exit.code, exit.signal, exit.message.as_deref()), (None, None, Some(told)));
    assert!(exit.is_machine_failure(&Retry::default()));

    let absent = "#!/bin/sh\necho 'bwrap: execvp train: No such file or directory' >&2\nexit 1\n";
    let exit = end_in(state.path(), 42, absent).await;
    assert_eq!((exit.code, exit.message), (Some(1), None));
}
