//! How much memory runs needed on their GPUs, so that the next like them is warned.

use swifthook_core::{
    Event, Exit, Fingerprint, GpuGrant, JobId, MemoryEstimate, Prepared, RanOut, Reason, Stage, Workload,
};

use super::bench::QueueBench;
use super::scene::{Delivered, Scene, code, worker};

const GIB: u64 = 1 << 30;

pub(super) async fn what_runs_needed_of_their_gpus_is_kept_and_known(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    assert_eq!(estimate(&scene, &like(7)).await, None, "nothing has run");
    let first = runs(&scene, 1, &like(7), Some(40), code(0)).await;
    runs(&scene, 2, &like(7), Some(71), code(1)).await;
    runs(&scene, 3, &like(8), Some(99), code(0)).await;
    runs(&scene, 4, &like(7), None, code(0)).await;
    let known = estimate(&scene, &like(7)).await.expect("two runs told something");
    assert_eq!((known.runs, known.peak, known.ran_out), (2, Some(71 * GIB), None));
    let state = scene.job(first).await.state;
    assert_eq!((state.peak_memory, state.workload), (Some(40 * GIB), Some(like(7))));
}

pub(super) async fn the_newest_runs_alone_are_known_for_their_memory(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    runs(&scene, 1, &like(7), Some(90), code(0)).await;
    for head in 2..7 {
        runs(&scene, head, &like(7), Some(u64::from(head)), code(0)).await;
    }
    let known = estimate(&scene, &like(7)).await.unwrap();
    assert_eq!((known.runs, known.peak), (MemoryEstimate::MOST, Some(6 * GIB)));
}

pub(super) async fn a_run_that_ran_out_of_memory_is_known_until_one_succeeds(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let out = Exit { out_of_gpu_memory_after: Some(std::time::Duration::from_secs(600)), ..code(1) };
    runs(&scene, 1, &like(7), None, out).await;
    let known = estimate(&scene, &like(7)).await.unwrap();
    assert_eq!((known.runs, known.peak), (1, None));
    assert_eq!(known.ran_out, Some(RanOut { runs: 1, on: 48 * GIB }));
    runs(&scene, 2, &like(7), Some(44), code(0)).await;
    let known = estimate(&scene, &like(7)).await.unwrap();
    assert_eq!((known.runs, known.peak, known.ran_out), (2, Some(44 * GIB), None));
}

pub(super) async fn the_memory_of_the_hungriest_attempt_of_a_job_counts(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let job = scene.accept(&Delivered::new(1)).await.id;
    for (number, gib) in [(1, 60), (2, 20)] {
        let lease = scene.claim_of(&worker("w"), job).await.lease;
        start(&scene, &lease, &like(7)).await;
        let exit = if number == 1 { Exit { signal: Some(9), ..Exit::default() } } else { code(0) };
        end(&scene, &lease, Some(gib), exit).await;
        scene.advance(3_600);
    }
    let state = scene.job(job).await.state;
    assert_eq!((state.stage, state.attempt, state.peak_memory), (Stage::Succeeded, 2, Some(60 * GIB)));
    assert_eq!(estimate(&scene, &like(7)).await.unwrap().peak, Some(60 * GIB));
}

pub(super) async fn warnings_are_kept_with_a_job_until_there_are_others(bench: &dyn QueueBench) {
    let scene = Scene::new(bench);
    let job = scene.accept(&Delivered::new(1)).await.id;
    let lease = scene.claim_of(&worker("w"), job).await.lease;
    let little = Reason::new("gpu_memory", "the GPUs here have 48 GiB");
    let other = Reason::new("other", "something else");
    scene.apply(&lease, Event::Warned(vec![little.clone()])).await;
    scene.apply(&lease, Event::Start { at: scene.now(), host: None, gpus: None }).await;
    let state = scene.job(job).await.state;
    assert_eq!((state.stage, &state.warnings[..]), (Stage::Running, &[little.clone()][..]));
    scene.apply(&lease, Event::Warned(vec![little.clone(), other.clone()])).await;
    scene.apply(&lease, Event::Warned(vec![other.clone()])).await;
    assert_eq!(scene.job(job).await.state.warnings, [other]);
    scene.apply(&lease, Event::Warned(Vec::new())).await;
    scene.end(&lease, code(0)).await;
    assert_eq!(scene.job(job).await.state.warnings, []);
    let lines = scene.queue.timeline(job).await.unwrap();
    let told: Vec<_> = lines
        .iter()
        .filter(|line| line.what.contains("warning"))
        .map(|line| (&*line.what, &*line.who, line.why.as_deref()))
        .collect();
    let expected = [
        ("warning", "w", Some("gpu_memory: the GPUs here have 48 GiB")),
        ("warning", "w", Some("other: something else")),
        ("no_warning", "w", None),
    ];
    assert_eq!(told, expected, "what is new of them");
}

fn like(number: u8) -> Workload {
    Workload {
        alike: Fingerprint([number; 32]),
        gpus_per_process: 1,
        max_length: Some(2_048),
        batch_size: Some(1),
    }
}

async fn estimate(scene: &Scene<'_>, of: &Workload) -> Option<MemoryEstimate> {
    scene.queue.memory_estimate(of).await.expect("the queue answers")
}

/// A job that runs on a GPU of 48 GiB, tells how much of it it had, and ends so.
async fn runs(scene: &Scene<'_>, head: u32, what: &Workload, gib: Option<u64>, exit: Exit) -> JobId {
    let job = scene.accept(&Delivered::new(head)).await.id;
    let lease = scene.claim_of(&worker("w"), job).await.lease;
    start(scene, &lease, what).await;
    end(scene, &lease, gib, exit).await;
    job
}

async fn start(scene: &Scene<'_>, lease: &swifthook_core::Lease, what: &Workload) {
    let prepared = Prepared { workload: Some(what.clone()), ..Prepared::default() };
    scene.apply(lease, Event::Prepared(prepared)).await;
    let grant = GpuGrant { machine: "box".into(), uuids: vec!["GPU-a".into()], memory: Some(48 * GIB) };
    scene.apply(lease, Event::Start { at: scene.now(), host: None, gpus: Some(grant) }).await;
}

async fn end(scene: &Scene<'_>, lease: &swifthook_core::Lease, gib: Option<u64>, exit: Exit) {
    scene.apply(lease, Event::Ended(exit)).await;
    let (at, peak_memory) = (scene.now(), gib.map(|gib| gib * GIB));
    let collected = Event::Collected {
        steps_done: None,
        step: None,
        checkpoint: None,
        peak_memory,
        fails: None,
        retry_at: at,
        at,
    };
    scene.apply(lease, collected).await;
}
