//! What a runner does with a job, over the memory queue and a scripted launcher.

mod gpus;
mod support;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use support::{Asks, Between, Play, recipe};
use swifthook_conformance::world::{self, Course, Ending, SubmitFault};
use swifthook_core::*;
use swifthook_runner::{Compose, Composed, Draft, Moment, Then, Uncomposed, Watch};
use tokio::time::sleep;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test(start_paused = true)]
async fn a_push_trains_on_its_commit_and_the_end_is_recorded() {
    let play = Play::new();
    play.workspace.take(Duration::from_secs(2));
    let _worker = play.start("a");
    let id = play.push("main").await;
    play.ends_as(id, Stage::Succeeded, "").await;

    let job = play.job(id).await;
    let [run] = &play.launcher.runs()[..] else { panic!("one run") };
    assert_eq!(run.key, RunKey { job: id, attempt: 1 });
    let run_dir = format!("/state/runs/{id}-1");
    assert_eq!(run.spec.working_dir.to_str(), Some(&*format!("{run_dir}/tree")));
    assert_eq!(
        run.spec.argv,
        ["train".to_owned(), format!("--commit={}", job.change.head), format!("--out={run_dir}/output")]
    );
    let env: Vec<_> = run.spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        env,
        [
            "CUDA_VISIBLE_DEVICES=".to_owned(),
            format!("SWIFTHOOK_COMMIT={}", job.change.head),
            format!("SWIFTHOOK_JOB={id}"),
            format!("SWIFTHOOK_OUTPUT_DIR={run_dir}/output"),
            format!("SWIFTHOOK_PROGRESS={run_dir}/progress.jsonl"),
            "TOKEN=hush".to_owned(),
        ]
    );
    assert_eq!(job.state.exit.and_then(|exit| exit.code), Some(0));
    assert_eq!(
        job.progress.and_then(|progress| progress.step),
        Some(100),
        "the last step counts, not the last poll"
    );
    sleep(Duration::from_secs(1)).await;
    assert_eq!(play.workspace.trees(), [], "the working tree is removed");

    let moments = play.moments.lock().unwrap().clone();
    let (progress, others): (Vec<_>, Vec<_>) =
        moments.into_iter().partition(|moment| matches!(moment, Moment::Progressed(_)));
    assert!(progress.len() > 50, "it is watched step by step");
    use Moment::*;
    assert_eq!(others, [Claimed, Started, CheckedOut, Submitted, Ended, Finished]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_not_to_have_a_working_tree_gets_an_empty_place() {
    let play = Play::new();
    play.book.change(|entry| entry.checkout = false);
    let _worker = play.start("a");
    let id = play.push("main").await;
    play.ends_as(id, Stage::Succeeded, "").await;
    assert_eq!(play.workspace.checkouts(), 0);
    assert!(play.launcher.runs()[0].spec.working_dir.ends_with("tree"));
}

#[tokio::test(start_paused = true)]
async fn a_launcher_that_makes_the_working_tree_itself_is_told_what_it_is_to_have() {
    for is_wanted in [true, false] {
        let play = Play::new();
        play.launcher.checks_out();
        play.book.change(move |entry| entry.checkout = is_wanted);
        let _worker = play.start("a");
        let id = play.push("main").await;
        play.ends_as(id, Stage::Succeeded, "").await;
        assert_eq!(play.workspace.checkouts(), 0, "the worker makes none");
        assert_eq!(play.launcher.runs()[0].spec.checkout.is_some(), is_wanted);
    }
    let play = Play::new();
    let _worker = play.start("a");
    let id = play.push("main").await;
    play.ends_as(id, Stage::Succeeded, "").await;
    assert_eq!((play.workspace.checkouts(), &play.launcher.runs()[0].spec.checkout), (1, &None));
}

#[tokio::test(start_paused = true)]
async fn a_runner_is_listed_until_it_has_ended() {
    let play = Play::new();
    let worker = play.start_with("a", play.queue.clone(), |options| options.slots = 3);
    play.launcher.plan(|_| Course { lasts: HOUR, ..Course::default() });
    let id = play.push("main").await;
    play.run(id).await;
    sleep(MINUTE).await;
    let known = play.queue.workers().await.unwrap();
    let listed: Vec<_> = known.iter().map(|known| (&*known.name, known.busy, known.slots)).collect();
    assert_eq!(listed, [("a", 1, 3)]);
    assert!(known[0].seen_at > known[0].started_at);
    worker.shut_down().await;
    assert_eq!(play.queue.workers().await.unwrap(), []);
    assert_eq!(play.job(id).await.state.stage, Stage::Running);
}

#[tokio::test(start_paused = true)]
async fn the_begin_and_the_end_of_a_run_are_told_within_seconds() {
    let play = Play::new();
    let _worker = play.start("a");
    play.launcher.plan(|_| Course { lasts: MINUTE, ..Course::default() });
    let busy = async || play.queue.workers().await.unwrap()[0].busy;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(busy().await, 0);
    let id = play.push("main").await;
    play.run(id).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(busy().await, 1);
    play.ends_as(id, Stage::Succeeded, "").await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(busy().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_is_late_does_not_bring_back_a_runner_that_has_ended() {
    // One is on its way for three seconds of five.
    for second in 0..5 {
        let play = Play::new();
        let between = Between::new(play.queue.clone());
        between.delay(Duty::Works);
        let worker = play.start_with("a", between.clone(), |options| options.lease = Duration::from_secs(6));
        sleep(MINUTE + Duration::from_secs(second)).await;
        worker.shut_down().await;
        sleep(Duration::from_secs(10)).await;
        assert_eq!(play.queue.workers().await.unwrap(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hint_starts_a_job_at_once() {
    let play = Play::new();
    let worker = play.start_with("a", play.queue.clone(), |options| options.idle = HOUR);
    sleep(MINUTE).await;
    let id = play.push("main").await;
    let pushed = (play.clock)();
    worker.handle.wake();
    let started = play.run(id).await.state.started_at.unwrap();
    assert!(started.since(pushed) < Duration::from_millis(50), "after {:?}", started.since(pushed));
}

#[tokio::test(start_paused = true)]
async fn a_hint_tells_a_run_that_it_is_to_end() {
    let play = Play::new();
    let worker = play.start_with("a", play.queue.clone(), |options| options.lease = HOUR);
    let id = play.push("main").await;
    play.run(id).await;
    sleep(MINUTE).await;
    play.cancel(id).await;
    worker.handle.wake();
    let cancelled = (play.clock)();
    play.ends_as(id, Stage::Cancelled, "cancelled").await;
    assert!((play.clock)().since(cancelled) < Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_worker_has_no_more_runs_than_slots() {
    let play = Play::new();
    let worker = play.start_with("a", play.queue.clone(), |options| options.slots = 2);
    let mut ids = Vec::new();
    for branch in ["a", "b", "c", "d", "e"] {
        ids.push(play.push(branch).await);
    }
    sleep(MINUTE).await;
    assert_eq!((play.launcher.runs().len(), worker.handle.status().runs), (2, 2));
    for id in ids {
        play.ends_as(id, Stage::Succeeded, "").await;
    }
    sleep(MINUTE).await;
    assert_eq!(worker.handle.status().runs, 0);
}

// Refusals.

#[tokio::test(start_paused = true)]
async fn a_launcher_that_refuses_for_now_is_asked_again_and_no_attempt_is_counted() {
    let play = Play::new();
    play.launcher.fail_submission(SubmitFault::Before);
    let _worker = play.start("a");
    let id = play.push("main").await;
    let job = play.until(id, |job| job.state.waits_for == Some(Wait::Backoff)).await;
    assert_eq!((job.state.stage, job.state.attempt, job.state.crashes), (Stage::Queued, 0, 0));
    play.ends_as(id, Stage::Succeeded, "").await;
    assert_eq!((play.attempts(id), play.launcher.submissions()), (vec![1], 2));
}

#[tokio::test(start_paused = true)]
async fn a_launcher_that_goes_on_refusing_is_asked_each_time_later() {
    let play = Play::new();
    (0..4).for_each(|_| play.launcher.fail_submission(SubmitFault::Before));
    let _worker = play.start("a");
    let id = play.push("main").await;
    let began = (play.clock)();
    play.ends_as(id, Stage::Succeeded, "").await;
    let waited = play.launcher.runs()[0].began.since(began);
    // 1 + 2 + 4 + 8 minutes, and up to a quarter more so that not all come back at once.
    assert!((15 * MINUTE..20 * MINUTE).contains(&waited), "{waited:?}");
    let state = play.job(id).await.state;
    assert_eq!((state.attempt, state.retries, state.refusals), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_launcher_that_refuses_for_good_fails_the_job() {
    let play = Play::new();
    play.launcher.fail_submission(SubmitFault::Refused);
    let _worker = play.start("a");
    let id = play.push("main").await;
    play.ends_as(id, Stage::Failed, "refused").await;
    assert_eq!(play.launcher.submissions(), 1);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(play.workspace.trees(), []);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_is_gone_fails_the_job_and_a_server_that_is_down_does_not() {
    let play = Play::new();
    let _worker = play.start("a");
    play.workspace.fail_checkout(WorkspaceError::passing("no route to host"));
    let waits = play.push("main").await;
    play.ends_as(waits, Stage::Succeeded, "").await;
    assert_eq!(play.attempts(waits), [1]);

    play.workspace.fail_checkout(WorkspaceError::permanent("not our ref"));
    let fails = play.push("main").await;
    play.ends_as(fails, Stage::Failed, "refused").await;
    assert!(play.job(fails).await.state.reason.unwrap().detail.contains("not our ref"));
    assert_eq!(play.attempts(fails), [0; 0]);
}

/// Adds the file to the command, and refuses a file that is no text.
struct Completing;

#[async_trait]
impl Compose for Completing {
    fn most_bytes(&self) -> Option<usize> {
        Some(100)
    }

    async fn compose(&self, job: &Job, draft: Draft) -> Result<Composed, Uncomposed> {
        let Draft { file, mut argv, mut env, output_dir, .. } = draft;
        assert!(output_dir.ends_with("/output") && job.spec.file.as_deref() == Some("sft.yaml"));
        if file == b"later" {
            return Err(Uncomposed::NotNow("the disk is asleep".into()));
        }
        if file == b"large" {
            return Err(Uncomposed::Waits(Wait::Disk, "1 MiB free".into()));
        }
        let unfit = |_| Uncomposed::Unfit(Reason::new("config", "line 1: not UTF-8"));
        let fingerprint = Some(Fingerprint::of([&file]));
        argv.push(String::from_utf8(file).map_err(unfit)?);
        env.insert("MORE".into(), "1".into());
        Ok(Composed { argv, env, fingerprint, environment: Some("uv:1234".into()), ..Composed::default() })
    }
}

fn completing() -> Play {
    let recipe = Recipe {
        command: vec![Template::parse("swift").expect("it has no fields")],
        file: Some(Template::parse("sft.yaml").expect("it has no fields")),
        ..recipe()
    };
    let play = Play::with(recipe);
    play.book.change(|entry| {
        entry.compose = Some(Arc::new(Completing));
        entry.checkout = false;
    });
    play
}

#[tokio::test(start_paused = true)]
async fn a_command_is_completed_from_a_file_of_the_commit() {
    let play = completing();
    play.workspace.answer_file("sft.yaml", Err(WorkspaceError::passing("no route to host")));
    play.workspace.answer_file("sft.yaml", Ok(b"later".to_vec()));
    play.workspace.answer_file("sft.yaml", Ok(b"a: 1".to_vec()));
    let _worker = play.start("a");
    let id = play.push("main").await;
    play.ends_as(id, Stage::Succeeded, "").await;
    let runs = play.launcher.runs();
    assert_eq!((runs.len(), &*runs[0].spec.argv), (1, &["swift".to_owned(), "a: 1".to_owned()][..]));
    assert_eq!((&*runs[0].spec.env["MORE"], &*runs[0].spec.env["TOKEN"]), ("1", "hush"));
    assert_eq!(play.workspace.checkouts(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_file_cannot_be_run_fails_with_its_reason_and_nothing_is_started() {
    let play = completing();
    let _worker = play.start("a");
    play.workspace.answer_file("sft.yaml", Ok(vec![0xff]));
    for why in ["line 1: not UTF-8", "`sft.yaml` is not in the commit"] {
        let id = play.push("main").await;
        play.ends_as(id, Stage::Failed, "config").await;
        let state = play.job(id).await.state;
        assert_eq!((&*state.reason.unwrap().detail, state.attempt), (why, 0), "no attempt began");
    }
    assert_eq!(play.launcher.submissions(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_for_good_is_told_before_the_hours_of_the_job_come() {
    let play = completing();
    let opens = (play.clock)().after(Duration::from_secs(36_000));
    play.book.change(|entry| {
        entry.admission = Arc::new(Asks(move |_: &Job, now, _: &Fleet| match now < opens {
            true => Admit::NotBefore(opens, Wait::Window, "opens at night".into()),
            false => Admit::Now,
        }));
    });
    play.workspace.answer_file("sft.yaml", Ok(vec![0xff]));
    play.workspace.answer_file("sft.yaml", Ok(b"a: 1".to_vec()));
    play.workspace.answer_file("sft.yaml", Ok(b"a: 1".to_vec()));
    let _worker = play.start("a");
    let wrong = play.push("main").await;
    play.ends_as(wrong, Stage::Failed, "config").await;
    assert!((play.clock)() < opens);
    let right = play.push("main").await;
    play.ends_as(right, Stage::Succeeded, "").await;
    assert!((play.clock)() >= opens);
}

#[tokio::test(start_paused = true)]
async fn what_failed_by_itself_twice_is_held_and_runs_once_a_person_approves_it() {
    let play = completing();
    let _worker = play.start("a");
    let reads = |text: &str| play.workspace.answer_file("sft.yaml", Ok(text.as_bytes().to_vec()));
    let push = async |text: &str| {
        reads(text);
        play.push("main").await
    };
    let mut failed = Vec::new();
    play.launcher.plan(|_| Course { ending: Ending::Exits(1), ..Course::default() });
    for _ in 0..2 {
        let id = push("a: 1").await;
        play.ends_as(id, Stage::Failed, "training").await;
        failed.push(id);
    }
    play.launcher.plan(|_| Course::default());
    let other = push("a: 2").await;
    play.ends_as(other, Stage::Succeeded, "").await;

    let third = push("a: 1").await;
    let held = play.until(third, |job| job.state.stage == Stage::Held).await;
    let reason = held.state.reason.unwrap();
    assert_eq!((&*reason.word, held.state.attempt), ("known_failure", 0));
    for id in failed {
        assert!(reason.detail.contains(&format!("(job {id}, exit code 1)")), "{}", reason.detail);
    }
    assert_eq!(held.state.environment.as_deref(), Some("uv:1234"));
    reads("a: 1");
    play.queue.command(third, Command::Approve, &Actor("ada".into())).await.unwrap();
    play.ends_as(third, Stage::Succeeded, "").await;

    let fourth = push("a: 1").await;
    play.ends_as(fourth, Stage::Succeeded, "").await;
}

#[tokio::test(start_paused = true)]
async fn a_job_waits_for_what_has_to_come_first_and_says_for_what() {
    let play = completing();
    play.workspace.answer_file("sft.yaml", Ok(b"large".to_vec()));
    play.workspace.answer_file("sft.yaml", Ok(b"a: 1".to_vec()));
    let _worker = play.start("a");
    let id = play.push("main").await;
    while play.job(id).await.state.waits_for.is_none() {
        sleep(Duration::from_secs(1)).await;
    }
    let state = play.job(id).await.state;
    assert_eq!((state.waits_for, state.attempt, state.refusals), (Some(Wait::Disk), 0, 0));
    assert_eq!(state.reason.unwrap().to_string(), "disk: 1 MiB free");
    play.ends_as(id, Stage::Succeeded, "").await;
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_recipe_is_of_another_kind_by_now_is_not_run() {
    let play = completing();
    let without = play.push("one").await;
    play.book.change(|entry| entry.compose = None);
    let worker = play.start("a");
    play.ends_as(without, Stage::Failed, "config").await;
    worker.shut_down().await;

    let play = Play::new();
    let with = play.push("one").await;
    play.book.change(|entry| entry.compose = Some(Arc::new(Completing)));
    let _worker = play.start("a");
    play.ends_as(with, Stage::Failed, "config").await;
    assert_eq!(play.launcher.submissions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_submission_whose_answer_was_lost_is_found_and_not_repeated() {
    let play = Play::new();
    play.launcher.fail_submission(SubmitFault::After);
    let _worker = play.start("a");
    let id = play.push("main").await;
    play.ends_as(id, Stage::Succeeded, "").await;
    assert_eq!((play.attempts(id), play.launcher.submissions()), (vec![1], 1));
}

// Workers that are lost.

#[tokio::test(start_paused = true)]
async fn a_run_whose_worker_was_lost_before_it_was_recorded_is_found() {
    let play = Play::new();
    let between = Between::new(play.queue.clone());
    between.swallow(|event| matches!(event, Event::Submitted(_)));
    let lost = play.start_with("a", between, |_| {});
    let id = play.push("main").await;
    while play.launcher.submissions() == 0 {
        sleep(Duration::from_secs(1)).await;
    }
    lost.crash().await;
    assert!(play.job(id).await.state.handle.is_none());

    let _next = play.start("b");
    play.ends_as(id, Stage::Succeeded, "").await;
    assert_eq!((play.attempts(id), play.launcher.submissions()), (vec![1], 1));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_whose_worker_was_lost_before_the_launch_is_launched_by_the_next() {
    let play = Play::new();
    play.workspace.take(MINUTE);
    let lost = play.start("a");
    let id = play.push("main").await;
    play.until(id, |job| job.state.stage == Stage::Running).await;
    lost.crash().await;

    let _next = play.start("b");
    play.ends_as(id, Stage::Succeeded, "").await;
    assert_eq!((play.attempts(id), play.launcher.submissions()), (vec![2], 1));
    assert!(
        play.launcher.is_forbidden(&RunKey { job: id, attempt: 1 }),
        "nobody launches the first any more"
    );
    assert_eq!(play.job(id).await.state.retries, 0, "nothing failed");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_lost_its_lease_launches_nothing_when_it_comes_back() {
    let play = Play::new();
    play.workspace.take(2 * MINUTE);
    let between = Between::new(play.queue.clone());
    let sleeper = play.start_with("a", between.clone(), |_| {});
    let id = play.push("main").await;
    play.until(id, |job| job.state.stage == Stage::Running).await;
    // Its checkout goes on while nothing is heard of it; another worker takes over and is faster.
    between.fail();
    play.workspace.take(Duration::from_secs(1));
    let _next = play.start("b");
    play.run(id).await;
    sleep(3 * MINUTE).await;
    assert_eq!(play.launcher.submissions(), 1, "without a lease nothing is submitted");
    between.open();
    sleep(MINUTE).await;
    assert!(sleeper.is_alive());
    assert_eq!(sleeper.handle.status().runs, 0, "it has let go");
    play.ends_as(id, Stage::Succeeded, "").await;
    assert_eq!((play.attempts(id), play.launcher.submissions()), (vec![2], 1));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_leaves_the_run_and_the_next_worker_adopts_it_without_counting_a_crash() {
    let play = Play::new();
    let first = play.start("a");
    let id = play.push("main").await;
    let before = play.until(id, |job| job.state.handle.is_some() && job.state.crashes == 0).await;
    first.shut_down().await;
    let released = play.job(id).await;
    assert!(released.state.is_released);
    assert!(matches!(play.launcher.runs()[0].status, RunStatus::Running(_)), "the run goes on");

    let _next = play.start("b");
    let adopted = play.until(id, |job| job.state.epoch > before.state.epoch).await;
    assert_eq!((adopted.state.crashes, adopted.state.attempt), (0, 1));
    play.ends_as(id, Stage::Succeeded, "").await;
    assert_eq!((play.attempts(id), play.launcher.submissions()), (vec![1], 1));
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_drains_lets_its_runs_save_and_the_next_goes_on_from_there() {
    let play = Play::new();
    play.launcher.plan(|_| Course { lasts: HOUR, saves: 10, ..Course::default() });
    let draining = |options: &mut swifthook_runner::Options| {
        (options.slots, options.drain) = (2, swifthook_runner::Drain::Yield);
    };
    let first = play.start_with("a", play.queue.clone(), draining);
    let ids = [play.push("main").await, play.push("other").await];
    for id in ids {
        play.run(id).await;
    }
    let waiting = play.push("third").await;
    sleep(30 * MINUTE).await;
    first.shut_down().await;
    for id in ids {
        let state = play.job(id).await.state;
        assert_eq!((state.stage, state.attempt, state.retries, state.crashes), (Stage::Queued, 1, 0, 0));
        assert_eq!(state.reason.map(|reason| reason.word), Some("yielded".into()));
        assert!(state.checkpoint.is_some());
    }
    assert_eq!(play.job(waiting).await.state.attempt, 0, "nothing new begins");
    assert!(play.launcher.runs().iter().all(|run| run.stops == [Stop::Yield] && run.ends <= (play.clock)()));
    assert_eq!(play.queue.workers().await.unwrap(), []);
    let _next = play.start_with("b", play.queue.clone(), |options| options.slots = 3);
    for id in ids {
        play.ends_as(id, Stage::Succeeded, "").await;
        assert_eq!(play.attempts(id), [1, 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_runner_drains_until_its_last_run_has_saved() {
    let play = Play::new();
    let saving = Duration::from_secs(9);
    play.launcher.plan(move |_| Course { lasts: HOUR, saves: 10, obeys_after: saving, ..Course::default() });
    let draining = |options: &mut swifthook_runner::Options| {
        (options.lease, options.drain) = (Duration::from_secs(6), swifthook_runner::Drain::Yield);
    };
    let worker = play.start_with("a", play.queue.clone(), draining);
    let id = play.push("main").await;
    play.run(id).await;
    sleep(MINUTE).await;
    let leaving = tokio::spawn(worker.shut_down());
    for _ in 0..3 {
        sleep(Duration::from_millis(2_500)).await;
        let known = play.queue.workers().await.unwrap();
        assert_eq!(
            known.iter().map(|known| (known.busy, known.is_draining)).collect::<Vec<_>>(),
            [(1, true)]
        );
    }
    leaving.await.unwrap();
    assert_eq!(play.queue.workers().await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_drains_leaves_what_cannot_save_or_be_reached_and_waits_for_nothing_else() {
    for cannot_save in [true, false] {
        let play = Play::new();
        play.launcher.plan(|_| Course { lasts: 5 * HOUR, ..Course::default() });
        let draining =
            |options: &mut swifthook_runner::Options| options.drain = swifthook_runner::Drain::Yield;
        let first = play.start_with("a", play.queue.clone(), draining);
        let id = play.push("main").await;
        play.run(id).await;
        match cannot_save {
            true => play.launcher.cannot_yield(),
            false => play.launcher.lose_sight_for(HOUR),
        }
        sleep(MINUTE).await;
        let began = (play.clock)();
        first.shut_down().await;
        assert!((play.clock)().since(began) < MINUTE);
        let state = play.job(id).await.state;
        assert_eq!((state.stage, state.is_released), (Stage::Running, true));
        let _next = play.start("b");
        play.ends_as(id, Stage::Succeeded, "").await;
        assert_eq!((play.attempts(id), &play.launcher.runs()[0].stops[..]), (vec![1], &[][..]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_drains_during_a_checkout_gives_the_job_back() {
    let play = Play::new();
    play.workspace.take(HOUR);
    let draining = |options: &mut swifthook_runner::Options| options.drain = swifthook_runner::Drain::Yield;
    let worker = play.start_with("a", play.queue.clone(), draining);
    let id = play.push("main").await;
    play.until(id, |job| job.state.stage == Stage::Running).await;
    let began = (play.clock)();
    worker.shut_down().await;
    assert!((play.clock)().since(began) < MINUTE);
    let state = play.job(id).await.state;
    assert_eq!((state.stage, state.attempt, state.crashes), (Stage::Queued, 0, 0));
    assert_eq!(play.launcher.submissions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_before_the_launch_gives_the_job_back() {
    let play = Play::new();
    play.workspace.take(HOUR);
    let first = play.start("a");
    let id = play.push("main").await;
    play.until(id, |job| job.state.stage == Stage::Running).await;
    let asked = (play.clock)();
    first.shut_down().await;
    assert!((play.clock)().since(asked) < Duration::from_secs(1), "it does not wait for the checkout");
    let state = play.job(id).await.state;
    assert_eq!((state.stage, state.attempt, state.crashes), (Stage::Queued, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_though_the_store_does_not_answer() {
    let play = Play::new();
    let between = Between::new(play.queue.clone());
    let worker = play.start_with("a", between.clone(), |_| {});
    let id = play.push("main").await;
    play.run(id).await;
    between.fall_silent();
    let asked = (play.clock)();
    worker.shut_down().await;
    assert!((play.clock)().since(asked) <= Duration::from_secs(11));
    let _next = play.start("b");
    play.ends_as(id, Stage::Succeeded, "").await;
    assert_eq!(play.launcher.submissions(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_costs_three_workers_is_stopped_and_put_away() {
    let play = Play::new();
    play.launcher.plan(|_| Course { lasts: 24 * HOUR, ..Course::default() });
    let id = play.push("main").await;
    for name in ["a", "b", "c"] {
        let between = Between::new(play.queue.clone());
        between.swallow(|event| matches!(event, Event::Submitted(_)));
        let lost = play.start_with(name, between, |_| {});
        sleep(2 * MINUTE).await;
        lost.crash().await;
    }
    let _next = play.start("d");
    play.ends_as(id, Stage::Quarantined, "crashes").await;
    let [run] = &play.launcher.runs()[..] else { panic!("one run") };
    assert!(matches!(&run.status, RunStatus::Ended(exit) if exit.signal == Some(15)), "{:?}", run.status);
}

// Sight that is lost.

#[tokio::test(start_paused = true)]
async fn a_run_that_is_out_of_reach_for_an_hour_is_waited_for_and_not_replaced() {
    let play = Play::new();
    let between = Between::new(play.queue.clone());
    let _worker = play.start_with("a", between.clone(), |_| {});
    let id = play.push("main").await;
    play.run(id).await;
    play.launcher.lose_sight_for(HOUR);
    play.until(id, |job| job.state.unreachable_since.is_some()).await;
    sleep(50 * MINUTE).await;
    let job = play.job(id).await;
    assert_eq!((job.state.stage, job.state.attempt), (Stage::Running, 1));
    play.ends_as(id, Stage::Succeeded, "").await;
    assert_eq!((play.attempts(id), play.launcher.submissions()), (vec![1], 1));
    let told = play.words(id).await.iter().filter(|word| word.contains("unreachable")).count();
    assert_eq!(told, 1, "{:?}", play.words(id).await);
    assert_eq!(between.events("be out of reach"), 1, "it is not written at each poll");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_given_up_is_ended_when_it_can_be_reached_again() {
    let play = Play::new();
    play.launcher.plan(|_| Course { lasts: 100 * HOUR, ..Course::default() });
    let _worker = play.start("a");
    let id = play.push("main").await;
    play.run(id).await;
    play.launcher.lose_sight_for(HOUR);
    play.until(id, |job| job.state.unreachable_since.is_some()).await;
    play.queue.command(id, Command::Abandon, &Actor("mona".into())).await.unwrap();
    play.ends_as(id, Stage::Failed, "abandoned").await;
    sleep(30 * MINUTE).await;
    assert_eq!(play.launcher.runs()[0].stops, [], "nobody can reach it");
    play.until(id, |job| !job.state.is_given_up).await;
    let run = play.launcher.runs().remove(0);
    assert!(matches!(run.stops[..], [Stop::Grace(_), ..]), "{:?}", run.stops);
    assert!(run.ends <= (play.clock)());
    assert_eq!(play.words(id).await.last().map(String::as_str), Some("run_ended"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_submitted_again_while_nobody_can_tell_whether_it_runs() {
    let play = Play::new();
    let between = Between::new(play.queue.clone());
    between.swallow(|event| matches!(event, Event::Submitted(_)));
    let lost = play.start_with("a", between, |_| {});
    let id = play.push("main").await;
    while play.launcher.submissions() == 0 {
        sleep(Duration::from_secs(1)).await;
    }
    lost.crash().await;
    play.launcher.lose_sight_for(HOUR);
    let _next = play.start("b");
    sleep(50 * MINUTE).await;
    let job = play.job(id).await;
    assert_eq!((job.state.stage, job.state.handle, job.state.attempt), (Stage::Running, None, 1));
    play.ends_as(id, Stage::Succeeded, "").await;
    assert_eq!((play.attempts(id), play.launcher.submissions()), (vec![1], 1));
}

#[tokio::test(start_paused = true)]
async fn runs_go_on_while_the_store_is_out_of_reach() {
    let play = Play::new();
    let between = Between::new(play.queue.clone());
    let worker = play.start_with("a", between.clone(), |_| {});
    let id = play.push("main").await;
    play.run(id).await;
    between.fail();
    sleep(HOUR).await;
    assert!(worker.handle.status().store_is_down);
    between.open();
    play.ends_as(id, Stage::Succeeded, "").await;
    assert!(!worker.handle.status().store_is_down);
    assert_eq!((play.attempts(id), play.launcher.submissions()), (vec![1], 1));
}

// Stops.

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_is_asked_to_end_and_waited_for() {
    let play = Play::new();
    let _worker = play.start("a");
    let id = play.push("main").await;
    play.run(id).await;
    play.cancel(id).await;
    let job = play.until(id, |job| job.state.stage == Stage::Finishing).await;
    assert!(job.state.evidence.is_none(), "it is not over before it is over");
    play.ends_as(id, Stage::Cancelled, "cancelled").await;
    assert_eq!(play.launcher.runs()[0].stops, [Stop::Grace(Duration::from_secs(10))], "it is asked once");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_does_not_heed_its_grace_is_killed() {
    let play = Play::new();
    play.launcher.plan(|_| Course {
        lasts: 24 * HOUR,
        obeys_after: 24 * HOUR,
        heeds_grace: false,
        ..Course::default()
    });
    let _worker = play.start("a");
    let id = play.push("main").await;
    play.run(id).await;
    play.cancel(id).await;
    let asked = (play.clock)();
    play.ends_as(id, Stage::Cancelled, "cancelled").await;
    assert!((play.clock)().since(asked) < MINUTE);
    assert_eq!(play.launcher.runs()[0].stops.last(), Some(&Stop::Kill));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_cancelled_during_its_checkout_never_runs() {
    let play = Play::new();
    play.workspace.take(HOUR);
    let _worker = play.start("a");
    let id = play.push("main").await;
    play.until(id, |job| job.state.stage == Stage::Running).await;
    play.cancel(id).await;
    let asked = (play.clock)();
    play.ends_as(id, Stage::Cancelled, "cancelled").await;
    assert!((play.clock)().since(asked) < MINUTE, "it does not wait for the checkout");
    assert_eq!(play.launcher.submissions(), 0);
    let words = play.words(id).await;
    assert!(words.contains(&"never_ran".to_owned()) && !words.contains(&"vanished".to_owned()), "{words:?}");
    let exit = play.job(id).await.state.exit.unwrap();
    assert_eq!(exit.message.as_deref(), Some("the run never began"));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_slept_cannot_launch_what_was_cancelled_meanwhile() {
    let play = Play::new();
    play.workspace.take(HOUR);
    let lost = play.start("a");
    let id = play.push("main").await;
    let job = play.until(id, |job| job.state.stage == Stage::Running).await;
    lost.crash().await;
    play.cancel(id).await;
    let _next = play.start("b");
    play.ends_as(id, Stage::Cancelled, "cancelled").await;
    let key = RunKey { job: id, attempt: job.state.attempt };
    assert!(play.launcher.is_forbidden(&key), "the late submission would be refused");
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_time_is_up_fails_its_job() {
    let play = Play::new();
    play.book.change(|entry| entry.timeout = Some(MINUTE));
    let _worker = play.start("a");
    let id = play.push("main").await;
    play.ends_as(id, Stage::Failed, "timeout").await;
    assert_eq!(play.attempts(id), [1]);
}

// Ends.

/// The renewal that was under way when a job ended found no lease, which was taken for a loss: the task was cut off in
/// the middle of its cleaning up.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_job_is_no_loss_and_its_tree_is_removed_in_peace() {
    let play = Play::new();
    play.workspace.linger(Duration::from_secs(25));
    let worker = play.start("a");
    let id = play.push("main").await;
    play.ends_as(id, Stage::Succeeded, "").await;
    sleep(MINUTE).await;
    assert_eq!(play.workspace.trees(), []);
    assert!(!play.moments.lock().unwrap().contains(&Moment::Lost));
    assert_eq!(worker.handle.status().runs, 0);
}

#[tokio::test(start_paused = true)]
async fn failures_of_the_machine_are_tried_again_each_time_later_and_then_no_more() {
    let play = Play::new();
    play.launcher.plan(|_| Course { ending: Ending::Killed(9), ..Course::default() });
    let _worker = play.start("a");
    let id = play.push("main").await;
    play.ends_as(id, Stage::Failed, "machine").await;
    assert_eq!(play.attempts(id), [1, 2, 3]);
    let runs = play.launcher.runs();
    let pauses: Vec<u64> = runs.windows(2).map(|two| two[1].began.since(two[0].ends).as_secs()).collect();
    assert!((60..80).contains(&pauses[0]) && (120..155).contains(&pauses[1]), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_vanished_is_a_failure_of_the_machine_and_the_next_may_succeed() {
    let play = Play::new();
    play.launcher.plan(|key| match key.attempt {
        1 => Course { ending: Ending::Vanishes, ..Course::default() },
        _ => Course::default(),
    });
    let _worker = play.start("a");
    let id = play.push("main").await;
    play.ends_as(id, Stage::Succeeded, "").await;
    assert_eq!(play.attempts(id), [1, 2]);
}

/// Open for the first twenty minutes of each hour.
fn twenty_minutes_an_hour(play: &Play) {
    let clock = play.clock.clone();
    let began = clock();
    play.book.change(|entry| entry.admission = Arc::new(Hours { began }));
}

struct Hours {
    began: Timestamp,
}

impl Hours {
    fn is_open(&self, now: Timestamp) -> bool {
        now.since(self.began).as_secs() % 3_600 < 1_200
    }
}

impl Admission for Hours {
    fn admit(&self, _job: &Job, now: Timestamp, _fleet: &Fleet) -> Admit {
        if self.is_open(now) {
            return Admit::Now;
        }
        let hours = now.since(self.began).as_secs() / 3_600 + 1;
        let opening = self.began.after(Duration::from_secs(3_600 * hours));
        Admit::NotBefore(opening, Wait::Window, "closed".into())
    }

    fn makes_way(&self, _job: &Job, now: Timestamp) -> Option<String> {
        (!self.is_open(now)).then(|| "closed".into())
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_makes_way_when_its_hours_are_over_and_goes_on_until_all_steps_are_done() {
    let play = Play::new();
    twenty_minutes_an_hour(&play);
    play.launcher.plan(|_| Course { lasts: 55 * MINUTE, saves: 10, ..Course::default() });
    let _worker = play.start("a");
    let id = play.push("main").await;
    let waiting = play.until(id, |job| job.state.waits_for == Some(Wait::Window)).await;
    assert_eq!((waiting.state.attempt, waiting.state.retries), (1, 0));
    play.ends_as(id, Stage::Succeeded, "").await;

    let state = play.job(id).await.state;
    assert_eq!((play.attempts(id), state.retries), (vec![1, 2, 3], 0), "to make way is no failure");
    let runs = play.launcher.runs();
    let from: Vec<_> = runs.iter().map(|run| run.spec.env.get("SWIFTHOOK_RESUME_FROM").cloned()).collect();
    let steps: Vec<_> =
        runs.iter().map(|run| run.spec.job.state.resumed_from.as_ref().and_then(|from| from.step)).collect();
    assert_eq!((&from[0], steps[0]), (&None, None));
    for (attempt, (place, step)) in (1..).zip(from[1..].iter().zip(&steps[1..])) {
        let (place, step) = (place.as_ref().unwrap(), step.unwrap());
        assert_eq!(*place, format!("/runs/{id}-{attempt}/checkpoint-{step}"));
        assert!((34 * attempt..38 * attempt).contains(&step), "{step} after attempt {attempt}");
    }
    assert_eq!(runs[0].stops, [Stop::Yield]);
    let why = play.queue.timeline(id).await.unwrap().into_iter().filter_map(|line| line.why);
    let why: Vec<_> = why.filter(|why| why.starts_with("attempt")).collect();
    assert!(why[1].contains("from the checkpoint of step 3") && why[1].ends_with("(attempt 1)"), "{why:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_cannot_make_way_goes_on_and_it_is_told() {
    let play = Play::new();
    twenty_minutes_an_hour(&play);
    play.launcher.cannot_yield();
    play.launcher.plan(|_| Course { lasts: 55 * MINUTE, ..Course::default() });
    let _worker = play.start("a");
    let id = play.push("main").await;
    let job = play.until(id, |job| job.state.reason.is_some()).await;
    let reason = job.state.reason.unwrap();
    assert_eq!((job.state.stage, &*reason.word), (Stage::Running, "cannot_yield"));
    assert!(reason.detail.starts_with("closed, and a run of the launcher `scripted`"), "{}", reason.detail);
    play.ends_as(id, Stage::Succeeded, "").await;
    assert_eq!((play.attempts(id), &play.launcher.runs()[0].stops[..]), (vec![1], &[][..]));
    let alarms = play.words(id).await.into_iter().filter(|word| word == "alarm").count();
    assert_eq!(alarms, 1, "it is told once");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_cancelled_with_leave_to_save_saves_and_ends() {
    let play = Play::new();
    play.launcher.plan(|_| Course { lasts: HOUR, saves: 10, ..Course::default() });
    let _worker = play.start("a");
    let id = play.push("main").await;
    play.run(id).await;
    sleep(20 * MINUTE).await;
    play.queue.command(id, Command::CancelSaving, &Actor("mona".into())).await.unwrap();
    play.ends_as(id, Stage::Cancelled, "cancelled").await;
    let state = play.job(id).await.state;
    assert_eq!(play.launcher.runs()[0].stops, [Stop::Yield]);
    let saved = state.checkpoint.unwrap();
    assert_eq!(state.reason.unwrap().detail, format!("a person cancelled it; it left {saved}"));
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_the_machines_failure_goes_on_from_the_last_checkpoint() {
    let play = Play::new();
    let half = |key: &RunKey| match key.attempt {
        // The cut comes in the middle, whatever it would have become.
        1 => Course { ending: Ending::Vanishes, saves: 10, steps: 57, ..Course::default() },
        _ => Course { saves: 10, ..Course::default() },
    };
    play.launcher.plan(half);
    let _worker = play.start("a");
    let id = play.push("main").await;
    play.ends_as(id, Stage::Succeeded, "").await;
    let state = play.job(id).await.state;
    assert_eq!((state.retries, state.resumed_from.unwrap().step), (1, Some(50)));
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_is_gone_is_said_to_be_and_the_run_begins_anew() {
    let play = Play::new();
    play.launcher.plan(|_| Course { saves: 10, ..Course::default() });
    let _worker = play.start("a");
    let id = play.push("main").await;
    play.run(id).await;
    sleep(5 * MINUTE).await;
    play.book.change(|entry| {
        entry.admission = Arc::new(Asks(|_: &Job, now: Timestamp, _: &Fleet| {
            Admit::NotBefore(now.after(MINUTE), Wait::Window, "closed".into())
        }))
    });
    play.queue.command(id, Command::Yield, &Actor("mona".into())).await.unwrap();
    let waiting = play.until(id, |job| job.state.waits_for == Some(Wait::Window)).await;
    play.launcher.lose(&waiting.state.checkpoint.unwrap().path);
    play.book.change(|entry| entry.admission = Arc::new(Always));
    play.ends_as(id, Stage::Succeeded, "").await;
    assert!(play.words(id).await.contains(&"checkpoint_lost".to_owned()));
    assert_eq!(play.job(id).await.state.resumed_from, None);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_does_not_get_on_is_told_of_stopped_or_tried_again_as_the_recipe_says() {
    // A step takes a day, so that nothing is heard of it.
    let stuck = |play: &Play, then| {
        play.book.change(|entry| entry.watch = Some(Watch { then, ..Watch::default() }));
        play.launcher.plan(|key: &RunKey| match key.attempt {
            1 => Course { lasts: 48 * HOUR, steps: 2, ..Course::default() },
            _ => Course::default(),
        });
    };
    let play = Play::new();
    stuck(&play, Then::Tell);
    let _worker = play.start("a");
    let id = play.push("main").await;
    let told = play.until(id, |job| job.state.reason.is_some()).await;
    let why = told.state.reason.unwrap().to_string();
    assert!(why.starts_with("silent: nothing was heard of it for"), "{why}");
    assert_eq!(told.state.stage, Stage::Running, "it goes on");
    assert!(play.moments.lock().unwrap().iter().any(|moment| matches!(moment, Moment::Alarmed(_))));
    play.cancel(id).await;

    let play = Play::new();
    stuck(&play, Then::Stop);
    let _worker = play.start("a");
    let id = play.push("main").await;
    play.ends_as(id, Stage::Failed, "watchdog").await;
    assert_eq!(play.launcher.runs()[0].stops, [Stop::Kill]);

    let play = Play::new();
    stuck(&play, Then::Resume);
    let _worker = play.start("a");
    let id = play.push("main").await;
    play.ends_as(id, Stage::Succeeded, "").await;
    assert_eq!((play.attempts(id), play.job(id).await.state.retries), (vec![1, 2], 1));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_without_a_number_is_warned_of_or_fails_as_its_watchdog_says() {
    let ends = async |then: Option<Then>, stage, word| {
        let play = Play::new();
        let watch = then.map(|then| Watch { then, ..Watch::default() });
        play.book.change(|entry| entry.watch = watch);
        // It is over before anybody looks after it.
        let lasts = Duration::from_secs(1);
        play.launcher.plan(move |_| Course { lasts, diverged: Some(Measure::GradNorm), ..Course::default() });
        let _worker = play.start("a");
        let id = play.push("main").await;
        play.ends_as(id, stage, word).await;
        play.job(id).await.state
    };
    for then in [None, Some(Then::Tell), Some(Then::Resume)] {
        let state = ends(then, Stage::Succeeded, "").await;
        let warnings: Vec<_> = state.warnings.iter().map(ToString::to_string).collect();
        let told = "diverged: the training has diverged: the norm of the gradient is no number at step 100";
        assert_eq!(warnings, [told]);
    }
    let state = ends(Some(Then::Stop), Stage::Failed, "diverged").await;
    assert!(state.reason.unwrap().detail.contains("the norm of the gradient is no number"));
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_training_is_not_tried_again() {
    let play = Play::new();
    play.launcher.plan(|_| Course { ending: Ending::Exits(1), ..Course::default() });
    let _worker = play.start("a");
    let id = play.push("main").await;
    play.ends_as(id, Stage::Failed, "training").await;
    assert_eq!(play.attempts(id), [1]);
}

// Diffs.

fn picky(patterns: &[&str]) -> Recipe {
    Recipe { policy: Arc::new(condition::paths(patterns).expect("they are patterns")), ..recipe() }
}

fn unknown(branch: &str) -> Push {
    Push { changes: ChangeSet::Incomplete(Paths::empty(), Gap::Forced), ..world::push(branch, 1) }
}

fn complete(paths: &[&str]) -> ChangeSet {
    ChangeSet::Complete(paths.iter().map(|path| (*path, PathChange::Present)).collect())
}

#[tokio::test(start_paused = true)]
async fn a_job_that_needs_a_diff_trains_or_not_when_git_has_told_it() {
    for (path, stage, reason) in
        [("configs/a.yaml", Stage::Succeeded, ""), ("README.md", Stage::Cancelled, "skipped_after_diff")]
    {
        let play = Play::with(picky(&["configs/**"]));
        play.workspace.answer_diff(Ok(complete(&[path])));
        // A diff takes no slot.
        let _worker = play.start_with("a", play.queue.clone(), |options| options.slots = 1);
        let id = play.accept(unknown("main")).await;
        assert_eq!(play.job(id).await.state.stage, Stage::Held);
        play.ends_as(id, stage, reason).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_recipe_with_each_becomes_a_job_per_file_when_the_diff_is_known() {
    let each = Each::new(["configs/*.yaml"]).unwrap();
    let play = Play::with(Recipe { each: Some(each), ..recipe() });
    play.workspace.answer_diff(Err(WorkspaceError::passing("no route to host")));
    play.workspace.answer_diff(Ok(complete(&["configs/a.yaml", "README.md", "configs/b.yaml"])));
    let _worker = play.start("a");
    let id = play.accept(unknown("main")).await;
    play.ends_as(id, Stage::Cancelled, "expanded").await;
    assert_eq!(play.job(id).await.state.diff_failures, 1);
    let jobs = play.queue.jobs(&JobFilter::default()).await.unwrap();
    let mut configs = Vec::new();
    for job in jobs.iter().filter(|job| job.id != id) {
        play.ends_as(job.id, Stage::Succeeded, "").await;
        configs.push(job.change.config.to_string());
    }
    configs.sort();
    assert_eq!(configs, ["configs/a.yaml", "configs/b.yaml"]);
}

#[tokio::test(start_paused = true)]
async fn a_diff_is_no_way_around_the_greatest_age_of_a_push() {
    let each = Each::new(["configs/*.yaml"]).unwrap();
    for (recipe, stage, configs) in [
        (picky(&["configs/**"]), Stage::Held, vec![String::new()]),
        (
            Recipe { each: Some(each), ..recipe() },
            Stage::Cancelled,
            vec!["configs/a.yaml".to_owned(), String::new()],
        ),
    ] {
        let play = Play::with(recipe);
        play.book.change(|entry| entry.max_age = Some(Duration::from_secs(60)));
        play.workspace.answer_diff(Ok(complete(&["configs/a.yaml"])));
        let _worker = play.start("a");
        // A push that does not say how old it is counts as too old.
        let old = Push { pushed_at: None, ..unknown("main") };
        let id = play.accept(old).await;
        play.until(id, |job| job.state.stage == stage && !job.state.needs_diff()).await;
        let jobs = play.queue.jobs(&JobFilter::default()).await.unwrap();
        let found: Vec<_> = jobs.iter().map(|job| job.change.config.to_string()).collect();
        assert_eq!(found, configs);
        assert_eq!((jobs[0].state.stage, &jobs[0].state.hold), (Stage::Held, &Some(HoldReason::Stale)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_push_of_a_server_that_signs_no_times_trains_after_its_diff() {
    let play = Play::with(picky(&["configs/**"]));
    play.book.change(|entry| entry.max_age = Some(Duration::from_secs(60)));
    play.workspace.answer_diff(Ok(complete(&["configs/a.yaml"])));
    let _worker = play.start("a");
    let origin = Origin { dialect: Dialect::Gitea, ..Origin::default() };
    let id = play.accept(Push { pushed_at: None, origin, ..unknown("main") }).await;
    play.ends_as(id, Stage::Succeeded, "").await;
}

#[tokio::test(start_paused = true)]
async fn a_diff_that_cannot_be_had_ten_times_fails_the_job() {
    let play = Play::with(picky(&["configs/**"]));
    let _worker = play.start("a");
    let id = play.accept(unknown("main")).await;
    play.ends_as(id, Stage::Failed, "diff").await;
}

#[tokio::test(start_paused = true)]
async fn a_diff_with_more_files_than_are_looked_at_trains_by_those_or_is_held_and_never_skipped() {
    let each = Each::new(["configs/*.yaml"]).unwrap();
    let flood = |first: &str| {
        let names = (0..5_000).map(|n| if n == 4_999 { first.to_owned() } else { format!("data/{n}") });
        ChangeSet::Incomplete(names.map(|name| (name, PathChange::Present)).collect(), Gap::Truncated)
    };
    for (recipe, first, stage) in [
        (picky(&["configs/**"]), "configs/a.yaml", Stage::Succeeded),
        (picky(&["configs/**"]), "README.md", Stage::Held),
        (Recipe { each: Some(each), ..recipe() }, "configs/a.yaml", Stage::Held),
    ] {
        let play = Play::with(recipe);
        play.workspace.answer_diff(Ok(flood(first)));
        let _worker = play.start("a");
        let id = play.accept(unknown("main")).await;
        play.until(id, |job| job.state.stage == stage && !job.state.needs_diff()).await;
        if stage == Stage::Held {
            assert_eq!(play.job(id).await.state.hold, Some(HoldReason::TooManyPaths(5_000)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_is_expanded_when_a_person_approves_it() {
    let each = || Each::new(["configs/*.yaml"]).unwrap();
    let files: Vec<String> = (0..300).map(|n| format!("configs/{n}.yaml")).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let flood = || {
        let names = (0..5_000).map(|n| (format!("data/{n}"), PathChange::Present));
        ChangeSet::Incomplete(names.collect(), Gap::Truncated)
    };
    let approve = async |play: &Play, id| {
        play.queue.command(id, Command::Approve, &Actor("mona".into())).await.unwrap();
    };

    // More jobs than one push makes: the same, once it is approved, unless it has become more.
    let play = Play::with(Recipe { each: Some(each()), ..recipe() });
    for count in [299, 300, 300] {
        play.workspace.answer_diff(Ok(complete(&files[..count])));
    }
    let _worker = play.start("a");
    let id = play.accept(unknown("main")).await;
    let held = |count| move |job: &Job| job.state.hold == Some(HoldReason::TooManyJobs(count));
    play.until(id, held(299)).await;
    approve(&play, id).await;
    play.until(id, held(300)).await;
    approve(&play, id).await;
    play.ends_as(id, Stage::Cancelled, "expanded").await;
    let jobs = play.queue.jobs(&JobFilter { limit: 1_000, ..JobFilter::default() }).await.unwrap();
    assert_eq!(jobs.len(), 301);
    assert_eq!(
        play.workspace.asked().iter().map(|asked| asked.is_for_some).collect::<Vec<_>>(),
        [false, true, true]
    );

    // More files than are looked at: those that `each` names, and without it, that it trains.
    for (recipe, answer) in [
        (Recipe { each: Some(each()), ..recipe() }, complete(&files[..1])),
        (picky(&["configs/**"]), flood()),
    ] {
        let has_each = recipe.each.is_some();
        let play = Play::with(recipe);
        play.workspace.answer_diff(Ok(flood()));
        play.workspace.answer_diff(Ok(answer));
        let _worker = play.start("a");
        let id = play.accept(unknown("main")).await;
        play.until(id, |job| job.state.hold == Some(HoldReason::TooManyPaths(5_000))).await;
        approve(&play, id).await;
        match has_each {
            true => play.ends_as(id, Stage::Cancelled, "expanded").await,
            false => play.ends_as(id, Stage::Succeeded, "").await,
        };
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_whose_name_is_no_text_is_refused_by_name_and_the_others_run() {
    let play = Play::with(Recipe { each: Some(Each::new(["configs/*.yaml"]).unwrap()), ..recipe() });
    let present = |path: &'static [u8]| (path, PathChange::Present);
    let changes = Paths::from_raw([present(b"configs/caf\xe9.yaml"), present(b"configs/tea.yaml")]);
    play.workspace.answer_diff(Ok(ChangeSet::Complete(changes)));
    let _worker = play.start("a");
    let id = play.accept(unknown("main")).await;
    play.ends_as(id, Stage::Cancelled, "expanded").await;
    let jobs = play.queue.jobs(&JobFilter::default()).await.unwrap();
    let job = |config: &str| jobs.iter().find(|job| &*job.change.config == config).unwrap().id;
    play.ends_as(job("configs/tea.yaml"), Stage::Succeeded, "").await;
    let odd = job(r#""configs/caf\351.yaml""#);
    play.ends_as(odd, Stage::Failed, "config").await;
    let why = play.job(odd).await.state.reason.unwrap().detail;
    assert!(why.contains(r#"the file "configs/caf\351.yaml" is not UTF-8"#), "{why}");
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_a_push_goes_along_with_the_question_what_changed() {
    let tags = condition::all([
        condition::tags(["v*", "!*-rc*"]).unwrap(),
        condition::paths(["configs/**"]).unwrap(),
    ]);
    let play = Play::with(Recipe { policy: Arc::new(tags), ..recipe() });
    play.workspace.have_tags(&["v1", "v2-rc1", "nightly"]);
    play.workspace.answer_diff(Ok(complete(&["configs/a.yaml"])));
    let _worker = play.start("a");
    let origin = Origin { default_branch: Some("trunk".into()), ..Origin::default() };
    let push = Push { ref_name: RefName::Tag("v2".into()), origin, ..unknown("main") };
    let id = play.accept(push).await;
    play.ends_as(id, Stage::Succeeded, "").await;
    let asked = play.workspace.asked();
    assert_eq!((&asked[0].default_branch, &asked[0].tags), (&Some("trunk".into()), &vec!["v1".to_owned()]));
    assert!(asked[0].known.is_empty());

    let main = play.job(id).await.change.head;
    play.workspace.answer_diff(Ok(complete(&["configs/a.yaml"])));
    let again = Push { ref_name: RefName::Tag("v3".into()), before: None, ..unknown("main") };
    let again = play.accept(again).await;
    play.ends_as(again, Stage::Succeeded, "").await;
    assert_eq!(play.workspace.asked()[1].known, [main]);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_is_never_content_with_a_diff_does_not_hold_for_ever() {
    struct Never;
    impl TriggerPolicy for Never {
        fn decide(&self, _push: &Push, _now: Timestamp) -> Verdict {
            Verdict::Hold(HoldReason::NeedsDiff(Gap::Forced))
        }
    }
    let play = Play::with(Recipe { policy: Arc::new(Never), ..recipe() });
    for _ in 0..20 {
        play.workspace.answer_diff(Ok(complete(&["configs/a.yaml"])));
    }
    let _worker = play.start("a");
    let id = play.push("main").await;
    play.ends_as(id, Stage::Failed, "diff").await;
}

// What the configuration and the admission say.

#[tokio::test(start_paused = true)]
async fn a_job_whose_recipe_is_gone_is_held_and_a_run_goes_on_without_it() {
    let play = Play::new();
    let _worker = play.start("a");
    let runs = play.push("main").await;
    play.run(runs).await;
    play.book.change(|entry| entry.is_gone = true);
    play.ends_as(runs, Stage::Succeeded, "").await;

    let id = play.push("main").await;
    let job = play.until(id, |job| job.state.stage == Stage::Held).await;
    assert_eq!((job.state.hold, job.state.attempt), (Some(HoldReason::RecipeGone), 0));
    play.book.change(|entry| entry.is_gone = false);
    play.queue.command(id, Command::Approve, &Actor("mona".into())).await.unwrap();
    play.ends_as(id, Stage::Succeeded, "").await;
}

#[tokio::test(start_paused = true)]
async fn a_job_outside_its_window_waits_for_it_and_counts_nothing() {
    let play = Play::new();
    let opens = (play.clock)().after(5 * HOUR);
    play.book.change(|entry| {
        entry.admission = Arc::new(Asks(move |_: &Job, now: Timestamp, fleet: &Fleet| {
            assert_eq!((fleet.running, fleet.slots), (0, 1));
            if now < opens { Admit::NotBefore(opens, Wait::Window, "08:00".into()) } else { Admit::Now }
        }));
    });
    let _worker = play.start("a");
    let id = play.push("main").await;
    let waits = play.until(id, |job| job.state.waits_for.is_some()).await.state;
    assert_eq!((waits.stage, waits.waits_for, waits.attempt), (Stage::Queued, Some(Wait::Window), 0));
    play.ends_as(id, Stage::Succeeded, "").await;
    let began = play.launcher.runs()[0].began;
    assert!(began >= opens && began.since(opens) < Duration::from_secs(3), "{:?} late", began.since(opens));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_no_longer_wanted_is_cancelled_at_its_claim() {
    let play = Play::new();
    play.book.change(|entry| {
        entry.admission = Arc::new(Asks(|_: &Job, _: Timestamp, _: &Fleet| {
            Admit::NoLonger(Reason::new("schedule", "outside its hours"))
        }));
    });
    let _worker = play.start("a");
    let id = play.push("main").await;
    play.ends_as(id, Stage::Cancelled, "schedule").await;
    assert_eq!(play.launcher.submissions(), 0);
}

// Code of others that panics.

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_launcher_is_an_error_and_not_the_end_of_the_runner() {
    let play = Play::new();
    play.launcher.fail_submission(SubmitFault::Panics);
    let worker = play.start("a");
    let id = play.push("main").await;
    play.run(id).await;
    play.launcher.panic_in_polls(3);
    play.until(id, |job| job.state.unreachable_since.is_some()).await;
    play.ends_as(id, Stage::Succeeded, "").await;
    assert_eq!((play.attempts(id), play.launcher.submissions()), (vec![1], 2));
    assert!(worker.is_alive());
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_catalog_admission_or_observer_costs_time_and_nothing_else() {
    let play = Play::new();
    play.book.change(|entry| entry.panics = true);
    let worker = play.start_with("a", play.queue.clone(), |options| {
        options.observer =
            Arc::new(|_: &Job, _: &Moment| std::panic::resume_unwind(Box::new("as it was told")));
    });
    let id = play.push("main").await;
    let waits = play.until(id, |job| job.state.waits_for == Some(Wait::Backoff)).await.state;
    assert_eq!((waits.stage, waits.attempt), (Stage::Queued, 0));
    play.book.change(|entry| {
        entry.panics = false;
        entry.admission = Arc::new(Asks(|_: &Job, _: Timestamp, _: &Fleet| -> Admit {
            std::panic::resume_unwind(Box::new("as it was told"))
        }));
    });
    sleep(5 * MINUTE).await;
    assert_eq!(play.job(id).await.state.stage, Stage::Queued);
    play.book.change(|entry| entry.admission = Arc::new(Always));
    play.ends_as(id, Stage::Succeeded, "").await;
    assert!(worker.is_alive());
}

#[tokio::test(start_paused = true)]
async fn a_launcher_that_the_configuration_does_not_have_is_waited_for() {
    let play = Play::with(Recipe { launcher: "a100".into(), ..recipe() });
    let _worker = play.start("a");
    let id = play.push("main").await;
    let waits = play.until(id, |job| job.state.waits_for.is_some()).await.state;
    assert!(waits.reason.unwrap().detail.contains("`a100`"));
}
