//! Whose a job is, and what becomes of it when its worker is lost.

use swifthook_core::{
    Claimed, Command, Event, HoldReason, JobId, JobSpec, Lease, Progress, Renewal, RunHandle, Stage,
    StopKind, Superseding, Worker,
};

use super::bench::QueueBench;
use super::scene::{Delivered, Scene, code, handle, is_illegal, is_stale, worker};

pub(super) async fn a_worker_that_lost_its_lease_cannot_finish_the_job(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let job = scene.accept(&Delivered::new(1)).await;
    let paused = scene.submit(&worker("w"), job.id).await.lease;
    scene.advance(60);
    let taken = scene.claim_of(&worker("w"), job.id).await.lease;
    for event in [Event::Ended(code(0)), Event::Seen, Event::Vanished, Event::Release] {
        assert!(is_stale(&scene.queue.apply(&paused, event).await));
    }
    assert_eq!(scene.stage(job.id).await, Stage::Running);
    assert_eq!(scene.end(&taken, code(0)).await.state.stage, Stage::Succeeded);
    assert!(is_stale(&scene.queue.apply(&paused, Event::Vanished).await), "even at its end");
    let forged = Lease { epoch: taken.epoch + 1, ..taken };
    assert!(is_stale(&scene.queue.apply(&forged, Event::Seen).await));
}

pub(super) async fn an_orphaned_run_is_taken_over_before_anything_else(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let job = scene.accept(&Delivered::new(1)).await;
    let urgent = Delivered::new(2).with(|spec| (spec.group, spec.priority) = ("2".into(), 100));
    let lost = scene.submit(&worker("w"), job.id).await;
    scene.accept(&urgent).await;
    scene.advance(60);
    let taken = scene.claim_of(&worker("w"), job.id).await;
    assert_eq!(taken.run, lost.job.state.handle);
    assert!(taken.run.is_some());
    assert_eq!((taken.lease.epoch, taken.lease.attempt), (lost.lease.epoch + 1, 1));
    assert_eq!((taken.job.state.stage, taken.job.state.crashes), (Stage::Running, 2));
    assert_eq!(scene.words(job.id).await.last().map(String::as_str), Some("taken_over"));
}

pub(super) async fn an_orphan_goes_only_to_the_host_that_can_answer_for_it(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let bound = scene.accept(&alone(1)).await;
    let anywhere = scene.accept(&alone(2)).await;
    submit_on(&scene, bound.id, Some("host of w")).await;
    submit_on(&scene, anywhere.id, None).await;
    scene.advance(60);
    scene.claim_of(&worker("v"), anywhere.id).await;
    assert!(scene.claim(&worker("v")).await.is_none());
    scene.claim_of(&Worker { host: "host of w".into(), ..worker("v") }, bound.id).await;
}

pub(super) async fn an_attempt_that_no_launcher_has_yet_goes_only_to_the_host_that_can_tell_of_it(
    bench: &dyn QueueBench,
) {
    let scene = Scene::new(bench);
    let there = Worker { host: "host of w".into(), ..worker("v") };
    let bound = scene.accept(&alone(1)).await;
    let lease = scene.claim_of(&worker("w"), bound.id).await.lease;
    scene.apply(&lease, Event::Start { at: scene.now(), host: Some("host of w".into()), gpus: None }).await;
    scene.advance(60);
    assert!(scene.claim(&worker("u")).await.is_none());
    let lease = scene.claim_of(&there, bound.id).await.lease;

    // Once a launcher has the run, its handle says who can answer for it.
    scene.apply(&lease, Event::Submitted(handle(1, None))).await;
    scene.advance(60);
    let lease = scene.claim_of(&worker("u"), bound.id).await.lease;
    scene.end(&lease, code(0)).await;

    // The next attempt may begin anywhere.
    let again = scene.accept(&alone(2)).await;
    let lease = scene.claim_of(&worker("w"), again.id).await.lease;
    scene.apply(&lease, Event::Start { at: scene.now(), host: Some("host of w".into()), gpus: None }).await;
    scene.apply(&lease, Event::NeverRan).await;
    let lease = scene.claim_of(&worker("u"), again.id).await.lease;
    scene.apply(&lease, Event::Start { at: scene.now(), host: None, gpus: None }).await;
    scene.advance(60);
    scene.claim_of(&worker("w"), again.id).await;
}

