//! Runs of the real ms-swift that are interrupted, and go on to the very same losses.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::world::{Running, World};
use super::{ends, is_3, push, sft, world};

/// A recipe that tries again at once, and a floor of the watchdog that a test can wait for.
fn patient_world(more: &str) -> World {
    let world = world();
    let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    let config = config.replace("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS = \"1\", CUDA_VISIBLE_DEVICES");
    let recipe = "retry = { backoff = \"1s\" }\nwatchdog = { factor = 2, at_least = \"10s\" }\n";
    fs::write(world.path("swifthook.toml"), format!("{config}{recipe}{more}")).unwrap();
    world
}

/// A training of many steps that take a while each: transformers waits three seconds before it saves.
fn long() -> String {
    sft()
        .replace("max_steps: 6", &format!("max_steps: {STEPS}"))
        .replace("save_steps: 3", "save_steps: 20")
        .replace("train_batch_size: 2", "train_batch_size: 1")
        .replace("accumulation_steps: 1", "accumulation_steps: 8\nlora_dropout: 0.0")
}

/// The losses of a run that nobody interrupts, by step.
fn whole() -> &'static BTreeMap<u64, f64> {
    static WHOLE: OnceLock<BTreeMap<u64, f64>> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let world = patient_world("");
        let server = world.serve();
        let id = push(&world, &server, &long());
        let job = ends(&world, &server, &id);
        assert_eq!(job["state"], "succeeded", "{job:#}");
        let losses = losses(&world, &id, 1);
        assert_eq!(losses.len() as u64, STEPS);
        losses
    })
}

fn losses(world: &World, id: &str, attempt: u64) -> BTreeMap<u64, f64> {
    let log = world.path(&format!("swifthook-state/runs/{id}-{attempt}/output/logging.jsonl"));
    let lines = fs::read_to_string(log).unwrap_or_default();
    let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let step = |line: &Value| line["global_step/max_steps"].as_str()?.split('/').next()?.parse().ok();
    lines.filter_map(|line| Some((step(&line)?, line["loss"].as_f64()?))).collect()
}

/// Each attempt made the steps that an uninterrupted run makes, and all of them together made all.
fn assert_the_same(world: &World, id: &str, attempts: u64) {
    let (mut seen, whole) = (BTreeMap::new(), whole());
    for attempt in 1..=attempts {
        for (step, loss) in losses(world, id, attempt) {
            let expected = whole[&step];
            assert!(
                (loss - expected).abs() < 1e-6,
                "attempt {attempt}, step {step}: {loss} and not {expected}"
            );
            seen.insert(step, loss);
        }
    }
    assert_eq!(seen.len(), whole.len(), "{seen:?}");
}

