//! What a waiting job waits for.

use std::time::Duration;

use swifthook_core::{Diffed, Event, Gap, HoldReason, Reason, Stage, Timestamp, Verdict, Wait};

use super::bench::QueueBench;
use super::scene::{Delivered, Scene, quiet, worker};

pub(super) async fn a_debounced_job_waits_for_quiet(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let job = scene.accept(&debounced(1)).await;
    let state = scene.job(job.id).await.state;
    assert_eq!(state.waits_for, Some(Wait::Debounce));
    assert_eq!(state.not_before, Some(in_seconds(&scene, 30)));
    scene.advance(29);
    assert!(scene.claim(&worker("w")).await.is_none());
    scene.advance(1);
    scene.claim_of(&worker("w"), job.id).await;
}

pub(super) async fn a_debounced_job_inherits_when_the_series_began(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let (began, mut last) = (scene.now(), scene.accept(&debounced(1)).await);
    for head in 2..6 {
        scene.advance(20);
        last = scene.accept(&debounced(head).after(head - 1)).await;
    }
    let state = scene.job(last.id).await.state;
    assert_eq!(state.debounce_since, Some(began));
    assert_eq!(state.not_before, Some(began.after(Duration::from_secs(100))), "but at most so long");
}

pub(super) async fn a_change_that_waited_for_its_diff_is_debounced_from_its_push(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let pushed = scene.now();
    let job = scene.accept(&debounced(1).held(HoldReason::NeedsDiff(Gap::Forced))).await;
    scene.advance(10);
    let lease = scene.claim_of(&worker("w"), job.id).await.lease;
    let answer = Diffed::Launch(None);
    let state = scene.apply(&lease, Event::Diffed { answer, at: scene.now() }).await.state;
    assert_eq!((state.stage, state.waits_for), (Stage::Queued, Some(Wait::Debounce)));
    assert_eq!(state.not_before, Some(pushed.after(Duration::from_secs(30))));
}

pub(super) async fn a_job_waits_for_the_time_that_its_policy_named(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let at = in_seconds(&scene, 300);
    let mut push = debounced(1);
    push.verdicts[0].verdict = Verdict::Launch { not_before: Some(at) };
    let job = scene.accept(&push).await;
    let state = scene.job(job.id).await.state;
    assert_eq!((state.not_before, state.waits_for), (Some(at), Some(Wait::Time)));
    scene.advance(299);
    assert!(scene.claim(&worker("w")).await.is_none());
    scene.advance(1);
    scene.claim_of(&worker("w"), job.id).await;
}

pub(super) async fn a_job_that_is_put_off_comes_back_when_its_time_has_come(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let job = scene.accept(&Delivered::new(1)).await;
    let lease = scene.claim_of(&worker("w"), job.id).await.lease;
    let until = in_seconds(&scene, 50);
    let put_off = Event::NotBefore { until, waits_for: Wait::Gpu, why: "no GPU is free".into() };
    let state = scene.apply(&lease, put_off).await.state;
    assert_eq!((state.stage, state.waits_for, state.attempt), (Stage::Queued, Some(Wait::Gpu), 0));
    scene.advance(49);
    assert!(scene.claim(&worker("v")).await.is_none());
    scene.advance(1);
    let again = scene.claim_of(&worker("v"), job.id).await;
    assert_eq!((again.lease.epoch, again.lease.attempt), (lease.epoch + 1, 0));
}

pub(super) async fn a_held_job_is_not_handed_out(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    scene.accept(&Delivered::new(1).held(HoldReason::Approval)).await;
    let gone = scene.accept(&Delivered::new(2).with(|spec| spec.group = "2".into())).await;
    let lease = scene.claim_of(&worker("w"), gone.id).await.lease;
    scene.apply(&lease, Event::Hold(HoldReason::RecipeGone)).await;
    assert!(scene.claim(&worker("w")).await.is_none());
}

pub(super) async fn a_job_that_is_no_longer_wanted_is_cancelled(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let job = scene.accept(&Delivered::new(1)).await;
    let lease = scene.claim_of(&worker("w"), job.id).await.lease;
    let why = Reason::new("schedule", "the night is over");
    let state = scene.apply(&lease, Event::NoLonger { why: why.clone(), at: scene.now() }).await.state;
    assert_eq!((state.stage, state.reason), (Stage::Cancelled, Some(why)));
}

fn debounced(head: u32) -> Delivered {
    Delivered::new(head).with(|spec| spec.debounce = quiet(30, 100))
}

fn in_seconds(scene: &Scene<'_>, seconds: u64) -> Timestamp {
    scene.now().after(Duration::from_secs(seconds))
}