pub(super) async fn a_released_job_is_handed_out_at_once_and_counts_no_crash(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let job = scene.accept(&Delivered::new(1)).await;
    let mut claimed = scene.submit(&worker("w"), job.id).await;
    scene.apply(&claimed.lease, Event::Seen).await;
    for _ in 0..10 {
        scene.apply(&claimed.lease, Event::Release).await;
        assert!(is_stale(&scene.queue.apply(&claimed.lease, Event::Seen).await));
        assert_eq!(renew(&scene, &claimed.lease).await, Renewal::Over);
        claimed = scene.claim_of(&worker("w"), job.id).await;
        assert_eq!((claimed.job.state.crashes, claimed.job.state.stage), (0, Stage::Running));
    }
    assert_eq!(scene.end(&claimed.lease, code(0)).await.state.attempt, 1);

    let unbegun = scene.accept(&alone(2)).await;
    let lease = scene.claim_of(&worker("w"), unbegun.id).await.lease;
    scene.apply(&lease, Event::Release).await;
    scene.claim_of(&worker("v"), unbegun.id).await;
}

pub(super) async fn a_job_that_lost_its_workers_three_times_is_quarantined_with_its_run_stopped(
    bench: &dyn QueueBench,
) {
    let scene = Scene::new(bench);
    let job = scene.accept(&Delivered::new(1)).await;
    let mut last = scene.submit(&worker("w"), job.id).await;
    for crashes in 2..=3 {
        scene.advance(60);
        last = scene.claim_of(&worker("w"), job.id).await;
        assert_eq!((last.job.state.crashes, last.job.state.stage), (crashes, Stage::Running));
    }
    scene.advance(60);
    let poisoned = scene.claim_of(&worker("w"), job.id).await;
    assert_eq!(poisoned.lease.epoch, last.lease.epoch + 1);
    assert!(poisoned.run.is_some() && poisoned.job.state.is_poison);
    assert_eq!(poisoned.job.state.stage, Stage::Finishing, "a live run is stopped first");
    let job = scene.end(&poisoned.lease, code(143)).await;
    assert_eq!(job.state.stage, Stage::Quarantined);
    assert_eq!(job.state.exit.and_then(|exit| exit.code), Some(143), "with the evidence");
}

pub(super) async fn a_job_whose_starts_crash_its_workers_is_quarantined(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let job = scene.accept(&Delivered::new(1).with(|spec| spec.retry.attempts = 100)).await;
    for _ in 0..3 {
        let lease = scene.start(&worker("w"), job.id).await.lease;
        scene.apply(&lease, Event::Vanished).await;
        scene.collect(&lease).await;
        scene.advance(10_000);
    }
    assert_eq!(scene.job(job.id).await.state.crashes, 3);
    assert!(scene.claim(&worker("w")).await.is_none());
    assert_eq!(scene.stage(job.id).await, Stage::Quarantined);
    assert_eq!(scene.words(job.id).await.last().map(String::as_str), Some("quarantined"));
}

pub(super) async fn a_job_that_crashes_whoever_looks_at_it_is_quarantined(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let job = scene.accept(&Delivered::new(1)).await;
    for lost in 0..3 {
        let claimed = scene.claim_of(&worker("w"), job.id).await;
        assert_eq!((claimed.job.state.crashes, claimed.job.state.attempt), (lost, 0));
        scene.advance(60);
    }
    assert!(scene.claim(&worker("w")).await.is_none());
    assert_eq!(scene.stage(job.id).await, Stage::Quarantined);
}

