//! How jobs come by GPUs, over the memory queue, a scripted launcher and scripted GPUs: no driver is asked.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::support::{Asks, Play, Working};
use swifthook_conformance::world::{Course, Ending, ScriptedGpus};
use swifthook_core::{
    Actor, Admission, Admit, Command, Fingerprint, Fleet, GpuRequest, History, Job, JobId, JobQueue, Reason,
    Stage, Standing, Stop, Timestamp, Wait, Workload,
};
use swifthook_runner::{Compose, Composed, Draft, Uncomposed};
use tokio::time::sleep;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// A recipe that asks for so many of four.
fn on_gpus(count: u32) -> (Play, Arc<ScriptedGpus>) {
    let play = Play::new();
    play.book.change(|entry| entry.gpus = Some(GpuRequest::of(count)));
    (play, Arc::new(ScriptedGpus::new("box", 4)))
}

fn start_on(play: &Play, name: &str, gpus: &Arc<ScriptedGpus>, slots: usize) -> Working {
    let gpus = gpus.clone();
    play.start_with(name, play.queue.clone(), move |options| {
        (options.gpus, options.slots) = (gpus, slots);
    })
}

async fn leased(play: &Play) -> Vec<String> {
    let leases = play.queue.gpu_leases().await.expect("the queue answers");
    leases.iter().map(|lease| format!("{} {}", lease.machine, lease.uuid)).collect()
}