/// The job once it is so; a start takes a minute where the machine is busy.
fn until(world: &World, server: &Running, id: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(900);
    loop {
        let job = server.job(id);
        if is_so(&job) {
            return job;
        }
        let is_over = matches!(job["state"].as_str().unwrap(), "succeeded" | "failed" | "cancelled");
        let is_late = Instant::now() >= deadline;
        assert!(!is_over && !is_late, "not {what}: {job:#}\n{}", world.server_log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The job once its attempt has made more steps than these, by the trainer's own log: how far a run is, is stored every
/// ten seconds, in which a fast machine makes all of them.
fn trains(world: &World, server: &Running, id: &str, attempt: u64, beyond: u64) -> Value {
    until(world, server, id, "training", |job| {
        let furthest = || losses(world, id, attempt).last_key_value().map_or(0, |(step, _)| *step);
        job["state"] == "running" && job["attempt"] == attempt && furthest() > beyond
    })
}

fn confirmed(server: &Running, path: &str) {
    let (status, body) = server.call("POST", path, "");
    assert_eq!(status, 428, "{body}");
    let asked: Value = serde_json::from_str(&body).unwrap();
    let confirm = serde_json::json!({ "confirm": asked["confirm"] }).to_string();
    let (status, body) = server.call("POST", path, &confirm);
    assert_eq!(status, 200, "{body}");
}

/// The process that trains, which is a child of `swift`.
fn trainer(id: &str, attempt: u64) -> String {
    let mark = format!("SWIFTHOOK_RUN={id}-{attempt}");
    let holds = |pid: &str, file: &str, part: &str| {
        let text = fs::read(Path::new("/proc").join(pid).join(file)).unwrap_or_default();
        text.split(|byte| *byte == 0).any(|item| String::from_utf8_lossy(item).ends_with(part))
    };
    let pids =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut found = pids.filter(|pid| holds(pid, "environ", &mark) && holds(pid, "cmdline", "cli/sft.py"));
    found.next().expect("it trains")
}

fn signal(pid: &str, name: &str) {
    assert!(Command::new("kill").args(["-s", name, pid]).status().unwrap().success());
}

#[test]
#[ignore = "needs ms-swift: SWIFTHOOK_TEST_MS_SWIFT=FOLDER"]
fn five_times_it_makes_way_and_its_losses_are_those_of_a_run_that_nobody_interrupts() {
    let world = patient_world("");
    let server = world.serve();
    let id = push(&world, &server, &long());
    let mut saved = 0;
    for attempt in 1..=5 {
        trains(&world, &server, &id, attempt, saved + 2);
        confirmed(&server, &format!("/api/v1/jobs/{id}/yield"));
        let job = until(&world, &server, &id, "saved", |job| job["checkpoint"]["attempt"] == attempt);
        let step = job["checkpoint"]["step"].as_u64().unwrap();
        assert!(step > saved, "{job:#}");
        saved = step;
    }
    let job = ends(&world, &server, &id);
    assert_eq!((&job["state"], &job["attempt"]), (&"succeeded".into(), &6.into()), "{job:#}");
    assert_eq!(job["resumed_from"]["step"], saved, "{job:#}");
    assert_the_same(&world, &id, 6);
    let what: Vec<_> =
        job["timeline"].as_array().unwrap().iter().filter_map(|line| line["why"].as_str()).collect();
    let from = format!("attempt 6, from the checkpoint of step {saved} (attempt 5)");
    assert!(what.contains(&from.as_str()), "{what:?}");
}

/// As every run of ms-swift 3.12 does.
#[test]
#[ignore = "needs ms-swift: SWIFTHOOK_TEST_MS_SWIFT=FOLDER"]
fn one_that_saves_nothing_when_it_is_asked_to_end_goes_on_from_its_last_checkpoint() {
    let world = patient_world("");
    let server = world.serve();
    let saves_nothing = if is_3() { "" } else { "enable_jit_checkpoint: false\n" };
    let id = push(&world, &server, &format!("{}{saves_nothing}", long()));
    // Before the first checkpoint, after it, and far from the last.
    for (attempt, beyond) in [(1, 2), (2, 24), (3, 70)] {
        trains(&world, &server, &id, attempt, beyond);
        confirmed(&server, &format!("/api/v1/jobs/{id}/yield"));
        let job = until(&world, &server, &id, "begun again", |job| job["attempt"] == attempt + 1);
        let (reached, _) = losses(&world, &id, attempt).last_key_value().map(|(s, l)| (*s, *l)).unwrap();
        let from = &job["resumed_from"];
        if attempt == 1 {
            assert!(from.is_null(), "{job:#}");
        } else {
            let step = from["step"].as_u64().unwrap();
            assert!(step.is_multiple_of(20) && step <= reached && step + 40 > reached, "{reached}: {job:#}");
            assert_eq!(from["attempt"], attempt, "{job:#}");
        }
    }
    let job = ends(&world, &server, &id);
    assert_eq!((&job["state"], &job["attempt"]), (&"succeeded".into(), &4.into()), "{job:#}");
    assert_the_same(&world, &id, 4);
}

#[test]
#[ignore = "needs ms-swift: SWIFTHOOK_TEST_MS_SWIFT=FOLDER"]
fn killed_it_goes_on_from_its_checkpoint_through_a_restart_of_the_server_and_standing_still_is_noticed() {
    let world = patient_world("");
    let server = world.serve();
    let id = push(&world, &server, &long());
    trains(&world, &server, &id, 1, 45);
    // As the machine does that has no memory left: half a checkpoint may be there.
    fs::create_dir(world.path(&format!("swifthook-state/runs/{id}-1/output/checkpoint-399"))).unwrap();
    signal(&trainer(&id, 1), "KILL");
    let job = trains(&world, &server, &id, 2, 40);
    assert_eq!(job["resumed_from"]["attempt"], 1, "{job:#}");
    let from = job["resumed_from"]["step"].as_u64().unwrap();
    assert!((40..399).contains(&from) && from.is_multiple_of(20), "{job:#}");

    // It stands still while there is no server: else it might end meanwhile.
    let pid = trainer(&id, 2);
    signal(&pid, "STOP");
    server.signal("KILL");
    server.ended();
    let server = world.serve();
    let furthest = *losses(&world, &id, 2).last_key_value().unwrap().0;
    signal(&pid, "CONT");
    let job = trains(&world, &server, &id, 2, furthest + 3);
    signal(&pid, "STOP");
    let stuck = until(&world, &server, &id, "noticed", |job| job["reason"] == "silent");
    assert_eq!(stuck["state"], "running", "{stuck:#}");
    let detail = stuck["detail"].as_str().unwrap();
    let evidence = detail.rsplit("what was seen of it is in ").next().unwrap();
    let evidence = fs::read_to_string(evidence).unwrap();
    assert!(evidence.contains("cli/sft.py") && evidence.contains("State: T (stopped)"), "{evidence}");
    let (_, metrics) = server.call("GET", "/metrics", "");
    assert!(metrics.contains("swifthook_watchdog_alarms_total{kind=\"silent\"}"), "{metrics}");
    signal(&pid, "CONT");
    until(&world, &server, &id, "well again", |job| job["reason"].is_null());
    let end = ends(&world, &server, &id);
    assert_eq!((&end["state"], &end["attempt"]), (&"succeeded".into(), &2.into()), "{job:#}\n{end:#}");
    assert_the_same(&world, &id, 2);
}

#[test]
#[ignore = "needs ms-swift: SWIFTHOOK_TEST_MS_SWIFT=FOLDER"]
fn cancelled_it_saves_and_its_time_up_it_fails() {
    let world = patient_world("");
    let server = world.serve();
    let id = push(&world, &server, &long());
    trains(&world, &server, &id, 1, 2);
    confirmed(&server, &format!("/api/v1/jobs/{id}/cancel"));
    let job = ends(&world, &server, &id);
    assert_eq!(job["state"], "cancelled", "{job:#}");
    assert!(
        Path::new(job["checkpoint"]["path"].as_str().unwrap()).join("trainer_state.json").exists(),
        "{job:#}"
    );
    drop(server);

    let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    fs::write(world.path("swifthook.toml"), format!("{config}timeout = \"8s\"\n")).unwrap();
    let server = world.serve();
    let id = push(&world, &server, &long().replace("5e-4", "4e-4"));
    let job = ends(&world, &server, &id);
    assert_eq!((&job["state"], &job["reason"]), (&"failed".into(), &"timeout".into()), "{job:#}");
}

/// Enough that none ends before it is looked at.
const STEPS: u64 = 600;
