//! Who gets what.

use std::collections::HashSet;

use swifthook_core::{
    Checkpoint, Command, Event, Gap, GpuRequest, HoldReason, JobId, Stage, StopKind, Worker,
};

use super::bench::QueueBench;
use super::scene::{Delivered, Scene, code, is_illegal, is_stale, worker};

pub(super) async fn an_empty_queue_hands_out_nothing(bench: &dyn QueueBench) {
    assert!(Scene::new(bench).claim(&worker("w")).await.is_none());
}

pub(super) async fn higher_priority_goes_first_then_age(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let mut jobs = Vec::new();
    for (head, priority) in [(1, 0), (2, -3), (3, 7), (4, 0), (5, 7)] {
        let push = alone(head).with(|spec| spec.priority = priority);
        jobs.push((head, scene.accept(&push).await.id));
    }
    for expected in [3, 5, 1, 4, 2] {
        let claimed = scene.claim(&worker("w")).await.unwrap();
        let (head, _) = jobs.iter().find(|(_, id)| *id == claimed.job.id).unwrap();
        assert_eq!(*head, expected);
        assert_eq!(claimed.job.state.stage, Stage::Queued);
        assert!(claimed.run.is_none());
    }
}

pub(super) async fn an_hour_of_waiting_is_worth_a_step_of_priority(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let mut jobs = Vec::new();
    // When each is enqueued, in seconds, with what priority; and the order in which they are handed out.
    let table = [(1, 0, -1), (2, 0, 0), (3, 3_599, 1), (4, 3_600, 1), (5, 3_601, 1), (6, 7_000, 9)];
    let mut now = 0;
    for (head, second, priority) in table {
        scene.advance(second - now);
        now = second;
        jobs.push((head, scene.accept(&alone(head).with(|spec| spec.priority = priority)).await.id));
    }
    let mut order = Vec::new();
    while let Some(claimed) = scene.claim(&worker("w")).await {
        let (head, _) = jobs.iter().find(|(_, id)| *id == claimed.job.id).unwrap();
        order.push(*head);
    }
    assert_eq!(order, [6, 3, 2, 4, 5, 1]);
}

pub(super) async fn a_job_of_low_priority_is_not_starved(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let patient = scene.accept(&alone(1).with(|spec| spec.priority = -5)).await;
    for half_hour in 1..=100 {
        scene.accept(&alone(1 + half_hour)).await;
        let claimed = scene.claim(&worker("w")).await.expect("one comes for one that goes");
        scene.apply(&claimed.lease, Event::Start { at: scene.now(), host: None, gpus: None }).await;
        scene.end(&claimed.lease, code(0)).await;
        if claimed.job.id == patient.id {
            assert_eq!(half_hour, 11, "the first that came later than five hours after it has to wait");
            return;
        }
        scene.advance(1_800);
    }
    panic!("two days are over, and it has not had its turn");
}

pub(super) async fn the_greatest_and_the_least_priority_keep_their_order(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let mut jobs = Vec::new();
    for (head, priority) in [(1, i32::MIN), (2, 0), (3, i32::MAX)] {
        jobs.push(scene.accept(&alone(head).with(|spec| spec.priority = priority)).await.id);
    }
    for expected in jobs.into_iter().rev() {
        scene.claim_of(&worker("w"), expected).await;
    }
}

pub(super) async fn a_worker_gets_only_what_its_labels_allow(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let needs = |head, labels: &[&str]| {
        alone(head).with(|spec| spec.labels = labels.iter().map(|label| (*label).into()).collect())
    };
    let both = scene.accept(&needs(1, &["a100", "big"])).await;
    let one = scene.accept(&needs(2, &["a100"])).await;
    let has = |labels: &[&str]| Worker {
        labels: labels.iter().map(|label| (*label).into()).collect(),
        ..worker("w")
    };
    assert!(scene.claim(&has(&[])).await.is_none());
    assert!(scene.claim(&has(&["big", "h100"])).await.is_none());
    scene.claim_of(&has(&["a100", "h100"]), one.id).await;
    scene.claim_of(&has(&["big", "h100", "a100"]), both.id).await;
}

