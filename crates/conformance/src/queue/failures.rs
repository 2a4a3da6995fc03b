//! What has failed by itself before, so that it is not run a third time.

use swifthook_core::{Event, Exit, Fingerprint, JobId, PastFailure, Prepared, Stage};

use super::bench::QueueBench;
use super::scene::{Delivered, Scene, code, worker};

const SAME: Fingerprint = Fingerprint([7; 32]);
const OTHER: Fingerprint = Fingerprint([8; 32]);

pub(super) async fn what_failed_by_itself_is_known_by_its_fingerprint(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    assert_eq!(known(&scene, SAME).await, []);
    let first = runs(&scene, 1, SAME, code(1)).await;
    let second = runs(&scene, 2, SAME, code(3)).await;
    runs(&scene, 3, OTHER, code(1)).await;
    let failures = scene.queue.known_failures(SAME).await.unwrap();
    let expected = [(second, "exit code 3"), (first, "exit code 1")];
    let found: Vec<_> = failures.iter().map(|failure| (failure.job, &*failure.how)).collect();
    assert_eq!(found, expected, "the newest first");
    assert_eq!(failures[0].at, scene.job(second).await.state.finished_at);
    let third = runs(&scene, 4, SAME, code(1)).await;
    assert_eq!(known(&scene, SAME).await, [third, second], "two of them are enough");
}

pub(super) async fn what_the_machine_failed_or_a_person_ended_is_no_failure_of_its_own(
    bench: &dyn QueueBench,
) {
    let scene = Scene::new(bench);
    let killed = Exit { signal: Some(9), ..Exit::default() };
    runs_with(&scene, Delivered::new(1).with(|spec| spec.retry.attempts = 1), SAME, killed).await;
    let claimed = prepared(&scene, Delivered::new(2), SAME).await;
    scene.command(claimed, swifthook_core::Command::Cancel).await.unwrap();
    assert_eq!(known(&scene, SAME).await, []);
}

pub(super) async fn a_success_is_the_end_of_what_failed_before(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    runs(&scene, 1, SAME, code(1)).await;
    runs(&scene, 2, SAME, code(1)).await;
    runs(&scene, 3, SAME, code(0)).await;
    assert_eq!(known(&scene, SAME).await, []);
    let last = runs(&scene, 4, SAME, code(1)).await;
    assert_eq!(known(&scene, SAME).await, [last]);
}

pub(super) async fn what_is_prepared_is_kept_with_the_job_and_its_lease_goes_on(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let job = scene.accept(&Delivered::new(1)).await.id;
    let lease = scene.claim_of(&worker("w"), job).await.lease;
    let prepared =
        Prepared { fingerprint: Some(SAME), environment: Some("uv:1234".into()), ..Prepared::default() };
    scene.apply(&lease, Event::Prepared(prepared)).await;
    scene.apply(&lease, Event::Start { at: scene.now(), host: None, gpus: None }).await;
    let state = scene.job(job).await.state;
    assert_eq!((state.stage, state.fingerprint), (Stage::Running, Some(SAME)));
    assert_eq!(state.environment.as_deref(), Some("uv:1234"));
    let lines = scene.queue.timeline(job).await.unwrap();
    let line = lines.iter().find(|line| &*line.what == "prepared").expect("it is told");
    assert_eq!(line.why.as_deref(), Some("uv:1234"));
}

async fn known(scene: &Scene<'_>, of: Fingerprint) -> Vec<JobId> {
    let failures: Vec<PastFailure> = scene.queue.known_failures(of).await.expect("the queue answers");
    failures.iter().map(|failure| failure.job).collect()
}

async fn runs(scene: &Scene<'_>, head: u32, what: Fingerprint, exit: Exit) -> JobId {
    runs_with(scene, Delivered::new(head), what, exit).await
}

/// A job that runs this, and ends so.
async fn runs_with(scene: &Scene<'_>, delivered: Delivered, what: Fingerprint, exit: Exit) -> JobId {
    let job = scene.accept(&delivered).await.id;
    let lease = scene.claim_of(&worker("w"), job).await.lease;
    scene.apply(&lease, Event::Prepared(Prepared { fingerprint: Some(what), ..Prepared::default() })).await;
    scene.apply(&lease, Event::Start { at: scene.now(), host: None, gpus: None }).await;
    scene.end(&lease, exit).await;
    job
}

/// A job that would run this.
async fn prepared(scene: &Scene<'_>, delivered: Delivered, what: Fingerprint) -> JobId {
    let job = scene.accept(&delivered).await.id;
    let lease = scene.claim_of(&worker("w"), job).await.lease;
    scene.apply(&lease, Event::Prepared(Prepared { fingerprint: Some(what), ..Prepared::default() })).await;
    job
}