pub(super) async fn a_run_out_of_reach_counts_no_crash(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let job = scene.accept(&Delivered::new(1)).await;
    let mut claimed = scene.submit(&worker("w"), job.id).await;
    for _ in 0..10 {
        let state = scene.apply(&claimed.lease, Event::Unreachable { since: scene.now() }).await.state;
        assert_eq!((state.stage, state.crashes), (Stage::Running, 1));
        scene.advance(60);
        claimed = scene.claim_of(&worker("w"), job.id).await;
    }
}

pub(super) async fn a_good_poll_takes_the_crashes_back(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let job = scene.accept(&Delivered::new(1)).await;
    let mut claimed = scene.submit(&worker("w"), job.id).await;
    for _ in 0..10 {
        assert_eq!(scene.apply(&claimed.lease, Event::Seen).await.state.crashes, 0);
        scene.advance(60);
        claimed = scene.claim_of(&worker("w"), job.id).await;
        assert_eq!(claimed.job.state.crashes, 1);
    }
    assert!(!scene.words(job.id).await.contains(&"seen".to_owned()), "a routine leaves no line");
}

pub(super) async fn a_renewed_lease_goes_on(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let job = scene.accept(&Delivered::new(1)).await;
    let lease = scene.submit(&worker("w"), job.id).await.lease;
    for _ in 0..5 {
        scene.advance(59);
        assert_eq!(renew(&scene, &lease).await, Renewal::Renewed);
    }
    scene.advance(59);
    assert!(scene.claim(&worker("w")).await.is_none());
    scene.advance(1);
    scene.claim_of(&worker("w"), job.id).await;
}

pub(super) async fn a_renewal_tells_of_a_stop(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let job = scene.accept(&Delivered::new(1)).await;
    let lease = scene.submit(&worker("w"), job.id).await.lease;
    scene.command(job.id, Command::Cancel).await.unwrap();
    assert_eq!(renew(&scene, &lease).await, Renewal::StopWanted(StopKind::Cancel));
    scene.apply(&lease, Event::Ended(code(143))).await;
    assert_eq!(renew(&scene, &lease).await, Renewal::Renewed, "there is nothing left to stop");
}

pub(super) async fn a_renewal_tells_whether_a_lease_is_over_or_another_worker_has_the_job(
    bench: &dyn QueueBench,
) {
    let scene = Scene::new(bench);
    let (one, two, three) =
        (scene.accept(&alone(1)).await, scene.accept(&alone(2)).await, scene.accept(&alone(3)).await);
    let cancelled = scene.claim_of(&worker("w"), one.id).await.lease;
    let taken = scene.submit(&worker("w"), two.id).await.lease;
    scene.command(one.id, Command::Cancel).await.unwrap();
    scene.advance(60);
    scene.claim_of(&worker("w"), two.id).await;
    let alive = scene.claim_of(&worker("w"), three.id).await.lease;
    let unknown = Lease { job: JobId([9; 16]), ..alive };
    let leases: Vec<_> = [cancelled, taken, alive, unknown].map(|lease| (lease, None)).to_vec();
    let renewals = scene.queue.renew(&leases).await.unwrap();
    assert_eq!(renewals, [Renewal::Over, Renewal::Lost, Renewal::Renewed, Renewal::Lost]);
}

pub(super) async fn a_renewal_keeps_the_progress(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let job = scene.accept(&Delivered::new(1)).await;
    let lease = scene.submit(&worker("w"), job.id).await.lease;
    let progress = Progress {
        step: Some(3),
        max_steps: Some(12),
        loss: Some(0.5),
        eta_s: Some(9),
        checkpoint: Some(2),
        ..Progress::default()
    };
    for told in [Some(progress), None] {
        scene.queue.renew(&[(lease, told)]).await.unwrap();
        assert_eq!(scene.job(job.id).await.progress, Some(progress));
    }
    let ended = scene.end(&lease, code(0)).await;
    assert_eq!(ended.progress, Some(progress));
}

pub(super) async fn a_worker_that_is_late_goes_on_if_nobody_took_its_job(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let job = scene.accept(&Delivered::new(1)).await;
    let lease = scene.submit(&worker("w"), job.id).await.lease;
    scene.advance(600);
    scene.queue.sweep().await.unwrap();
    assert_eq!(renew(&scene, &lease).await, Renewal::Renewed);
    assert!(scene.claim(&worker("w")).await.is_none());
    assert_eq!(scene.end(&lease, code(0)).await.state.stage, Stage::Succeeded);
}