pub(super) async fn what_goes_on_from_a_checkpoint_that_a_host_has_waits_for_a_worker_there(
    bench: &dyn QueueBench,
) {
    let scene = Scene::new(bench);
    let here = yields(&scene, "w", 1, Some("host of w")).await;
    assert!(scene.claim(&worker("v")).await.is_none(), "its checkpoint is elsewhere");
    let anywhere = yields(&scene, "v", 2, None).await;
    scene.claim_of(&worker("v"), anywhere).await;
    let there = Worker { name: "w2".into(), ..worker("w") };
    let lease = scene.claim_of(&there, here).await.lease;
    // While it waits for GPUs, nobody elsewhere makes room for it.
    let no_gpus = Event::NoGpus { until: scene.now(), request: GpuRequest::of(2), why: "1 is free".into() };
    scene.apply(&lease, no_gpus).await;
    for (seeker, waiting) in [(&worker("v"), 0), (&there, 1)] {
        let book = scene.queue.gpus("box", seeker).await.expect("the queue answers");
        assert_eq!(book.waiting.len(), waiting, "{}", seeker.name);
    }
    let lease = scene.claim_of(&there, here).await.lease;
    // Once it is gone, any host is as good.
    scene.apply(&lease, Event::CheckpointLost { why: "somebody removed it".into() }).await;
    scene.apply(&lease, Event::Release).await;
    scene.claim_of(&worker("v"), here).await;
}

/// A job whose run made way, with a checkpoint that this host alone has, or any.
async fn yields(scene: &Scene<'_>, on: &str, head: u32, host: Option<&str>) -> JobId {
    let id = scene.accept(&alone(head)).await.id;
    let lease = scene.submit(&worker(on), id).await.lease;
    scene.apply(&lease, Event::StopWanted(StopKind::Yield)).await;
    scene.apply(&lease, Event::Ended(code(0))).await;
    let checkpoint = Some(Checkpoint {
        path: "/runs/checkpoint-30".into(),
        step: Some(30),
        attempt: 1,
        host: host.map(Into::into),
    });
    let at = scene.now();
    let left = Event::Collected {
        steps_done: Some(false),
        step: Some(31),
        checkpoint,
        peak_memory: None,
        fails: None,
        retry_at: at,
        at,
    };
    assert_eq!(scene.apply(&lease, left).await.state.stage, Stage::Queued);
    id
}

pub(super) async fn a_person_lets_begin_anew_what_waits_for_a_checkpoint_and_nothing_else(
    bench: &dyn QueueBench,
) {
    let scene = Scene::new(bench);
    let id = yields(&scene, "w", 1, Some("host of w")).await;
    assert!(scene.claim(&worker("v")).await.is_none(), "its checkpoint is elsewhere");
    let state = scene.command(id, Command::BeginAnew).await.unwrap().state;
    assert_eq!((state.stage, state.host(), state.checkpoint.clone()), (Stage::Queued, None, None));
    let lines = scene.queue.timeline(id).await.unwrap();
    let line = lines.last().unwrap();
    let why = "a person gave up the checkpoint of step 30 (attempt 1) on host of w: /runs/checkpoint-30";
    assert_eq!((&*line.who, &*line.what, line.why.as_deref()), ("ada", "begins_anew", Some(why)));
    assert!(is_illegal(&scene.command(id, Command::BeginAnew).await), "it waits for no host any more");

    let lease = scene.submit(&worker("v"), id).await.lease;
    let state = scene.job(id).await.state;
    assert_eq!((state.attempt, state.resumed_from), (2, None));
    assert!(is_illegal(&scene.command(id, Command::BeginAnew).await), "it runs");
    scene.end(&lease, code(0)).await;
    assert!(is_illegal(&scene.command(id, Command::BeginAnew).await), "it has ended");

    // A worker that has just found the checkpoint has the job no longer.
    let id = yields(&scene, "w", 2, Some("host of w")).await;
    let lease = scene.claim_of(&worker("w"), id).await.lease;
    scene.command(id, Command::BeginAnew).await.unwrap();
    let start = Event::Start { at: scene.now(), host: Some("host of w".into()), gpus: None };
    assert!(is_stale(&scene.queue.apply(&lease, start).await));
    scene.claim_of(&worker("v"), id).await;

    let anywhere = yields(&scene, "v", 3, None).await;
    assert!(is_illegal(&scene.command(anywhere, Command::BeginAnew).await), "any host has it");
}

pub(super) async fn a_worker_without_slots_gets_no_new_run(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let full = Worker { slots_free: 0, ..worker("w") };
    let queued = scene.accept(&alone(1)).await;
    assert!(scene.claim(&full).await.is_none());
    scene.start(&worker("lost"), queued.id).await;
    scene.advance(120);
    scene.claim_of(&full, queued.id).await;
}

