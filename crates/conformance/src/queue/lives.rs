//! The ways that a job can go, and what people may do about it.

use std::time::Duration;

use swifthook_core::{
    Admitted, Command, Diffed, Event, Gap, HoldReason, JobId, QueueError, Reason, Renewal, Stage, StopKind,
    Verdict, Wait,
};

use super::bench::QueueBench;
use super::scene::{Delivered, Scene, change, code, handle, is_illegal, is_stale, spec_for, worker};

pub(super) async fn a_job_lives_from_queued_to_succeeded(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let id = scene.accept(&Delivered::new(1)).await.id;
    let claimed = scene.claim_of(&worker("w"), id).await;
    assert_eq!((claimed.lease.epoch, claimed.lease.attempt, claimed.run), (1, 0, None));
    scene.advance(1);
    let started = scene.apply(&claimed.lease, Event::Start { at: scene.now(), host: None, gpus: None }).await;
    assert_eq!((started.state.stage, started.state.attempt), (Stage::Running, 1));
    let submitted = scene.apply(&claimed.lease, Event::Submitted(handle(1, None))).await;
    assert_eq!(submitted.state.handle, Some(handle(1, None)));
    scene.apply(&claimed.lease, Event::Seen).await;
    let ended = scene.apply(&claimed.lease, Event::Ended(code(0))).await;
    assert_eq!(ended.state.stage, Stage::Finishing);
    scene.advance(1);
    let done = scene.collect(&claimed.lease).await;
    assert_eq!((done.state.stage, done.state.finished_at), (Stage::Succeeded, Some(scene.now())));
    assert_eq!(done.state.exit, Some(code(0)));
    assert_eq!(scene.job(id).await.state, done.state);
    let words = ["enqueued", "claimed", "started", "submitted", "ended", "succeeded"];
    assert_eq!(scene.words(id).await, words);
}

pub(super) async fn a_failure_of_the_machine_is_retried_after_a_pause(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let id = scene.accept(&Delivered::new(1)).await.id;
    for attempt in 1..=2 {
        let lease = scene.submit(&worker("w"), id).await.lease;
        let state = scene.end(&lease, code(137)).await.state;
        assert_eq!((state.stage, state.waits_for), (Stage::Queued, Some(Wait::Backoff)));
        assert_eq!((state.attempt, state.retries, state.handle), (attempt, attempt, None));
        scene.advance(59);
        assert!(scene.claim(&worker("w")).await.is_none());
        scene.advance(1);
    }
    let lease = scene.submit(&worker("w"), id).await.lease;
    let state = scene.end(&lease, code(137)).await.state;
    assert_eq!(
        (state.stage, state.reason.map(|reason| reason.word)),
        (Stage::Failed, Some("machine".into()))
    );
}

pub(super) async fn a_failure_of_the_training_is_final(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let id = scene.accept(&Delivered::new(1)).await.id;
    let lease = scene.submit(&worker("w"), id).await.lease;
    let state = scene.end(&lease, code(1)).await.state;
    assert_eq!((state.stage, state.reason), (Stage::Failed, Some(Reason::new("training", "exit code 1"))));
    scene.advance(100_000);
    assert!(scene.claim(&worker("w")).await.is_none());
}

pub(super) async fn a_refusal_for_now_takes_the_attempt_back(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let id = scene.accept(&Delivered::new(1)).await.id;
    for times in 1..=10 {
        let lease = scene.start(&worker("w"), id).await.lease;
        let until = scene.now().after(Duration::from_secs(5));
        let refused = Event::Refused { is_permanent: false, message: "full".into(), until, at: scene.now() };
        let state = scene.apply(&lease, refused).await.state;
        assert_eq!((state.stage, state.attempt, state.crashes), (Stage::Queued, 0, 0));
        assert_eq!((state.refusals, state.waits_for), (times, Some(Wait::Backoff)));
        assert!(scene.claim(&worker("w")).await.is_none());
        scene.advance(5);
    }
    let given_back = Event::Refused {
        is_permanent: false,
        message: "the worker shut down".into(),
        until: scene.now(),
        at: scene.now(),
    };
    let lease = scene.start(&worker("w"), id).await.lease;
    assert_eq!(scene.apply(&lease, given_back).await.state.refusals, 10, "nobody refused it");
    let lease = scene.start(&worker("w"), id).await.lease;
    let message = "no such launcher".into();
    let refused = Event::Refused { is_permanent: true, message, until: scene.now(), at: scene.now() };
    assert_eq!(scene.apply(&lease, refused).await.state.stage, Stage::Failed);
}

