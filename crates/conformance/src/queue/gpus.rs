//! Whose GPUs are, and who waits for some.

use std::sync::Arc;
use std::time::Duration;

use swifthook_core::{
    Actor, Claimed, Command, Event, Exit, GpuGrant, GpuLease, GpuRequest, JobId, Lease, QueueError, RunKey,
    Stage, StopKind, Wait, Worker,
};

use super::bench::QueueBench;
use super::scene::{Delivered, Scene, code, handle, worker};

pub(super) async fn a_gpu_is_leased_to_one_attempt_at_a_time(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let first = scene.accept(&alone(1)).await.id;
    let second = scene.accept(&alone(2)).await.id;
    let one = start(&scene, first, &["GPU-a", "GPU-b"]).await;
    assert_eq!(leases(&scene).await, [lease("GPU-a", first, 1), lease("GPU-b", first, 1)]);

    let claimed = scene.claim_of(&worker("w"), second).await;
    let before = (scene.job(second).await.state, scene.words(second).await);
    for taken in [&["GPU-b"][..], &["GPU-c", "GPU-a"]] {
        let refused = scene.queue.apply(&claimed.lease, on(&scene, taken)).await;
        assert!(matches!(refused, Err(QueueError::GpuTaken { .. })), "{refused:?}");
        assert_eq!(
            (scene.job(second).await.state, scene.words(second).await),
            before,
            "nothing has happened"
        );
    }
    assert_eq!(leases(&scene).await.len(), 2, "and none of the others is leased");
    // It tries others, and those of another machine are others.
    scene.apply(&claimed.lease, on(&scene, &["GPU-c"])).await;
    let third = scene.accept(&alone(3)).await.id;
    let claimed = scene.claim_of(&worker("w"), third).await;
    let elsewhere = GpuGrant { machine: "another box".into(), uuids: vec!["GPU-a".into()], memory: None };
    scene.apply(&claimed.lease, Event::Start { at: scene.now(), host: None, gpus: Some(elsewhere) }).await;
    assert_eq!(leases(&scene).await.len(), 3);
    assert_eq!(scene.queue.gpu_leases().await.expect("the queue answers").len(), 4);

    scene.apply(&one.lease, Event::Submitted(handle(1, None))).await;
    scene.end(&one.lease, code(0)).await;
    assert_eq!(leases(&scene).await, [lease("GPU-c", second, 1)]);
    let job = scene.job(first).await;
    assert_eq!(job.state.gpus, Some(grant(&["GPU-a", "GPU-b"])), "it is still known on which it ran");
}

pub(super) async fn of_those_who_want_one_gpu_at_once_one_has_it(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let mut starts = Vec::new();
    for number in 1..=12 {
        let id = scene.accept(&alone(number)).await.id;
        let claimed = scene.claim_of(&worker(&format!("worker {number}")), id).await;
        let queue = scene.queue.clone();
        // In different orders, so that they would wait for each other if nobody saw to it.
        let uuids = if number % 2 == 0 { ["GPU-a", "GPU-b"] } else { ["GPU-b", "GPU-a"] };
        let event = on(&scene, &uuids);
        starts.push(tokio::spawn(async move { queue.apply(&claimed.lease, event).await }));
    }
    let mut started = 0;
    for start in starts {
        match start.await.expect("it does not panic") {
            Ok(job) => {
                assert_eq!(job.state.stage, Stage::Running);
                started += 1;
            }
            Err(error) => assert!(matches!(error, QueueError::GpuTaken { .. }), "{error:?}"),
        }
    }
    assert_eq!((started, leases(&scene).await.len()), (1, 2));
}

