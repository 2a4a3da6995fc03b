//! How a run begins.

use swifthook_core::{Problem, Progress, RunStatus};

use super::harness::{Harness, PAUSE, command, end, ended, lines, new_key, script, until};

/// Its program, its place, both its outputs.
pub async fn what_was_submitted_runs_as_it_is_and_its_output_is_kept(harness: &dyn Harness) {
    let (launcher, key) = (harness.launcher(), new_key());
    let run = script(harness, &key, "pwd; echo loud >&2; read -r line || echo no input");
    let handle = launcher.submit(&key, &run).await.expect("it is started");
    let exit = ended(&*launcher, &handle).await;
    assert!(exit.is_success(), "{exit:?}");
    assert_eq!(exit.stopped, None);
    let place = run.working_dir.canonicalize().expect("it is there");
    let expected = [place.to_str().expect("it is text"), "loud", "no input"];
    assert_eq!(harness.log(&key).lines().collect::<Vec<_>>(), expected);
}

/// What an argument holds is not a shell's business, whatever characters it has.
pub async fn no_argument_is_interpreted(harness: &dyn Harness) {
    let (launcher, key) = (harness.launcher(), new_key());
    let odd = ["$(touch pwned)", "a b", "", "-x", "'\"`\\", "*", "ü\nnew line", "; exit 3"];
    let argv: Vec<&str> = ["printf", "<%s>"].into_iter().chain(odd).collect();
    let handle = launcher.submit(&key, &command(harness, &key, &argv)).await.expect("it is started");
    assert!(ended(&*launcher, &handle).await.is_success());
    assert_eq!(harness.log(&key), odd.map(|argument| format!("<{argument}>")).concat());
}

/// Nothing is inherited from the process of the launcher.
pub async fn a_run_sees_the_environment_that_it_was_given_and_no_more(harness: &dyn Harness) {
    let (launcher, key) = (harness.launcher(), new_key());
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "this test is to be run by cargo");
    let mut run = command(harness, &key, &["env"]);
    run.env.insert("TWO_WORDS".into(), "a = b".into());
    let handle = launcher.submit(&key, &run).await.expect("it is started");
    assert!(ended(&*launcher, &handle).await.is_success());
    let log = harness.log(&key);
    assert!(log.lines().any(|line| line == "TWO_WORDS=a = b"), "{log}");
    let foreign: Vec<&str> = log
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .filter(|name| !run.env.contains_key(*name) && !name.starts_with("SWIFTHOOK_"))
        .collect();
    assert_eq!(foreign, Vec::<&str>::new());
}

/// Also when the second submission comes after the end.
pub async fn submitted_twice_it_runs_once(harness: &dyn Harness) {
    let (launcher, key) = (harness.launcher(), new_key());
    let run = script(
        harness,
        &key,
        "echo once >> \"$RUN_DIR/ran\"; while [ ! -e \"$RUN_DIR/go\" ]; do sleep 0.01; done",
    );
    let first = launcher.submit(&key, &run).await.expect("it is started");
    let second = launcher.submit(&key, &run).await.expect("it is found started");
    assert_eq!(first, second);
    std::fs::write(run.run_dir.join("go"), "").expect("a file can be written");
    assert!(ended(&*launcher, &first).await.is_success());
    let third = launcher.submit(&key, &run).await.expect("it is found ended");
    assert!(ended(&*launcher, &third).await.is_success());
    assert_eq!(lines(&run.run_dir.join("ran")), ["once"]);
}

/// Through the same launcher and through others that know nothing of each other.
pub async fn submitted_by_many_at_once_it_runs_once(harness: &dyn Harness) {
    let key = new_key();
    let run = script(harness, &key, "echo once >> \"$RUN_DIR/ran\"");
    let launchers = [harness.launcher(), harness.launcher()];
    let submitting: Vec<_> = (0..8)
        .map(|caller| {
            let (launcher, run) = (launchers[caller % 2].clone(), run.clone());
            tokio::spawn(async move { launcher.submit(&key, &run).await })
        })
        .collect();
    let mut handles = Vec::new();
    for submission in submitting {
        handles.push(submission.await.expect("no panic").expect("it is started, or found started"));
    }
    assert!(handles.iter().all(|handle| *handle == handles[0]), "{handles:?}");
    assert!(ended(&*launchers[0], &handles[0]).await.is_success());
    assert_eq!(lines(&run.run_dir.join("ran")), ["once"]);
}