pub(super) async fn a_continuation_keeps_its_change_and_counts_no_retry(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let id = scene.accept(&Delivered::new(1)).await.id;
    for attempt in 1..=5 {
        let lease = scene.submit(&worker("w"), id).await.lease;
        scene.apply(&lease, Event::Seen).await;
        scene.apply(&lease, Event::StopWanted(StopKind::Yield)).await;
        let job = scene.end(&lease, code(143)).await;
        assert_eq!((job.state.stage, job.state.retries), (Stage::Queued, 0));
        assert_eq!((job.state.attempt, job.change), (attempt, change(1, 0)));
    }
}

pub(super) async fn what_is_final_stays(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let id = scene.accept(&Delivered::new(1)).await.id;
    let lease = scene.submit(&worker("w"), id).await.lease;
    let done = scene.end(&lease, code(0)).await;
    let timeline = scene.words(id).await;
    for event in [Event::Vanished, Event::Ended(code(9)), Event::StopWanted(StopKind::Cancel), Event::Release]
    {
        assert_eq!(scene.apply(&lease, event).await.state, done.state);
    }
    for what in [Command::Cancel, Command::Approve, Command::Reject, Command::Abandon] {
        assert_eq!(scene.command(id, what).await.unwrap().state, done.state);
    }
    assert_eq!(scene.words(id).await, timeline);
}

pub(super) async fn an_event_that_does_not_fit_changes_nothing(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let id = scene.accept(&Delivered::new(1)).await.id;
    let lease = scene.claim_of(&worker("w"), id).await.lease;
    let before = (scene.job(id).await.state, scene.words(id).await);
    assert!(is_illegal(&scene.queue.apply(&lease, Event::Ended(code(0))).await));
    assert!(is_illegal(&scene.command(id, Command::Abandon).await));
    assert_eq!((scene.job(id).await.state, scene.words(id).await), before);
    scene.apply(&lease, Event::Start { at: scene.now(), host: None, gpus: None }).await;
}

pub(super) async fn a_person_cancels_what_waits_at_once(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let queued = scene.accept(&alone(1)).await.id;
    let claimed = scene.accept(&alone(2)).await.id;
    let held = scene.accept(&alone(3).held(HoldReason::Approval)).await.id;
    scene.command(queued, Command::Cancel).await.unwrap();
    let lease = scene.claim_of(&worker("w"), claimed).await.lease;
    for id in [queued, claimed, held] {
        assert_eq!(scene.command(id, Command::Cancel).await.unwrap().state.stage, Stage::Cancelled);
    }
    let told = scene.apply(&lease, Event::Start { at: scene.now(), host: None, gpus: None }).await;
    assert_eq!((told.state.stage, told.state.attempt), (Stage::Cancelled, 0), "and its worker is told");
}

pub(super) async fn a_person_cancels_what_runs_by_stopping_it(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let id = scene.accept(&Delivered::new(1)).await.id;
    let lease = scene.submit(&worker("w"), id).await.lease;
    let state = scene.command(id, Command::Cancel).await.unwrap().state;
    assert_eq!((state.stage, state.stop), (Stage::Finishing, Some(StopKind::Cancel)));
    assert_eq!(scene.end(&lease, code(143)).await.state.stage, Stage::Cancelled);
    let lines = scene.queue.timeline(id).await.unwrap();
    let stopping = lines.iter().find(|line| &*line.what == "stopping").unwrap();
    assert_eq!((&*stopping.who, stopping.stage), ("ada", Stage::Finishing));
}

pub(super) async fn a_person_approves_or_rejects_what_is_held(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let approved = scene.accept(&alone(1).held(HoldReason::Approval)).await.id;
    let rejected = scene.accept(&alone(2).held(HoldReason::Approval)).await.id;
    assert_eq!(scene.command(approved, Command::Approve).await.unwrap().state.stage, Stage::Queued);
    let state = scene.command(rejected, Command::Reject).await.unwrap().state;
    assert_eq!((state.stage, state.reason.unwrap().word), (Stage::Cancelled, "rejected".into()));
    scene.claim_of(&worker("w"), approved).await;
    assert_eq!(scene.words(approved).await, ["enqueued", "approved", "claimed"]);

    let undiffed = scene.accept(&alone(3).held(HoldReason::NeedsDiff(Gap::Caps))).await.id;
    assert!(is_illegal(&scene.command(undiffed, Command::Approve).await), "a diff is a fact");
}