pub(super) async fn gpus_are_kept_over_a_change_of_worker(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let id = scene.accept(&alone(1)).await.id;
    let first = start(&scene, id, &["GPU-a"]).await;
    let kept = [lease("GPU-a", id, 1)];
    scene.apply(&first.lease, Event::Submitted(handle(1, None))).await;
    scene.apply(&first.lease, Event::Seen).await;
    scene.apply(&first.lease, Event::Release).await;
    assert_eq!(leases(&scene).await, kept, "let go of");
    let second = scene.claim_of(&worker("v"), id).await;
    assert_eq!(leases(&scene).await, kept, "taken over");
    scene.advance(100_000);
    scene.queue.sweep().await.expect("the queue answers");
    assert_eq!(leases(&scene).await, kept, "whatever the time");
    let third = scene.claim_of(&worker("w"), id).await;
    scene.apply(&third.lease, Event::Unreachable { since: scene.now() }).await;
    scene.apply(&third.lease, Event::StopWanted(StopKind::Cancel)).await;
    assert_eq!(leases(&scene).await, kept, "out of reach, and to be stopped");
    assert!(super::scene::is_stale(&scene.queue.apply(&second.lease, Event::Vanished).await));
    assert_eq!(leases(&scene).await, kept, "whoever lost it gives nothing back");
    scene.apply(&third.lease, Event::Vanished).await;
    assert_eq!(leases(&scene).await, kept, "what is left is being collected");
    scene.collect(&third.lease).await;
    assert_eq!(leases(&scene).await, []);
}

pub(super) async fn gpus_are_free_at_every_end_of_an_attempt(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let refused = |is_permanent| Event::Refused {
        is_permanent,
        message: "full".into(),
        until: scene.now(),
        at: scene.now(),
    };
    let unfit = Event::Unfit { why: swifthook_core::Reason::new("config", "line 1"), at: scene.now() };
    let ends: [(&str, &[Event], Stage); 4] = [
        ("refused for now", &[refused(false)], Stage::Queued),
        ("refused for good", &[refused(true)], Stage::Failed),
        ("unfit", &[unfit], Stage::Failed),
        ("never ran", &[Event::NeverRan], Stage::Queued),
    ];
    for (number, (how, events, stage)) in (1..).zip(ends) {
        let id = scene.accept(&alone(number)).await.id;
        let lease = start(&scene, id, &["GPU-a"]).await.lease;
        for event in events {
            scene.apply(&lease, event.clone()).await;
        }
        let state = scene.job(id).await.state;
        assert_eq!((state.stage, leases(&scene).await), (stage, vec![]), "{how}");
        let _ = scene.command(id, Command::Cancel).await;
    }
    let exits = [
        ("good", None, code(0), Stage::Succeeded),
        ("its own failure", None, code(1), Stage::Failed),
        ("the machine's failure", None, code(137), Stage::Queued),
        ("cancelled", Some(StopKind::Cancel), code(143), Stage::Cancelled),
        ("its time is up", Some(StopKind::Timeout), code(143), Stage::Failed),
        ("to go on later", Some(StopKind::Yield), code(143), Stage::Queued),
    ];
    for (number, (how, stop, exit, stage)) in (11..).zip(exits) {
        let id = scene.accept(&alone(number)).await.id;
        let lease = start(&scene, id, &["GPU-a"]).await.lease;
        scene.apply(&lease, Event::Submitted(handle(1, None))).await;
        if let Some(kind) = stop {
            scene.apply(&lease, Event::StopWanted(kind)).await;
        }
        assert_eq!(scene.end(&lease, exit).await.state.stage, stage, "{how}");
        assert_eq!(leases(&scene).await, [], "{how}");
        let _ = scene.command(id, Command::Cancel).await;
    }
    let poison = scene.accept(&alone(21)).await.id;
    start(&scene, poison, &["GPU-a"]).await;
    for _ in 0..3 {
        scene.advance(120);
        let claimed = scene.claim_of(&worker("w"), poison).await;
        assert_eq!(leases(&scene).await.len(), 1);
        if claimed.job.state.is_poison {
            scene.apply(&claimed.lease, Event::Vanished).await;
            scene.collect(&claimed.lease).await;
        }
    }
    assert_eq!((scene.stage(poison).await, leases(&scene).await), (Stage::Quarantined, vec![]));
}