fn visible(play: &Play, number: usize) -> String {
    play.launcher.runs()[number].spec.env["CUDA_VISIBLE_DEVICES"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_run_sees_the_gpus_that_it_has_and_gives_them_back() {
    let (play, gpus) = on_gpus(2);
    gpus.set(0, Standing::InUse("30 GiB by pid 4711".into()));
    let _worker = start_on(&play, "a", &gpus, 1);
    let id = play.push("main").await;
    let job = play.run(id).await;
    assert_eq!(visible(&play, 0), "GPU-1,GPU-2");
    assert_eq!(play.launcher.runs()[0].spec.env["CUDA_DEVICE_ORDER"], "PCI_BUS_ID");
    assert_eq!(job.state.gpus.unwrap().uuids.len(), 2);
    assert_eq!(leased(&play).await, ["box GPU-1", "box GPU-2"]);
    play.ends_as(id, Stage::Succeeded, "").await;
    assert_eq!(leased(&play).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_asks_for_no_gpu_sees_none_unless_its_environment_says_so() {
    let play = Play::new();
    let _worker = play.start("a");
    let id = play.push("main").await;
    play.end(id).await;
    assert_eq!(visible(&play, 0), "");
    play.book.change(|entry| entry.env.push(("CUDA_VISIBLE_DEVICES", "3")));
    let id = play.push("main").await;
    play.end(id).await;
    assert_eq!(visible(&play, 1), "3");
}

#[tokio::test(start_paused = true)]
async fn a_job_waits_for_gpus_that_others_have_and_says_so() {
    let (play, gpus) = on_gpus(3);
    let _worker = start_on(&play, "a", &gpus, 4);
    let first = play.push("a").await;
    play.run(first).await;
    let second = play.push("b").await;
    let waits = play.until(second, |job| job.state.waits_for == Some(Wait::Gpu)).await;
    let why = waits.state.reason.unwrap();
    assert_eq!(why.detail, "3 GPUs: 1 of 4 is free, 3 are leased, 1st in line");
    let third = play.push("c").await;
    let waits = play.until(third, |job| job.state.waits_for == Some(Wait::Gpu)).await;
    assert_eq!(waits.state.reason.unwrap().detail, "3 GPUs: 1 of 4 is free, 3 are leased, 2nd in line");
    for id in [first, second, third] {
        play.ends_as(id, Stage::Succeeded, "").await;
    }
    assert_eq!(play.words(third).await[..4], ["enqueued", "claimed", "put_off", "started"]);
}

#[tokio::test(start_paused = true)]
async fn four_are_not_starved_by_ones() {
    let (play, gpus) = on_gpus(1);
    let _worker = start_on(&play, "a", &gpus, 10);
    let running = play.push("running").await;
    play.run(running).await;
    play.book.change(|entry| entry.gpus = Some(GpuRequest::of(4)));
    let big = play.push("big").await;
    play.until(big, |job| job.state.waits_for == Some(Wait::Gpu)).await;
    // From now on one small job comes every minute, each of which would find a GPU; a run takes ten.
    play.book.small_ones_are("small");
    let mut small = Vec::new();
    for number in 0..30 {
        small.push(play.push(&format!("small {number}")).await);
        sleep(MINUTE).await;
    }
    for id in small.iter().chain([&big]) {
        play.ends_as(*id, Stage::Succeeded, "").await;
    }
    let began = |id: JobId| play.launcher.runs().into_iter().find(|run| run.key.job == id).unwrap().began;
    let big_began = began(big);
    let ended = play.job(running).await.state.finished_at.unwrap();
    assert!(big_began.since(ended) < MINUTE, "it waited {:?} for what was free", big_began.since(ended));
    assert!(small.iter().all(|id| began(*id) > big_began), "it came first");
}

#[tokio::test(start_paused = true)]
async fn workers_of_one_machine_share_its_gpus_and_do_not_collide() {
    let (play, gpus) = on_gpus(1);
    let _workers: Vec<_> = ["a", "b", "c"].map(|name| start_on(&play, name, &gpus, 4)).into();
    let mut ids = Vec::new();
    for number in 0..12 {
        ids.push(play.push(&format!("branch {number}")).await);
    }
    for id in ids {
        play.ends_as(id, Stage::Succeeded, "").await;
    }
    assert_eq!(play.launcher.wrongs(), [""; 0]);
    assert_eq!(leased(&play).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_worker_without_gpus_leaves_the_job_to_one_with_some_and_never_fails_it() {
    let (play, gpus) = on_gpus(1);
    let without = play.start("without");
    let id = play.push("main").await;
    let waits = play.until(id, |job| job.state.waits_for == Some(Wait::Gpu)).await;
    assert_eq!(waits.state.reason.unwrap().detail, "1 GPU: this machine has no GPU");
    sleep(HOUR).await;
    assert_eq!((play.job(id).await.state.stage, play.words(id).await.len()), (Stage::Queued, 3));
    let _with = start_on(&play, "with", &gpus, 1);
    play.run(id).await;
    play.ends_as(id, Stage::Succeeded, "").await;
    // Its recipe asks for none any more.
    let id = play.push("main").await;
    drop(without);
    play.ends_as(id, Stage::Succeeded, "").await;
}

#[tokio::test(start_paused = true)]
async fn a_recipe_that_asks_for_no_gpu_any_more_starts_where_there_is_none() {
    let (play, _) = on_gpus(1);
    let _worker = play.start("without");
    let id = play.push("main").await;
    play.until(id, |job| job.state.waits_for == Some(Wait::Gpu)).await;
    play.book.change(|entry| entry.gpus = None);
    play.ends_as(id, Stage::Succeeded, "").await;
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_does_not_answer_makes_a_job_wait() {
    let (play, gpus) = on_gpus(1);
    gpus.fall_silent("nvidia-smi does not answer");
    let _worker = start_on(&play, "a", &gpus, 1);
    let id = play.push("main").await;
    let waits = play.until(id, |job| job.state.waits_for == Some(Wait::Gpu)).await;
    assert_eq!(waits.state.reason.unwrap().detail, "1 GPU: nvidia-smi does not answer");
}

#[tokio::test(start_paused = true)]
async fn gpus_stay_with_a_run_whose_worker_is_lost() {
    let (play, gpus) = on_gpus(4);
    let lost = start_on(&play, "a", &gpus, 1);
    let id = play.push("main").await;
    play.run(id).await;
    lost.crash().await;
    let _other = start_on(&play, "b", &gpus, 1);
    sleep(2 * MINUTE).await;
    assert_eq!(leased(&play).await.len(), 4);
    play.ends_as(id, Stage::Succeeded, "").await;
    assert_eq!((play.attempts(id), leased(&play).await), (vec![1], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_given_up_keeps_its_gpus_until_it_is_found_and_ended() {
    let (play, gpus) = on_gpus(4);
    play.launcher.plan(|_| Course { lasts: 100 * HOUR, ..Course::default() });
    let _worker = start_on(&play, "a", &gpus, 1);
    let id = play.push("main").await;
    play.run(id).await;
    play.launcher.lose_sight_for(HOUR);
    play.until(id, |job| job.state.unreachable_since.is_some()).await;
    play.queue.command(id, Command::Abandon, &Actor("mona".into())).await.unwrap();
    play.ends_as(id, Stage::Failed, "abandoned").await;
    let next = play.push("main").await;
    play.until(next, |job| job.state.waits_for == Some(Wait::Gpu)).await;
    sleep(30 * MINUTE).await;
    assert_eq!((leased(&play).await.len(), play.launcher.runs().len()), (4, 1), "nobody knows of it");
    // Its machine answers, and the run is there.
    play.launcher.plan(|_| Course::default());
    play.ends_as(next, Stage::Succeeded, "").await;
    let runs = play.launcher.runs();
    assert!(matches!(runs[0].stops[..], [Stop::Grace(_), ..]), "{:?}", runs[0].stops);
    assert!(runs[1].began > runs[0].ends);
    assert_eq!(play.words(id).await.last().map(String::as_str), Some("gpus_given_back"));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_finds_its_gpu_full_is_tried_once_more_on_others() {
    let (play, gpus) = on_gpus(1);
    play.launcher.plan(|_| Course {
        lasts: Duration::from_secs(30),
        ending: Ending::OutOfGpuMemory,
        ..Course::default()
    });
    let _worker = start_on(&play, "a", &gpus, 1);
    let id = play.push("main").await;
    play.run(id).await;
    let waits = play.until(id, |job| job.state.waits_for == Some(Wait::Gpu)).await;
    assert_eq!((waits.state.attempt, waits.state.retries), (1, 0));
    gpus.set(0, Standing::InUse("by hand".into()));
    play.ends_as(id, Stage::Failed, "training").await;
    assert_eq!(play.attempts(id), [1, 2]);
    assert_eq!((visible(&play, 0), visible(&play, 1)), ("GPU-0".to_owned(), "GPU-1".to_owned()));
}

/// It opens tomorrow.
struct Closed;

impl Admission for Closed {
    fn admit(&self, _job: &Job, now: Timestamp, _fleet: &Fleet) -> Admit {
        Admit::NotBefore(now.after(24 * HOUR), Wait::Window, "closed".into())
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_its_machine_can_never_serve_is_told_before_its_hours_come() {
    for (count, told) in [(4, "closed"), (5, "closed; and 5 GPUs: this machine has 4 such GPUs")] {
        let (play, gpus) = on_gpus(count);
        play.book.change(|entry| entry.admission = Arc::new(Closed));
        let _worker = start_on(&play, "a", &gpus, 1);
        let id = play.push("main").await;
        let waits = play.until(id, |job| job.state.waits_for == Some(Wait::Window)).await;
        assert_eq!(waits.state.reason.unwrap().detail, told);
        assert_eq!(waits.state.attempt, 0);
    }
}

/// Says what decides how much memory a run needs.
struct Loading;

#[async_trait]
impl Compose for Loading {
    fn most_bytes(&self) -> Option<usize> {
        None
    }

    async fn compose(&self, _job: &Job, draft: Draft) -> Result<Composed, Uncomposed> {
        let alike = Fingerprint::of([draft.gpus.to_string()]);
        let workload = Workload { alike, gpus_per_process: 1, max_length: None, batch_size: Some(1) };
        let warnings = vec![Reason::new("slow", "its data are far away")];
        let Draft { argv, env, .. } = draft;
        Ok(Composed { argv, env, workload: Some(workload), warnings, ..Composed::default() })
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_is_warned_where_the_last_runs_needed_more_memory_than_it_may_get_and_runs_all_the_same() {
    let (play, gpus) = on_gpus(1);
    play.book.change(|entry| entry.compose = Some(Arc::new(Loading)));
    play.launcher.plan(|_| Course { memory_gib: Some(71.25), ..Course::default() });
    let _worker = start_on(&play, "a", &gpus, 1);
    let words = async |id| {
        let state = play.job(id).await.state;
        let words: Vec<_> = state.warnings.iter().map(|warning| warning.word.to_string()).collect();
        (words, state.stage)
    };
    let warned = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();

    let first = play.push("main").await;
    play.end(first).await;
    assert_eq!(words(first).await, (warned(&["slow"]), Stage::Succeeded), "nothing is known of its memory");
    assert_eq!(play.job(first).await.state.peak_memory, Some((71 << 30) + (1 << 28)));

    let asks = |gib: u64| {
        let request = GpuRequest { min_free_memory: gib << 30, ..GpuRequest::of(1) };
        play.book.change(|entry| entry.gpus = Some(request));
    };
    asks(40);
    let second = play.push("main").await;
    play.end(second).await;
    assert_eq!(words(second).await, (warned(&["slow", "gpu_memory"]), Stage::Succeeded));
    let told = &play.job(second).await.state.warnings[1].detail;
    assert_eq!(
        told,
        "the last run of this recipe used up to 71.2 GiB on each GPU; `min_free_memory` asks for 40 GiB"
    );
    assert_eq!(play.words(second).await[..5], ["enqueued", "claimed", "prepared", "warning", "started"]);

    asks(72);
    let third = play.push("main").await;
    play.end(third).await;
    assert_eq!(words(third).await.0, warned(&["slow"]), "what it gets is enough");
    asks(40);
    play.book.change(|entry| entry.gpus = Some(GpuRequest { count: 2, ..entry.gpus.clone().unwrap() }));
    let other = play.push("main").await;
    play.end(other).await;
    assert_eq!(words(other).await.0, warned(&["slow"]), "nobody knows what it needs on two");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_waits_for_its_hours_is_warned_before_they_come() {
    let (play, gpus) = on_gpus(1);
    play.book.change(|entry| entry.compose = Some(Arc::new(Loading)));
    let night = (play.clock)().after(10 * HOUR);
    play.book.change(|entry| {
        entry.admission = Arc::new(Asks(move |_: &Job, now: Timestamp, _: &Fleet| match now < night {
            true => Admit::NotBefore(night, Wait::Window, "opens at night".into()),
            false => Admit::Now,
        }));
    });
    let _worker = start_on(&play, "a", &gpus, 1);
    let id = play.push("main").await;
    let waits = play.until(id, |job| job.state.waits_for == Some(Wait::Window)).await;
    assert_eq!(waits.state.warnings.len(), 1);
    play.ends_as(id, Stage::Succeeded, "").await;
}