pub(super) async fn a_person_repeats_what_has_ended(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let ends = [Stage::Succeeded, Stage::Failed, Stage::Cancelled, Stage::Superseded, Stage::Quarantined];
    for (head, end) in (1..).zip(ends) {
        let push = alone(head);
        let first = scene.accept(&push).await.id;
        scene.bring_to(first, end).await;
        let again = scene.command(first, Command::Retry).await.unwrap();
        assert_eq!((again.change.clone(), again.rerun_of), (change(head, 1), Some(first)));
        assert_eq!(
            (again.state.stage, again.spec.group),
            (Stage::Queued, push.verdicts[0].jobs[0].group.clone())
        );
        assert_eq!(scene.stage(first).await, end, "and the first stays what it was");
        let lines = scene.queue.timeline(again.id).await.unwrap();
        assert_eq!((&*lines[0].what, &*lines[0].who), ("enqueued", "ada"));
        let known = scene.accept(&push).await;
        assert_eq!((known.id, known.admitted), (again.id, Admitted::Duplicate));
        scene.command(again.id, Command::Cancel).await.unwrap();
    }
}

pub(super) async fn a_person_cannot_repeat_what_has_not_ended(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let id = scene.accept(&Delivered::new(1)).await.id;
    assert!(is_illegal(&scene.command(id, Command::Retry).await));
    scene.bring_to(id, Stage::Failed).await;
    let again = scene.command(id, Command::Retry).await.unwrap().id;
    assert!(is_illegal(&scene.command(id, Command::Retry).await), "its second training has not ended");
    scene.bring_to(again, Stage::Failed).await;
    let third = scene.command(id, Command::Retry).await.unwrap();
    assert_eq!((third.change.run, third.rerun_of), (2, Some(id)));
}

pub(super) async fn a_person_gives_up_only_on_what_is_out_of_reach(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let id = scene.accept(&Delivered::new(1)).await.id;
    let lease = scene.submit(&worker("w"), id).await.lease;
    assert!(is_illegal(&scene.command(id, Command::Abandon).await));
    scene.apply(&lease, Event::Unreachable { since: scene.now() }).await;
    let state = scene.command(id, Command::Abandon).await.unwrap().state;
    assert_eq!((state.stage, state.reason.unwrap().word), (Stage::Failed, "abandoned".into()));
}

pub(super) async fn a_person_gives_up_on_a_run_that_nobody_looks_after(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let released = scene.accept(&Delivered::new(1)).await.id;
    let lease = scene.submit(&worker("gone"), released).await.lease;
    scene.apply(&lease, Event::Release).await;
    let state = scene.command(released, Command::Abandon).await.unwrap().state;
    assert_eq!((state.stage, state.reason.unwrap().word), (Stage::Failed, "abandoned".into()));

    let lost = scene.accept(&Delivered::new(2)).await.id;
    let asleep = worker("asleep");
    let lease = scene.submit(&asleep, lost).await.lease;
    assert!(is_illegal(&scene.command(lost, Command::Abandon).await), "its worker may look at any moment");
    scene.advance(asleep.lease.as_secs());
    assert_eq!(scene.command(lost, Command::Abandon).await.unwrap().state.stage, Stage::Failed);
    let renewals = scene.queue.renew(&[(lease, None)]).await.unwrap();
    assert_eq!(renewals, [Renewal::Over], "its worker is told when it wakes up");
    assert_eq!(scene.words(lost).await[3..], ["submitted", "unreachable", "failed"]);
}

pub(super) async fn a_command_for_an_unknown_job_says_so(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let unknown = JobId([1; 16]);
    for what in [Command::Cancel, Command::Retry] {
        assert!(matches!(scene.command(unknown, what).await, Err(QueueError::NotFound(id)) if id == unknown));
    }
}

