//! How a run ends.

use std::time::{Duration, Instant};

use swifthook_core::{RunSpec, RunStatus, Stop, StopKind};

use super::harness::{Harness, assert_nothing_left, ended, lines, new_key, script, until};

/// Those too that other programs give a meaning.
pub async fn exit_codes_are_told_as_they_are(harness: &dyn Harness) {
    let launcher = harness.launcher();
    for code in [0, 1, 2, 137, 143, 241, 247] {
        let key = new_key();
        let run = script(harness, &key, &format!("exit {code}"));
        let handle = launcher.submit(&key, &run).await.expect("it is started");
        let exit = ended(&*launcher, &handle).await;
        assert_eq!((exit.code, exit.signal, exit.stopped), (Some(code), None, None));
        assert!(exit.at.is_some());
    }
}

/// By its number, and not as an exit code.
pub async fn a_signal_that_nobody_here_sent_is_told(harness: &dyn Harness) {
    let launcher = harness.launcher();
    for (name, number) in [("KILL", 9), ("TERM", 15), ("SEGV", 11)] {
        let key = new_key();
        let run = script(harness, &key, &format!("kill -{name} $$"));
        let handle = launcher.submit(&key, &run).await.expect("it is started");
        let exit = ended(&*launcher, &handle).await;
        assert_eq!((exit.code, exit.signal, exit.stopped), (None, Some(number), None));
    }
}

/// Whether or not it has come to its first line.
pub async fn a_run_that_is_stopped_while_it_starts_ends(harness: &dyn Harness) {
    let launcher = harness.launcher();
    for how in [Stop::Kill, Stop::Grace(Duration::from_secs(20)), Stop::Yield] {
        let key = new_key();
        let run = script(harness, &key, "sleep 600");
        let handle = launcher.submit(&key, &run).await.expect("it is started");
        launcher.stop(&handle, how).await.expect("it can be asked");
        let exit = ended(&*launcher, &handle).await;
        assert!(!exit.is_success(), "{exit:?}");
        let expected = if how == Stop::Yield { StopKind::Yield } else { StopKind::Cancel };
        assert_eq!(exit.stopped, Some(expected));
        assert_nothing_left(harness, &key);
    }
}

/// The first reason stays, and the end stays what it was.
pub async fn stopping_twice_or_too_late_is_no_error(harness: &dyn Harness) {
    let (launcher, key) = (harness.launcher(), new_key());
    let run =
        script(harness, &key, "trap 'exit 5' TERM; echo > \"$RUN_DIR/up\"; while :; do sleep 0.01; done");
    let handle = launcher.submit(&key, &run).await.expect("it is started");
    until("it listens", || run.run_dir.join("up").exists()).await;
    for _ in 0..2 {
        launcher.stop(&handle, Stop::Grace(Duration::from_secs(20))).await.expect("it can be asked");
    }
    let exit = ended(&*launcher, &handle).await;
    assert_eq!((exit.code, exit.stopped), (Some(5), Some(StopKind::Cancel)));
    launcher.stop(&handle, Stop::Kill).await.expect("a run that has ended can be asked to");
    assert_eq!(ended(&*launcher, &handle).await, exit);
}

/// What it still does within its grace is done.
pub async fn a_run_that_is_asked_to_end_may_save(harness: &dyn Harness) {
    let (launcher, key) = (harness.launcher(), new_key());
    let text =
        "trap 'sleep 0.2; echo saved; exit 0' TERM; echo > \"$RUN_DIR/up\"; while :; do sleep 0.01; done";
    let run = script(harness, &key, text);
    let handle = launcher.submit(&key, &run).await.expect("it is started");
    until("it listens", || run.run_dir.join("up").exists()).await;
    launcher.stop(&handle, Stop::Yield).await.expect("it can be asked");
    let exit = ended(&*launcher, &handle).await;
    assert_eq!((exit.code, exit.stopped), (Some(0), Some(StopKind::Yield)));
    // A shell may remark on what else was ended.
    assert!(harness.log(&key).ends_with("saved\n"), "{}", harness.log(&key));
}