pub(super) async fn a_run_that_was_given_up_keeps_its_gpus_until_its_host_has_looked(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let lost = abandoned(&scene, 1, &["GPU-a"]).await;
    let lost_for_good = abandoned(&scene, 2, &["GPU-b"]).await;
    assert_eq!(leases(&scene).await, [lease("GPU-a", lost, 1), lease("GPU-b", lost_for_good, 1)]);
    let stranded = async |host: &str| {
        let jobs = scene.queue.stranded(host).await.expect("the queue answers");
        jobs.iter().map(|job| (job.id, job.state.handle.is_some())).collect::<Vec<_>>()
    };
    assert_eq!(stranded("host of w").await, [(lost, true), (lost_for_good, true)]);
    assert_eq!(stranded("host of v").await, [], "who cannot tell is not asked");

    let who = Actor("w".into());
    scene.queue.give_back(lost, &who).await.expect("the queue answers");
    assert_eq!(leases(&scene).await, [lease("GPU-b", lost_for_good, 1)]);
    assert_eq!(scene.words(lost).await.last().map(String::as_str), Some("gpus_given_back"));
    scene.queue.give_back(lost, &who).await.expect("once more changes nothing");
    assert_eq!(stranded("host of w").await, [(lost_for_good, true)]);

    // A host that is gone for good answers no more: a person says so.
    let before = scene.job(lost_for_good).await.state;
    assert_eq!(scene.command(lost_for_good, Command::Abandon).await.unwrap().state, before);
    assert_eq!((leases(&scene).await, stranded("host of w").await), (vec![], vec![]));

    let running = scene.accept(&alone(3)).await.id;
    start(&scene, running, &["GPU-a"]).await;
    scene.queue.give_back(running, &who).await.expect("the queue answers");
    assert_eq!(leases(&scene).await, [lease("GPU-a", running, 1)], "what goes on gives nothing back");
}

pub(super) async fn a_run_that_was_given_up_is_known_to_its_host_until_it_has_looked(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let id = abandoned(&scene, 1, &[]).await;
    let elsewhere = scene.accept(&alone(2)).await.id;
    let lease = scene.submit(&worker("v"), elsewhere).await.lease;
    scene.apply(&lease, Event::Unreachable { since: scene.now() }).await;
    scene.command(elsewhere, Command::Abandon).await.expect("nobody can reach it");
    let done = scene.accept(&alone(3)).await.id;
    scene.bring_to(done, Stage::Failed).await;
    let stranded = async |host: &str| {
        let jobs = scene.queue.stranded(host).await.expect("the queue answers");
        jobs.iter().map(|job| job.id).collect::<Vec<_>>()
    };
    assert_eq!(stranded("host of w").await, [id]);
    assert_eq!(stranded("host of v").await, [elsewhere]);

    let who = Actor("w".into());
    for _ in 0..2 {
        scene.queue.give_back(id, &who).await.expect("the queue answers");
        assert_eq!(stranded("host of w").await, []);
    }
    let words = scene.words(id).await;
    assert_eq!(words.iter().filter(|word| *word == "run_ended").count(), 1, "{words:?}");
    scene.queue.give_back(done, &who).await.expect("the queue answers");
    assert!(!scene.words(done).await.contains(&"run_ended".to_owned()), "it was never given up");
    // Its machine is gone for good: a person says so.
    scene.command(elsewhere, Command::Abandon).await.expect("it was given up before");
    assert_eq!(stranded("host of v").await, []);
}

pub(super) async fn a_job_that_has_gpus_is_not_removed_for_its_age(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let id = abandoned(&scene, 1, &["GPU-a"]).await;
    let day = Duration::from_secs(86_400);
    let retention = swifthook_core::Retention { keep: Some(day), keep_failed: Some(day) };
    let prune = async || {
        let mut from = Some(swifthook_core::PruneFrom::default());
        while let Some(begin) = from {
            from = scene.queue.prune(retention, begin, false).await.expect("the queue answers").next;
        }
    };
    scene.advance(30 * 86_400);
    prune().await;
    assert_eq!(leases(&scene).await, [lease("GPU-a", id, 1)]);
    scene.queue.give_back(id, &Actor("w".into())).await.expect("the queue answers");
    prune().await;
    assert!(scene.queue.job(id).await.expect("the queue answers").is_none());
}

