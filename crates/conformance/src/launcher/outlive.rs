//! What becomes of a run when those who look after it are gone. Each behaviour holds of launchers that say so in
//! their capabilities, and is passed over for others.

use std::time::Duration;

use swifthook_core::{RunStatus, Stop, StopKind};

use super::harness::{Harness, assert_nothing_left, end, ended, lines, new_key, script, until};

/// And is looked after by the next one.
pub async fn a_run_outlives_the_launcher(harness: &dyn Harness) {
    if !harness.launcher().capabilities().survives_restart {
        return;
    }
    let key = new_key();
    let run = script(harness, &key, "while [ ! -e \"$RUN_DIR/go\" ]; do sleep 0.01; done; echo done; exit 4");
    let handle = harness.launcher().submit(&key, &run).await.expect("it is started");
    let next = harness.launcher();
    // A cluster takes its time to start it.
    let status = next.poll(&handle).await.expect("it can tell");
    assert!(matches!(status, RunStatus::Running(_) | RunStatus::Pending(_)), "{status:?}");
    std::fs::write(run.run_dir.join("go"), "").expect("a file can be written");
    assert_eq!(ended(&*next, &handle).await.code, Some(4));
    assert_eq!(harness.log(&key), "done\n");
}

/// By its key alone, and it is the same run.
pub async fn a_run_is_found_after_a_crash_between_submitting_and_recording(harness: &dyn Harness) {
    if !harness.launcher().capabilities().survives_restart {
        return;
    }
    let key = new_key();
    let run = script(harness, &key, "echo once >> \"$RUN_DIR/ran\"; sleep 600");
    let lost = harness.launcher().submit(&key, &run).await.expect("it is started");
    let next = harness.launcher();
    let found = next.find(&key).await.expect("it can tell").expect("it has begun");
    assert_eq!(found, lost);
    assert_eq!(next.submit(&key, &run).await.expect("it is found started"), found);
    until("it has come to its first line", || !lines(&run.run_dir.join("ran")).is_empty()).await;
    next.stop(&found, Stop::Kill).await.expect("it can be asked");
    ended(&*next, &found).await;
    assert_eq!(lines(&run.run_dir.join("ran")), ["once"]);
}

/// The timeout does not need a launcher.
pub async fn time_runs_out_while_nobody_looks(harness: &dyn Harness) {
    if !harness.launcher().capabilities().survives_restart {
        return;
    }
    let key = new_key();
    let mut run = script(harness, &key, "echo $$ >> \"$RUN_DIR/pids\"; exec sleep 600");
    run.timeout = Some(Duration::from_millis(200));
    let handle = harness.launcher().submit(&key, &run).await.expect("it is started");
    until("nothing of it is alive", || harness.alive(&key).is_empty()).await;
    assert_eq!(ended(&*harness.launcher(), &handle).await.stopped, Some(StopKind::Timeout));
    assert_nothing_left(harness, &key);
}

/// What was asked is not forgotten with who asked.
pub async fn a_stop_asked_for_by_one_launcher_is_seen_by_the_next(harness: &dyn Harness) {
    if !harness.launcher().capabilities().survives_restart {
        return;
    }
    let key = new_key();
    let handle =
        harness.launcher().submit(&key, &script(harness, &key, "sleep 600")).await.expect("it is started");
    harness.launcher().stop(&handle, Stop::Grace(Duration::from_secs(20))).await.expect("it can be asked");
    assert_eq!(ended(&*harness.launcher(), &handle).await.stopped, Some(StopKind::Cancel));
}

/// What keeps the run is killed and leaves the training alive, and orphans that can be known by their environment or
/// their session alone: that is no end until nothing is alive, and then it is for good.
pub async fn a_run_whose_keeper_was_killed_has_vanished_with_all_that_was_left_of_it(harness: &dyn Harness) {
    let (launcher, key) = (harness.launcher(), new_key());
    let stay = "trap \"\" TERM HUP; echo $$ >> \"$0/pids\"; while :; do sleep 0.01; done";
    let text = format!(
        "echo $$ >> \"$RUN_DIR/pids\"
         (setsid sh -c '{stay}' \"$RUN_DIR\" &)
         (env -i \"PATH=$PATH\" sh -c '{stay}' \"$RUN_DIR\" &)
         exec sleep 600"
    );
    let run = script(harness, &key, &text);
    let handle = launcher.submit(&key, &run).await.expect("it is started");
    until("all are up", || lines(&run.run_dir.join("pids")).len() == 3).await;
    if !harness.kill_keeper(&key) {
        launcher.stop(&handle, Stop::Kill).await.expect("it can be asked");
        end(&*launcher, &handle).await;
        return;
    }
    assert_eq!(end(&*launcher, &handle).await, RunStatus::Vanished);
    assert_nothing_left(harness, &key);
    let next = harness.launcher();
    assert_eq!(next.poll(&handle).await.expect("it can tell"), RunStatus::Vanished);
    assert_eq!(next.submit(&key, &run).await.expect("the key is spent"), handle);
    assert_eq!(next.find(&key).await.expect("it can tell"), Some(handle.clone()));
    assert_eq!(next.poll(&handle).await.expect("it can tell"), RunStatus::Vanished);
    assert_eq!(lines(&run.run_dir.join("pids")).len(), 3);
}