/// And not before.
pub async fn who_ignores_being_asked_is_killed_when_the_grace_is_over(harness: &dyn Harness) {
    let (launcher, key, grace) = (harness.launcher(), new_key(), Duration::from_millis(300));
    let text = "trap '' TERM; echo $$ >> \"$RUN_DIR/pids\"; while :; do sleep 0.01; done";
    let run = script(harness, &key, text);
    let handle = launcher.submit(&key, &run).await.expect("it is started");
    until("it ignores", || !lines(&run.run_dir.join("pids")).is_empty()).await;
    let asked = Instant::now();
    launcher.stop(&handle, Stop::Grace(grace)).await.expect("it can be asked");
    let exit = ended(&*launcher, &handle).await;
    assert!(asked.elapsed() >= grace, "it was killed after {:?}", asked.elapsed());
    assert_eq!((exit.code, exit.signal, exit.stopped), (None, Some(9), Some(StopKind::Cancel)));
    assert_nothing_left(harness, &key);
}

/// A trainer's front end may end at once and leave a child that writes the checkpoint.
pub async fn a_child_may_go_on_saving_when_its_parent_has_ended(harness: &dyn Harness) {
    let (launcher, key) = (harness.launcher(), new_key());
    let child =
        "trap \"sleep 0.3; echo saved; exit 0\" TERM; echo > \"$RUN_DIR/up\"; while :; do sleep 0.01; done";
    let run = script(harness, &key, &format!("sh -c '{child}' & wait"));
    let handle = launcher.submit(&key, &run).await.expect("it is started");
    until("the child listens", || run.run_dir.join("up").exists()).await;
    launcher.stop(&handle, Stop::Grace(Duration::from_secs(20))).await.expect("it can be asked");
    let exit = ended(&*launcher, &handle).await;
    assert_eq!((exit.signal, exit.stopped), (Some(15), Some(StopKind::Cancel)));
    // A shell may remark on what else was ended.
    assert!(harness.log(&key).ends_with("saved\n"), "{}", harness.log(&key));
    assert_nothing_left(harness, &key);
}

/// With its grace, and for that reason.
pub async fn a_run_whose_time_is_up_is_ended(harness: &dyn Harness) {
    // On a busy machine its time may be up before it has come to its first line.
    for timeout in [300, 3_000, 30_000].map(Duration::from_millis) {
        let (launcher, key) = (harness.launcher(), new_key());
        let text = "trap 'exit 0' TERM; echo > \"$RUN_DIR/up\"; while :; do sleep 0.01; done";
        let run = RunSpec { timeout: Some(timeout), ..script(harness, &key, text) };
        let began = Instant::now();
        let handle = launcher.submit(&key, &run).await.expect("it is started");
        let exit = ended(&*launcher, &handle).await;
        assert_eq!(exit.stopped, Some(StopKind::Timeout));
        assert!(began.elapsed() >= timeout);
        assert_nothing_left(harness, &key);
        if run.run_dir.join("up").exists() {
            return assert_eq!(exit.code, Some(0));
        }
    }
    panic!("it never came to its first line");
}

/// Sessions of their own, parents that are gone, an empty environment, deaf to requests.
pub async fn nothing_is_left_of_a_run_whose_descendants_went_their_own_way(harness: &dyn Harness) {
    let (launcher, key) = (harness.launcher(), new_key());
    let stay = "trap \"\" TERM HUP; echo $$ >> \"$0/pids\"; while :; do sleep 0.01; done";
    let text = format!(
        "sh -c '{stay}' \"$RUN_DIR\" &
         setsid sh -c '{stay}' \"$RUN_DIR\" &
         (setsid sh -c '{stay}' \"$RUN_DIR\" &)
         (env -i \"PATH=$PATH\" setsid sh -c '{stay}' \"$RUN_DIR\" &)
         while [ \"$(wc -l < \"$RUN_DIR/pids\")\" -lt 4 ]; do sleep 0.01; done
         exit 7"
    );
    let run = script(harness, &key, &text);
    std::fs::write(run.run_dir.join("pids"), "").expect("a file can be written");
    let handle = launcher.submit(&key, &run).await.expect("it is started");
    let exit = ended(&*launcher, &handle).await;
    assert_eq!((exit.code, exit.stopped), (Some(7), None));
    assert_eq!(lines(&run.run_dir.join("pids")).len(), 4);
    assert_nothing_left(harness, &key);
    assert_eq!(launcher.poll(&handle).await.expect("it can tell"), RunStatus::Ended(exit));
}