pub(super) async fn who_waits_for_gpus_is_known_in_the_order_of_turns(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let mut ids = Vec::new();
    for number in 1..=4 {
        ids.push(scene.accept(&alone(number)).await.id);
        scene.advance(1);
    }
    let urgent = Delivered::new(5).with(|spec| (spec.group, spec.priority) = ("group 5".into(), 2));
    let urgent = scene.accept(&urgent).await.id;
    assert_eq!(waiting(&scene, &[]).await, [], "nobody knows yet what they ask for");
    for id in [urgent, ids[0], ids[1], ids[2], ids[3]] {
        put_off(&scene, id, 1_000).await;
    }
    assert_eq!(waiting(&scene, &[]).await, [urgent, ids[0], ids[1], ids[2], ids[3]]);
    let job = scene.job(ids[0]).await;
    assert_eq!(job.state.waits_for, Some(Wait::Gpu));
    assert_eq!(job.state.gpu_request, Some(GpuRequest::of(2)));
    assert_eq!(job.state.reason.map(|why| why.detail), Some("2 GPUs: 1 of 4 is free".to_owned()));

    // One that is being looked at waits still; one that goes, or waits for something else, does not.
    scene.advance(1_000);
    let claimed = scene.claim_of(&worker("w"), urgent).await;
    assert_eq!(waiting(&scene, &[]).await[0], urgent);
    scene.apply(&claimed.lease, on(&scene, &["GPU-a"])).await;
    let window = scene.claim_of(&worker("w"), ids[0]).await.lease;
    let until = scene.now().after(Duration::from_secs(60));
    let closed = Event::NotBefore { until, waits_for: Wait::Window, why: "opens at 20:00".into() };
    scene.apply(&window, closed).await;
    scene.command(ids[1], Command::Cancel).await.unwrap();
    assert_eq!(waiting(&scene, &[]).await, [ids[2], ids[3]]);
}

pub(super) async fn who_cannot_start_anyway_is_not_waited_for(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let labelled =
        Delivered::new(1).with(|spec| (spec.group, spec.labels) = ("1".into(), vec!["a100".into()]));
    let labelled = scene.accept(&labelled).await.id;
    let able = Worker { labels: vec!["a100".into()], ..worker("w") };
    let lease = scene.claim_of(&able, labelled).await.lease;
    scene.apply(&lease, no_gpus(&scene, 10)).await;
    assert_eq!(waiting(&scene, &["a100".into()]).await, [labelled]);
    assert_eq!(waiting(&scene, &[]).await, [], "others could not start it");

    let behind = |head| {
        Delivered::new(head).with(|spec| {
            (spec.group, spec.superseded) = ("shared".into(), swifthook_core::Superseding::Keep);
        })
    };
    let first = scene.accept(&behind(2)).await.id;
    let second = scene.accept(&behind(3)).await.id;
    put_off(&scene, first, 100).await;
    put_off(&scene, second, 100).await;
    assert_eq!(waiting(&scene, &[]).await, [first, second]);
    scene.advance(100);
    let started = scene.claim_of(&worker("w"), first).await;
    scene.apply(&started.lease, on(&scene, &["GPU-a"])).await;
    assert_eq!(waiting(&scene, &[]).await, [], "its group is busy");
    scene.apply(&started.lease, Event::Submitted(handle(1, None))).await;
    scene.end(&started.lease, code(0)).await;
    assert_eq!(waiting(&scene, &[]).await, [second]);
}

pub(super) async fn those_with_gpus_see_first_who_waits_for_some(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let id = scene.accept(&alone(1)).await.id;
    let without = Worker { has_gpus: false, ..worker("v") };
    let lease = scene.claim_of(&without, id).await.lease;
    scene.apply(&lease, no_gpus(&scene, 0)).await;
    assert!(scene.claim(&without).await.is_none(), "others have half a minute");
    let lease = scene.claim_of(&worker("w"), id).await.lease;
    scene.apply(&lease, no_gpus(&scene, 10)).await;
    scene.advance(39);
    assert!(scene.claim(&without).await.is_none());
    scene.advance(1);
    // Its recipe may ask for none by now.
    scene.claim_of(&without, id).await;
}