pub(super) async fn a_diff_queues_its_job_and_supersedes_older_ones(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let old = scene.accept(&Delivered::new(1)).await.id;
    let id = scene.accept(&undiffed(2).after(1)).await.id;
    scene.submit(&worker("w"), old).await;
    let older = scene.accept(&Delivered::new(3).pushed_at(1)).await.id;
    let newer = scene.accept(&undiffed(4).after(3).pushed_at(2)).await.id;
    for (undiffed, superseded) in [(id, None), (newer, Some(older))] {
        let lease = scene.claim_of(&worker("w"), undiffed).await.lease;
        let launched = Event::Diffed { answer: Diffed::Launch(None), at: scene.now() };
        assert_eq!(scene.apply(&lease, launched.clone()).await.state.stage, Stage::Queued);
        assert!(is_stale(&scene.queue.apply(&lease, launched).await), "its lease was for the diff");
        if let Some(older) = superseded {
            assert_eq!(scene.job(older).await.superseded_by, Some(undiffed));
        }
    }
    assert_eq!(scene.stage(old).await, Stage::Running);

    for (head, answer, stage) in [
        (5, Diffed::Skip(Reason::new("paths", "nothing matches")), Stage::Cancelled),
        (6, Diffed::Hold(HoldReason::Approval), Stage::Held),
    ] {
        let id = scene.accept(&undiffed(head)).await.id;
        let lease = scene.claim_of(&worker("w"), id).await.lease;
        assert_eq!(scene.apply(&lease, Event::Diffed { answer, at: scene.now() }).await.state.stage, stage);
    }
}

pub(super) async fn a_diff_expands_into_a_job_for_each_file(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let known = Delivered::new(1).with(|spec| *spec = spec_for("sft", "a.yaml"));
    let known = scene.accept(&known).await.id;
    let parent = scene.accept(&undiffed(1).after(9)).await.id;
    let lease = scene.claim_of(&swifthook_core::Worker { slots_free: 0, ..worker("w") }, parent).await.lease;
    let specs = vec![spec_for("sft", "a.yaml"), spec_for("sft", "b.yaml"), spec_for("sft", "c.yaml")];
    let answer = Diffed::Expand { jobs: specs, verdict: Verdict::launch() };
    let expanded = Event::Diffed { answer, at: scene.now() };
    let state = scene.apply(&lease, expanded).await.state;
    assert_eq!((state.stage, state.reason.unwrap().word), (Stage::Cancelled, "expanded".into()));

    let jobs = scene.all_jobs().await;
    let mut configs: Vec<_> = jobs.iter().map(|job| (&*job.change.config, job.state.stage)).collect();
    configs.sort_by_key(|(config, _)| *config);
    let queued = Stage::Queued;
    assert_eq!(configs, [("", Stage::Cancelled), ("a.yaml", queued), ("b.yaml", queued), ("c.yaml", queued)]);
    let child = jobs.iter().find(|job| &*job.change.config == "b.yaml").unwrap();
    let parent = scene.job(parent).await;
    assert_eq!((&child.before, &child.source, child.change.run), (&parent.before, &parent.source, 0));
    assert!(jobs.iter().any(|job| job.id == known), "what was known is not enqueued again");
}

pub(super) async fn what_a_diff_expands_into_is_held_or_put_off_as_its_verdict_says(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let later = scene.now().after(Duration::from_secs(60));
    for (head, verdict, stage, not_before) in [
        (1, Verdict::Hold(HoldReason::Stale), Stage::Held, None),
        (2, Verdict::Launch { not_before: Some(later) }, Stage::Queued, Some(later)),
    ] {
        let parent = scene.accept(&undiffed(head)).await.id;
        let lease = scene.claim_of(&worker("w"), parent).await.lease;
        let answer = Diffed::Expand { jobs: vec![spec_for("sft", &format!("{head}.yaml"))], verdict };
        scene.apply(&lease, Event::Diffed { answer, at: scene.now() }).await;
        let jobs = scene.all_jobs().await;
        let child = jobs.iter().find(|job| *job.change.config == format!("{head}.yaml")).unwrap();
        assert_eq!((child.state.stage, child.state.not_before), (stage, not_before));
    }
}

pub(super) async fn a_diff_that_cannot_be_made_is_tried_again_later(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let id = scene.accept(&undiffed(1)).await.id;
    for tries in 1..=10 {
        let lease = scene.claim_of(&worker("w"), id).await.lease;
        let until = scene.now().after(Duration::from_secs(30));
        let answer = Diffed::Failed { message: "no route to host".into(), until };
        let state = scene.apply(&lease, Event::Diffed { answer, at: scene.now() }).await.state;
        assert_eq!(state.stage, if tries < 10 { Stage::Held } else { Stage::Failed });
        assert!(scene.claim(&worker("w")).await.is_none());
        scene.advance(30);
    }
    assert!(scene.claim(&worker("w")).await.is_none());
}

fn undiffed(head: u32) -> Delivered {
    Delivered::new(head).held(HoldReason::NeedsDiff(Gap::Forced))
}

fn alone(head: u32) -> Delivered {
    Delivered::new(head).with(|spec| spec.group = format!("group {head}").into())
}
