use std::collections::HashSet;

use swifthook_core::{Command, Event, Exit, JobId, Lease, QueueError, Stage};

use super::bench::QueueBench;
use super::scene::{Delivered, Scene, code, handle, worker};

pub(super) async fn a_port_is_leased_to_one_attempt_at_a_time(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let (first, one) = started(&scene, 1).await;
    let (_, two) = started(&scene, 2).await;
    let own = port(&scene, &one, BOX, &[]).await.expect("there is one");
    assert_ne!(port(&scene, &two, BOX, &[]).await, Some(own));
    let others: Vec<u16> = (1..=u16::MAX).filter(|port| *port != own).collect();
    assert_eq!(port(&scene, &two, BOX, &others).await, None, "it is another attempt's");
    assert_eq!(port(&scene, &one, BOX, &others).await, Some(own), "its own is free for another look");
    assert_eq!(port(&scene, &two, "another box", &others).await, Some(own));

    scene.end(&one, code(0)).await;
    assert_eq!(scene.stage(first).await, Stage::Succeeded);
    assert_eq!(port(&scene, &two, BOX, &others).await, Some(own), "it has ended");
}

pub(super) async fn a_port_is_leased_to_whoever_has_the_job_and_an_attempt(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let id = scene.accept(&alone(1)).await.id;
    let claimed = scene.claim_of(&worker("w"), id).await;
    let refused = scene.queue.lease_port(&claimed.lease, BOX, &[]).await;
    assert!(matches!(refused, Err(QueueError::StaleLease { .. })), "no attempt has begun: {refused:?}");
    scene.apply(&claimed.lease, Event::Start { at: scene.now(), host: None, gpus: None }).await;
    let stale = Lease { epoch: claimed.lease.epoch + 1, ..claimed.lease };
    let refused = scene.queue.lease_port(&stale, BOX, &[]).await;
    assert!(matches!(refused, Err(QueueError::StaleLease { .. })), "{refused:?}");
    assert!(port(&scene, &claimed.lease, BOX, &[]).await.is_some());
}

pub(super) async fn a_run_whose_port_was_taken_is_tried_with_another_and_counts_nothing(
    bench: &dyn QueueBench,
) {
    let scene = Scene::new(bench);
    let taken = Exit { port_taken: true, ..code(1) };
    let id = scene.accept(&alone(1)).await.id;
    let mut ports = HashSet::new();
    for attempt in 1..=3 {
        let lease = scene.start(&worker("w"), id).await.lease;
        ports.extend(port(&scene, &lease, BOX, &[]).await);
        scene.apply(&lease, Event::Submitted(handle(attempt, None))).await;
        let state = scene.end(&lease, taken.clone()).await.state;
        assert_eq!((state.stage, state.retries, state.ports_taken), (Stage::Queued, 0, attempt));
        assert_eq!(state.reason.map(|why| why.word), Some("port".into()));
    }
    assert_eq!(ports.len(), 3, "another one for each");
    let lease = scene.start(&worker("w"), id).await.lease;
    scene.apply(&lease, Event::Submitted(handle(4, None))).await;
    assert_eq!(scene.end(&lease, taken).await.state.stage, Stage::Failed, "not for ever");
}

pub(super) async fn a_run_that_was_given_up_keeps_its_port(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let (first, one) = started(&scene, 1).await;
    let (_, two) = started(&scene, 2).await;
    let own = port(&scene, &one, BOX, &[]).await.expect("there is one");
    let others: Vec<u16> = (1..=u16::MAX).filter(|port| *port != own).collect();
    scene.apply(&one, Event::Unreachable { since: scene.now() }).await;
    scene.command(first, Command::Abandon).await.expect("it is out of reach");
    assert_eq!(port(&scene, &two, BOX, &others).await, None);
    scene.queue.give_back(first, &swifthook_core::Actor("w".into())).await.expect("the queue answers");
    assert_eq!(port(&scene, &two, BOX, &others).await, Some(own));
}

async fn started(scene: &Scene<'_>, head: u32) -> (JobId, Lease) {
    let id = scene.accept(&alone(head)).await.id;
    let lease = scene.start(&worker("w"), id).await.lease;
    scene.apply(&lease, Event::Submitted(handle(1, Some("host of w")))).await;
    (id, lease)
}

async fn port(scene: &Scene<'_>, lease: &Lease, machine: &str, avoid: &[u16]) -> Option<u16> {
    scene.queue.lease_port(lease, machine, avoid).await.expect("the attempt goes on")
}

fn alone(head: u32) -> Delivered {
    Delivered::new(head).with(|spec| spec.group = format!("group {head}").into())
}

const BOX: &str = "box";