pub(super) async fn looking_for_gpus_again_and_again_leaves_one_line(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let id = scene.accept(&alone(1)).await.id;
    for _ in 0..5 {
        put_off(&scene, id, 10).await;
        scene.advance(10);
    }
    start(&scene, id, &["GPU-a"]).await;
    assert_eq!(scene.words(id).await, ["enqueued", "claimed", "put_off", "started"]);
    let lines = scene.queue.timeline(id).await.expect("the queue answers");
    assert_eq!(lines[2].why.as_deref(), Some("2 GPUs: 1 of 4 is free"));
    assert_eq!(lines[3].why.as_deref(), Some("attempt 1 on GPU-a"));
}

pub(super) async fn a_run_that_found_its_gpu_full_is_tried_once_more(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let id = scene.accept(&alone(1)).await.id;
    let full = Exit { out_of_gpu_memory_after: Some(Duration::from_secs(20)), ..code(1) };
    let lease = start(&scene, id, &["GPU-a"]).await.lease;
    scene.apply(&lease, Event::Submitted(handle(1, None))).await;
    let state = scene.end(&lease, full.clone()).await.state;
    assert_eq!((state.stage, state.waits_for), (Stage::Queued, Some(Wait::Gpu)));
    assert_eq!((state.attempt, state.retries, leases(&scene).await), (1, 0, vec![]));
    scene.advance(60);
    let lease = start(&scene, id, &["GPU-b"]).await.lease;
    scene.apply(&lease, Event::Submitted(handle(2, None))).await;
    let state = scene.end(&lease, full).await.state;
    assert_eq!((state.stage, state.attempt), (Stage::Failed, 2));
    assert_eq!(state.reason.map(|why| why.word), Some("training".into()));
}

/// Brings a job's run out of reach, and gives it up.
async fn abandoned(scene: &Scene<'_>, head: u32, uuids: &[&str]) -> JobId {
    let id = scene.accept(&alone(head)).await.id;
    let lease = start(scene, id, uuids).await.lease;
    scene.apply(&lease, Event::Submitted(handle(1, Some("host of w")))).await;
    scene.apply(&lease, Event::Unreachable { since: scene.now() }).await;
    let state = scene.command(id, Command::Abandon).await.expect("it is out of reach").state;
    assert_eq!(state.stage, Stage::Failed);
    id
}

async fn start(scene: &Scene<'_>, id: JobId, uuids: &[&str]) -> Claimed {
    let claimed = scene.claim_of(&worker("w"), id).await;
    let job = scene.apply(&claimed.lease, on(scene, uuids)).await;
    Claimed { job, ..claimed }
}

async fn put_off(scene: &Scene<'_>, id: JobId, seconds: u64) -> Lease {
    let lease = scene.claim_of(&worker("w"), id).await.lease;
    scene.apply(&lease, no_gpus(scene, seconds)).await;
    lease
}

fn no_gpus(scene: &Scene<'_>, seconds: u64) -> Event {
    let until = scene.now().after(Duration::from_secs(seconds));
    Event::NoGpus { until, request: GpuRequest::of(2), why: "2 GPUs: 1 of 4 is free".into() }
}

fn on(scene: &Scene<'_>, uuids: &[&str]) -> Event {
    Event::Start { at: scene.now(), host: Some("host of w".into()), gpus: Some(grant(uuids)) }
}

fn grant(uuids: &[&str]) -> GpuGrant {
    GpuGrant { machine: BOX.into(), uuids: uuids.iter().map(|uuid| Arc::from(*uuid)).collect(), memory: None }
}

fn lease(uuid: &str, job: JobId, attempt: u32) -> GpuLease {
    GpuLease { machine: BOX.into(), uuid: uuid.into(), run: RunKey { job, attempt } }
}

async fn leases(scene: &Scene<'_>) -> Vec<GpuLease> {
    scene.queue.gpus(BOX, &worker("w")).await.expect("the queue answers").leases
}

async fn waiting(scene: &Scene<'_>, labels: &[Arc<str>]) -> Vec<JobId> {
    let worker = Worker { labels: labels.to_vec(), ..worker("w") };
    let book = scene.queue.gpus(BOX, &worker).await.expect("the queue answers");
    book.waiting.into_iter().map(|waiter| waiter.job).collect()
}

fn alone(head: u32) -> Delivered {
    Delivered::new(head).with(|spec| spec.group = format!("group {head}").into())
}

const BOX: &str = "box";