/// Neither an unknown key is found nor one of which only the directory exists.
pub async fn only_a_run_that_began_is_found(harness: &dyn Harness) {
    let (launcher, key) = (harness.launcher(), new_key());
    assert_eq!(launcher.find(&new_key()).await.expect("it can tell"), None);
    let run = script(harness, &key, "exit 0");
    assert_eq!(launcher.find(&key).await.expect("it can tell"), None);
    let submitted = launcher.submit(&key, &run).await.expect("having been looked for is no hindrance");
    assert_eq!(launcher.find(&key).await.expect("it can tell"), Some(submitted.clone()));
    ended(&*launcher, &submitted).await;
    assert_eq!(launcher.find(&key).await.expect("it can tell"), Some(submitted));
}

/// A submission that comes after is refused for good.
pub async fn a_forbidden_key_never_runs(harness: &dyn Harness) {
    let (launcher, key) = (harness.launcher(), new_key());
    assert_eq!(launcher.forbid(&key).await.expect("it can tell"), None);
    let run = script(harness, &key, "echo once >> \"$RUN_DIR/ran\"");
    for launcher in [launcher, harness.launcher()] {
        let refused = launcher.submit(&key, &run).await.expect_err("it must not start");
        assert!(refused.is_permanent(), "{refused}");
        assert_eq!(launcher.find(&key).await.expect("it can tell"), None);
    }
    assert_eq!(lines(&run.run_dir.join("ran")), Vec::<String>::new());
}

/// To forbid is no way to stop.
pub async fn a_run_that_has_begun_is_not_forbidden_but_found(harness: &dyn Harness) {
    let (launcher, key) = (harness.launcher(), new_key());
    let submitted = launcher.submit(&key, &script(harness, &key, "exit 3")).await.expect("it is started");
    assert_eq!(launcher.forbid(&key).await.expect("it can tell"), Some(submitted.clone()));
    assert_eq!(ended(&*launcher, &submitted).await.code, Some(3));
}

/// It is refused for good, or it ends without success; what was wrong is told.
pub async fn a_program_that_is_not_there_ends_the_run(harness: &dyn Harness) {
    let (launcher, key) = (harness.launcher(), new_key());
    let told = match launcher.submit(&key, &command(harness, &key, &["no-such-program-anywhere"])).await {
        Err(refused) => {
            assert!(refused.is_permanent(), "{refused}");
            refused.to_string()
        }
        Ok(handle) => {
            let exit = ended(&*launcher, &handle).await;
            assert!(!exit.is_success());
            exit.message.as_deref().unwrap_or_default().to_owned()
        }
    };
    assert!(told.contains("no-such-program-anywhere"), "{told}");
}

/// While it runs, as part of its status; when it has ended, still up to the last step.
pub async fn how_far_it_is_is_told_while_it_runs_and_after(harness: &dyn Harness) {
    let (launcher, key) = (harness.launcher(), new_key());
    let text =
        "echo '{\"step\": 1, \"max_steps\": 2, \"loss\": 0.5, \"eta_s\": 9}' >> \"$RUN_DIR/progress.jsonl\"
        while [ ! -e \"$RUN_DIR/go\" ]; do sleep 0.01; done
        echo '{\"step\": 2, \"max_steps\": 2, \"loss\": 0.25, \"eta_s\": 0}' >> \"$RUN_DIR/progress.jsonl\"";
    let run = script(harness, &key, text);
    let handle = launcher.submit(&key, &run).await.expect("it is started");
    until("the first step is written", || !lines(&run.run_dir.join("progress.jsonl")).is_empty()).await;
    let first = Progress {
        step: Some(1),
        max_steps: Some(2),
        loss: Some(0.5),
        eta_s: Some(9),
        ..Progress::default()
    };
    let told = loop {
        // What starts a program may tell later that it did.
        match launcher.poll(&handle).await.expect("it can tell") {
            RunStatus::Pending(_) => tokio::time::sleep(PAUSE).await,
            told => break told,
        }
    };
    assert_eq!(told, RunStatus::Running(first));
    std::fs::write(run.run_dir.join("go"), "").expect("a file can be written");
    end(&*launcher, &handle).await;
    let last = launcher.progress(&handle).await.expect("it can tell");
    assert_eq!((last.step, last.is_done(), last.loss), (Some(2), Some(true), Some(0.25)));
}
