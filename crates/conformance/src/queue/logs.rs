//! The ends of the logs of runs, for those who ask on another machine.

use swifthook_core::{JobId, Retention, RunKey, RunLog};

use super::bench::QueueBench;
use super::scene::{Delivered, Scene, code, worker};

pub(super) async fn the_end_of_a_log_is_kept_as_it_was_last_told(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let job = scene.accept(&Delivered::new(1)).await.id;
    let first = RunKey { job, attempt: 1 };
    assert_eq!(scene.queue.run_log(first).await.unwrap(), None);
    let second = RunKey { job, attempt: 2 };
    for (run, length, tail) in
        [(first, 6, "step 1"), (second, 9, "another\n"), (first, 70_000, "a\u{0}b\nü\n")]
    {
        scene.queue.keep_log(&log(run, length, tail)).await.unwrap();
    }
    let kept = scene.queue.run_log(first).await.unwrap().expect("it was told");
    // A zero byte is no text everywhere.
    let kept = RunLog { tail: kept.tail.replace('\0', "\u{fffd}"), ..kept };
    assert_eq!(kept, log(first, 70_000, "a\u{fffd}b\nü\n"));
    assert_eq!(scene.queue.run_log(second).await.unwrap(), Some(log(second, 9, "another\n")));
}

pub(super) async fn a_log_goes_with_its_job(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let nobody = RunKey { job: JobId([9; 16]), attempt: 1 };
    scene.queue.keep_log(&log(nobody, 1, "x")).await.unwrap();
    assert_eq!(scene.queue.run_log(nobody).await.unwrap(), None, "there is no such job");

    let job = scene.accept(&Delivered::new(1)).await.id;
    let claimed = scene.submit(&worker("w"), job).await;
    let run = RunKey { job, attempt: 1 };
    scene.queue.keep_log(&log(run, 1, "x")).await.unwrap();
    scene.end(&claimed.lease, code(0)).await;
    scene.collect(&claimed.lease).await;
    scene.queue.retain(Retention { keep: Some(std::time::Duration::from_secs(60)), keep_failed: None });
    scene.advance(3_600);
    while scene.queue.sweep().await.unwrap().removed > 0 {}
    assert!(scene.queue.job(job).await.unwrap().is_none());
    assert_eq!(scene.queue.run_log(run).await.unwrap(), None);
}

fn log(run: RunKey, length: u64, tail: &str) -> RunLog {
    RunLog { run, host: "gpu-1".into(), file: "/runs/x/log".into(), length, tail: tail.to_owned() }
}