pub(super) async fn a_worker_that_is_late_starts_nothing_beside_another_of_the_group(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let keep = |spec: &mut JobSpec| spec.superseded = Superseding::Keep;
    let first = scene.accept(&Delivered::new(1).with(keep)).await.id;
    let late = scene.claim_of(&worker("late"), first).await.lease;
    scene.advance(600);
    let urgent = |spec: &mut JobSpec| (spec.superseded, spec.priority) = (Superseding::Keep, 9);
    let second = scene.accept(&Delivered::new(2).with(urgent)).await.id;
    let other = scene.claim_of(&worker("other"), second).await.lease;
    let start = Event::Start { at: scene.now(), host: None, gpus: None };
    assert!(is_stale(&scene.queue.apply(&late, start.clone()).await));
    assert_eq!(scene.apply(&other, start).await.state.stage, Stage::Running);
    assert_eq!(scene.stage(first).await, Stage::Queued);
}

pub(super) async fn a_lease_ends_with_what_it_was_for(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let job = scene.accept(&alone(1)).await;
    let held = scene.claim_of(&worker("w"), job.id).await.lease;
    scene.apply(&held, Event::Hold(HoldReason::RecipeGone)).await;
    let job = scene.accept(&alone(2)).await;
    let retried = scene.submit(&worker("w"), job.id).await.lease;
    assert_eq!(scene.end(&retried, code(137)).await.state.stage, Stage::Queued);
    for lease in [held, retried] {
        assert!(is_stale(&scene.queue.apply(&lease, Event::Seen).await));
        assert_eq!(renew(&scene, &lease).await, Renewal::Over);
    }
    let job = scene.accept(&alone(3)).await;
    let done = scene.submit(&worker("w"), job.id).await.lease;
    scene.end(&done, code(0)).await;
    assert_eq!(renew(&scene, &done).await, Renewal::Over);
}

pub(super) async fn a_worker_cannot_do_what_only_the_queue_or_a_person_does(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let job = scene.accept(&Delivered::new(1)).await;
    let lease = scene.submit(&worker("w"), job.id).await.lease;
    let at = scene.now();
    let cancel = Event::Command { what: Command::Cancel, at };
    for event in [Event::Claim { at }, Event::Takeover { at }, cancel] {
        assert!(is_illegal(&scene.queue.apply(&lease, event).await));
    }
    assert_eq!(scene.job(job.id).await.state.epoch, lease.epoch);
}

pub(super) async fn a_sweep_tells_once_that_a_lease_has_run_out(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let job = scene.accept(&Delivered::new(1)).await;
    let lease = scene.submit(&worker("w"), job.id).await.lease;
    assert_eq!(scene.queue.sweep().await.unwrap().expired, 0);
    for (round, expired) in [(1, 1), (2, 0)] {
        scene.advance(60);
        assert_eq!(scene.queue.sweep().await.unwrap().expired, expired, "round {round}");
    }
    assert_eq!(renew(&scene, &lease).await, Renewal::Renewed);
    scene.advance(60);
    assert_eq!(scene.queue.sweep().await.unwrap().expired, 1, "a new silence is told again");
    let told = scene.words(job.id).await.into_iter().filter(|word| word == "lease_expired").count();
    assert_eq!(told, 2);
}

async fn renew(scene: &Scene<'_>, lease: &Lease) -> Renewal {
    scene.queue.renew(&[(*lease, None)]).await.unwrap()[0]
}

async fn submit_on(scene: &Scene<'_>, id: JobId, host: Option<&str>) -> Claimed {
    let claimed = scene.start(&worker("w"), id).await;
    let run: RunHandle = handle(1, host);
    scene.apply(&claimed.lease, Event::Submitted(run)).await;
    claimed
}

fn alone(head: u32) -> Delivered {
    Delivered::new(head).with(|spec| spec.group = format!("group {head}").into())
}