pub(super) async fn one_job_of_a_group_at_a_time(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let first = scene.accept(&Delivered::new(1)).await;
    let second = scene.accept(&Delivered::new(2)).await;
    let elsewhere = scene.accept(&alone(3)).await;
    let lease = scene.submit(&worker("w"), first.id).await.lease;
    scene.claim_of(&worker("w"), elsewhere.id).await;
    assert!(scene.claim(&worker("w")).await.is_none());
    scene.apply(&lease, Event::Ended(code(0))).await;
    assert!(scene.claim(&worker("w")).await.is_none(), "what it left is being collected");
    scene.collect(&lease).await;
    scene.claim_of(&worker("w"), second.id).await;
}

pub(super) async fn a_claimed_job_keeps_its_group(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let first = scene.accept(&Delivered::new(1)).await;
    let second = scene.accept(&Delivered::new(2)).await;
    let lease = scene.claim_of(&worker("w"), first.id).await.lease;
    assert!(scene.claim(&worker("v")).await.is_none());
    scene.apply(&lease, Event::Hold(HoldReason::RecipeGone)).await;
    scene.claim_of(&worker("v"), second.id).await;
}

pub(super) async fn a_job_out_of_reach_keeps_its_group(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let lost = scene.accept(&Delivered::new(1)).await;
    scene.accept(&Delivered::new(2)).await;
    let lease = scene.submit(&worker("w"), lost.id).await.lease;
    scene.apply(&lease, Event::Unreachable { since: scene.now() }).await;
    scene.advance(100_000);
    let job = scene.job(lost.id).await;
    assert_eq!((job.state.stage, job.state.unreachable_since.is_some()), (Stage::Running, true));
    assert!(scene.claim(&worker("on another host")).await.is_none());
}

pub(super) async fn a_diff_takes_no_slot_and_no_group(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let running = scene.accept(&Delivered::new(1)).await;
    scene.submit(&worker("w"), running.id).await;
    let undiffed = Delivered::new(2).held(HoldReason::NeedsDiff(Gap::NewBranch));
    let held = scene.accept(&undiffed.with(|spec| spec.labels = vec!["a100".into()])).await;

    let full = Worker { slots_free: 0, ..worker("v") };
    let claimed = scene.claim_of(&full, held.id).await;
    assert_eq!((claimed.job.state.stage, claimed.lease.attempt), (Stage::Held, 0));
    assert!(scene.claim(&full).await.is_none(), "and is handed out once");

    let third = scene.accept(&Delivered::new(3)).await;
    scene.bring_running_to_its_end(running.id).await;
    scene.claim_of(&worker("w"), third.id).await;
}

pub(super) async fn no_job_is_handed_out_twice(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    for head in 1..=200 {
        scene.accept(&alone(head)).await;
    }
    let claims: Vec<_> = (0..8)
        .map(|i| {
            let (queue, worker) = (scene.queue.clone(), worker(&format!("worker {i}")));
            tokio::spawn(async move {
                let mut mine = Vec::new();
                while let Some(claimed) = queue.claim(&worker).await.unwrap() {
                    mine.push(claimed.job.id);
                }
                mine
            })
        })
        .collect();
    let mut all = Vec::new();
    for claim in claims {
        all.extend(claim.await.unwrap());
    }
    assert_eq!(all.len(), 200);
    assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), 200);
}

pub(super) async fn a_claim_that_nothing_came_of_is_handed_out_again(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let job = scene.accept(&Delivered::new(1)).await;
    let first = scene.claim_of(&worker("w"), job.id).await.lease;
    scene.advance(59);
    assert!(scene.claim(&worker("v")).await.is_none());
    scene.advance(1);
    let second = scene.claim_of(&worker("v"), job.id).await;
    assert_eq!((second.lease.epoch, second.lease.attempt), (first.epoch + 1, 0));
    assert_eq!(second.job.state.crashes, 1, "what it is to run may be what killed its worker");
}

impl Scene<'_> {
    async fn bring_running_to_its_end(&self, id: swifthook_core::JobId) {
        self.advance(120);
        let same_host = worker("w");
        let claimed = self.claim_of(&same_host, id).await;
        self.end(&claimed.lease, code(0)).await;
    }
}

/// A push whose job is alone in its group.
fn alone(head: u32) -> Delivered {
    Delivered::new(head).with(|spec| spec.group = format!("group {head}").into())
}
