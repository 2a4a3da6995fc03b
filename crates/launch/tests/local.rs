//! What is peculiar to local runs: their directory, their host, and programs that are no supervisor.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

mod control;
mod lines;
mod supervisor;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use control::control;
use supervisor::launcher;
use support::{end, ended, script};
use swifthook_conformance::launcher::alive_with;
use swifthook_core::{JobId, Problem, RunHandle, RunKey, RunStatus, Stop, StopKind, TrainingLauncher};

/// The first attempt of a job that no other test has, in this process or another: a run is known by its key on the
/// whole machine.
fn key(id: u8) -> RunKey {
    let mut job = [id; 16];
    job[..4].copy_from_slice(&std::process::id().to_be_bytes());
    RunKey { job: JobId(job), attempt: 1 }
}

/// A program of this text that stands in for the supervisor.
fn program(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("program");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The handle of a run of this launcher, as it would be for another key.
fn handle_for(handle: &RunHandle, key: &RunKey) -> RunHandle {
    let mut other = handle.clone();
    other.data["key"] = serde_json::to_value(key).unwrap();
    other
}

#[tokio::test]
async fn a_program_that_is_no_supervisor_is_told_apart_and_the_key_stays_free() {
    let runs = tempfile::tempdir().unwrap();
    let run = script(runs.path(), &key(1), "exit 3");
    for other in ["true", "false", "echo", "cat"] {
        let refused = launcher(runs.path()).supervised_by(other).submit(&key(1), &run).await.unwrap_err();
        assert!(refused.is_permanent(), "{other}: {refused}");
        assert!(refused.to_string().contains("supervise_if_asked"), "{refused}");
        assert_eq!(launcher(runs.path()).find(&key(1)).await.unwrap(), None);
    }
    let handle = launcher(runs.path()).submit(&key(1), &run).await.unwrap();
    assert_eq!(ended(&launcher(runs.path()), &handle).await.code, Some(3));
}

#[tokio::test]
async fn a_supervisor_that_dies_before_it_begins_has_begun_nothing() {
    let runs = tempfile::tempdir().unwrap();
    let run = script(runs.path(), &key(2), "echo once >> \"$RUN_DIR/ran\"");
    let dying = launcher(runs.path()).supervised_by(program(runs.path(), "kill -9 $$"));
    let missing = launcher(runs.path()).supervised_by("no-such-supervisor");
    for launcher in [dying, missing] {
        assert!(!launcher.submit(&key(2), &run).await.unwrap_err().is_permanent());
        assert_eq!(launcher.find(&key(2)).await.unwrap(), None);
    }
    let handle = launcher(runs.path()).submit(&key(2), &run).await.unwrap();
    assert!(ended(&launcher(runs.path()), &handle).await.is_success());
    assert_eq!(fs::read_to_string(run.run_dir.join("ran")).unwrap(), "once\n");
}

#[tokio::test]
async fn neither_environment_nor_anything_of_it_is_written_to_the_directory() {
    let runs = tempfile::tempdir().unwrap();
    let mut run = script(runs.path(), &key(3), "exit 0");
    run.env.insert("TOKEN".into(), "hf_very_secret".into());
    let handle = launcher(runs.path()).submit(&key(3), &run).await.unwrap();
    ended(&launcher(runs.path()), &handle).await;
    let control = control(runs.path(), &key(3));
    let files =
        [&run.run_dir, &control].into_iter().flat_map(|folder| fs::read_dir(folder).unwrap().flatten());
    for file in files.filter(|file| file.file_type().unwrap().is_file()) {
        let text = String::from_utf8_lossy(&fs::read(file.path()).unwrap()).into_owned();
        assert!(!text.contains("hf_very_secret") && !text.contains("TOKEN"), "{:?}: {text}", file.path());
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", file.path());
    }
}

#[tokio::test]
async fn a_run_that_is_stopped_before_it_began_starts_nothing() {
    let runs = tempfile::tempdir().unwrap();
    let launcher = launcher(runs.path());
    let first = launcher.submit(&key(4), &script(runs.path(), &key(4), "exit 0")).await.unwrap();
    let run = script(runs.path(), &key(5), "echo once >> \"$RUN_DIR/ran\"");
    ended(&launcher, &first).await;
    launcher.stop(&handle_for(&first, &key(5)), Stop::Kill).await.unwrap();
    let handle = launcher.submit(&key(5), &run).await.unwrap();
    let exit = ended(&launcher, &handle).await;
    assert_eq!((exit.code, exit.signal, exit.stopped), (None, None, Some(StopKind::Cancel)));
    assert!(!run.run_dir.join("ran").exists());
}

#[tokio::test]
async fn a_run_of_before_a_reboot_has_vanished_unless_it_had_ended() {
    let runs = tempfile::tempdir().unwrap();
    let launcher = launcher(runs.path());
    let over = launcher.submit(&key(6), &script(runs.path(), &key(6), "exit 3")).await.unwrap();
    ended(&launcher, &over).await;
    // As the disk may look after a power failure: the directory is there, and nothing that was not synced.
    let lost = script(runs.path(), &key(7), "exit 0");
    let before_reboot = |run: &RunHandle| {
        let mut run = run.clone();
        run.data["boot"] = "00000000-0000-0000-0000-000000000000".into();
        run
    };
    assert_eq!(ended(&launcher, &before_reboot(&over)).await.code, Some(3));
    assert_eq!(end(&launcher, &before_reboot(&handle_for(&over, &key(7)))).await, RunStatus::Vanished);
    assert!(lost.run_dir.exists());
    let note = fs::read_to_string(control(runs.path(), &key(7)).join("vanished.json")).unwrap();
    assert!(note.contains("rebooted"), "{note}");
}

#[tokio::test]
async fn what_cannot_be_read_is_no_evidence() {
    let runs = tempfile::tempdir().unwrap();
    let launcher = launcher(runs.path());
    let run = script(runs.path(), &key(8), "echo up > up; exec sleep 600");
    let handle = launcher.submit(&key(8), &run).await.unwrap();
    support::until("it is up", || run.run_dir.join("up").exists()).await;
    let elsewhere = launcher.clone().host("another-host");
    assert!(matches!(elsewhere.poll(&handle).await.unwrap(), RunStatus::Unreachable { .. }));
    assert!(elsewhere.stop(&handle, Stop::Kill).await.is_err());
    let control = control(runs.path(), &key(8));
    let (lock, hidden) = (control.join("lock"), control.join("lock.hidden"));
    fs::rename(&lock, &hidden).unwrap();
    assert!(!launcher.poll(&handle).await.unwrap_err().is_permanent());
    fs::rename(&hidden, &lock).unwrap();
    let away = runs.path().join("away");
    fs::rename(&run.run_dir, &away).unwrap();
    let status = launcher.poll(&handle).await.unwrap();
    assert!(matches!(status, RunStatus::Running(_)), "it may have removed what is its own: {status:?}");
    fs::rename(&control, runs.path().join("control away")).unwrap();
    assert!(matches!(launcher.poll(&handle).await.unwrap(), RunStatus::Unreachable { .. }));
    fs::rename(runs.path().join("control away"), &control).unwrap();
    fs::rename(&away, &run.run_dir).unwrap();
    for unknown in ["{", "{\"version\": 2, \"code\": 0}"] {
        fs::write(control.join("exit.json"), unknown).unwrap();
        assert!(!launcher.poll(&handle).await.unwrap_err().is_permanent());
    }
    fs::remove_file(control.join("exit.json")).unwrap();
    let status = launcher.poll(&handle).await.unwrap();
    assert!(matches!(status, RunStatus::Running(_)), "{status:?}");
    launcher.stop(&handle, Stop::Kill).await.unwrap();
    ended(&launcher, &handle).await;
    let mut foreign = handle;
    foreign.version = 2;
    assert!(launcher.poll(&foreign).await.unwrap_err().is_permanent());
}

#[tokio::test]
async fn a_supervisor_whose_directory_is_gone_ends_with_its_run() {
    let runs = tempfile::tempdir().unwrap();
    let mut run = script(
        runs.path(),
        &key(13),
        "echo up > \"$RUNS/up\"; while [ ! -e \"$RUNS/go\" ]; do sleep 0.01; done",
    );
    run.env.insert("RUNS".into(), runs.path().to_str().unwrap().into());
    launcher(runs.path()).submit(&key(13), &run).await.unwrap();
    support::until("it is up", || runs.path().join("up").exists()).await;
    fs::remove_dir_all(&run.run_dir).unwrap();
    fs::remove_dir_all(control(runs.path(), &key(13))).unwrap();
    fs::write(runs.path().join("go"), "").unwrap();
    let mark = format!("SWIFTHOOK_RUN={}", key(13));
    support::until("nothing of it is alive", || alive_with(&mark).is_empty()).await;
}

#[tokio::test]
async fn what_can_never_run_is_refused_for_good() {
    let runs = tempfile::tempdir().unwrap();
    let mut run = script(runs.path(), &key(9), "exit 0");
    let elsewhere = launcher(runs.path()).submit(&key(10), &run).await.unwrap_err();
    assert!(elsewhere.is_permanent() && elsewhere.to_string().contains("directory"), "{elsewhere}");
    run.argv.clear();
    let empty = launcher(runs.path()).submit(&key(9), &run).await.unwrap_err();
    assert!(empty.is_permanent() && empty.to_string().contains("empty"), "{empty}");
}

#[tokio::test]
async fn a_directory_of_runs_that_is_not_there_says_nothing_of_a_run() {
    let runs = tempfile::tempdir().unwrap();
    let launcher = launcher(&runs.path().join("runs"));
    fs::remove_dir(runs.path().join("runs")).unwrap();
    assert!(!launcher.find(&key(11)).await.unwrap_err().is_permanent());
}

#[tokio::test]
async fn of_a_run_that_stands_still_it_is_taken_down_what_its_processes_do() {
    let runs = tempfile::tempdir().unwrap();
    let launcher = launcher(runs.path());
    let run = script(runs.path(), &key(14), "echo one line of output; sleep 600 & wait");
    let handle = launcher.submit(&key(14), &run).await.unwrap();
    let why = swifthook_core::Reason::new("silent", "nothing was heard of it for 12 min");
    // It has written by then.
    support::until("it stands still", || is_asleep(&key(14), "sleep 600")).await;
    assert!(launcher.pulse(&handle).await.unwrap().written_at.is_some());
    assert_eq!(launcher.pulse(&handle).await.unwrap().told_at, None);
    let evidence = launcher.examine(&handle, &why).await.unwrap().unwrap();
    let text = fs::read_to_string(&evidence).unwrap();
    for part in [
        "silent: nothing was heard of it for 12 min",
        "sleep 600",
        "State: S (sleeping)",
        "one line of output",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert_eq!(fs::metadata(&evidence).unwrap().permissions().mode() & 0o077, 0);
    for _ in 0..9 {
        assert!(launcher.examine(&handle, &why).await.unwrap().is_some());
    }
    assert_eq!(launcher.examine(&handle, &why).await.unwrap(), None, "a disk is not filled with evidence");
    launcher.stop(&handle, Stop::Kill).await.unwrap();
    ended(&launcher, &handle).await;
}

/// Whether a process of the run sleeps in this command.
fn is_asleep(key: &RunKey, command: &str) -> bool {
    let read = |pid: &str, file| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    alive_with(&format!("SWIFTHOOK_RUN={key}")).iter().any(|pid| {
        read(pid, "cmdline").replace('\0', " ").trim() == command && read(pid, "stat").contains(") S ")
    })
}

#[tokio::test]
async fn a_run_goes_on_from_the_checkpoint_that_it_told_of_or_else_from_the_last_whole_one() {
    let runs = tempfile::tempdir().unwrap();
    let launcher = launcher(runs.path()).host("gpu-1").reading(std::sync::Arc::new(lines::Lines));
    let text = "for step in 10 20 30; do mkdir -p \"$RUN_DIR/output/checkpoint-$step\"; done
        touch \"$RUN_DIR/output/checkpoint-10/whole\" \"$RUN_DIR/output/checkpoint-20/whole\"";
    let run = script(runs.path(), &key(15), text);
    let handle = launcher.submit(&key(15), &run).await.unwrap();
    ended(&launcher, &handle).await;
    assert_eq!(launcher.progress(&handle).await.unwrap().checkpoint, Some(20));
    let last = launcher.checkpoint(&handle).await.unwrap().unwrap();
    assert_eq!((last.step, last.attempt, last.host.as_deref()), (Some(20), 1, Some("gpu-1")));
    assert_eq!(Path::new(&*last.path), run.output_dir.join("checkpoint-20"));
    assert!(launcher.holds(&last).await.unwrap());

    let told = run.run_dir.join("progress.jsonl");
    fs::write(&told, "{\"step\": 15, \"checkpoint\": \"state\"}\n").unwrap();
    assert_eq!(launcher.checkpoint(&handle).await.unwrap().unwrap().step, Some(20), "it is not there");
    fs::create_dir(run.output_dir.join("state")).unwrap();
    let last = launcher.checkpoint(&handle).await.unwrap().unwrap();
    assert_eq!((Path::new(&*last.path), last.step), (&*run.output_dir.join("state"), Some(15)));
    assert!(launcher.holds(&last).await.unwrap());

    // What a trainer calls whole is not held to the rules of another one, whatever its name.
    fs::write(&told, "{\"step\": 30, \"checkpoint\": \"checkpoint-30\"}\n").unwrap();
    let by_its_word = launcher.checkpoint(&handle).await.unwrap().unwrap();
    assert_eq!(by_its_word.step, Some(30));
    assert!(launcher.holds(&by_its_word).await.unwrap());
    fs::remove_dir(run.output_dir.join("state")).unwrap();
    assert!(!launcher.holds(&last).await.unwrap());
    let elsewhere = launcher.clone().host("gpu-2").holds(&last).await.unwrap_err();
    assert!(!elsewhere.is_permanent() && elsewhere.to_string().contains("on host `gpu-1`"), "{elsewhere}");
}
