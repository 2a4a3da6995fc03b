//! Runs that are interrupted and go on: the toy trainer, as any trainer that keeps to the contract of `docs/trainers.md`.

use serde_json::Value;

use crate::world::{Running, World, job_of, trains, until};

const CONFIG: &str = "max_steps: 300\nsave_steps: 50\n";
/// With this pace it takes two minutes and a half.
const SLOWLY: u64 = 500;

fn world() -> World {
    world_with("")
}

fn world_with(more: &str) -> World {
    World::new(&format!("each = \"*.yaml\"\n{}\n{more}", trains("{path}")))
}

fn push(world: &World, server: &Running, text: &str) -> String {
    let commit = world.commit("sft.yaml", text);
    job_of(&server.deliver(&world.push(&commit, &commit, &["sft.yaml"])))
}

fn losses(world: &World, id: &str, attempts: u64) -> Vec<f64> {
    let log = |attempt| world.path(&format!("swifthook-state/runs/{id}-{attempt}/output/logging.jsonl"));
    let text: String =
        (1..=attempts).map(|attempt| std::fs::read_to_string(log(attempt)).unwrap_or_default()).collect();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| line["loss"].as_f64()).collect()
}

fn is_at(server: &Running, id: &str, attempt: u64, step: u64) {
    let is_there = || {
        let job = server.job(id);
        let is_far = job["progress"]["step"].as_u64() >= Some(step);
        (is_far && job["attempt"] == attempt && job["state"] == "running").then_some(())
    };
    assert!(until(is_there).is_some(), "{:#}", server.job(id));
}

#[test]
fn a_run_that_makes_way_goes_on_from_what_it_saved_and_makes_each_step_once() {
    let world = world();
    let server = world.serve();
    let whole = push(&world, &server, CONFIG);
    assert_eq!(server.wait_for(&whole, &["succeeded"])["checkpoint"]["step"], 300);

    world.pace(SLOWLY);
    let id = push(&world, &server, &format!("{CONFIG}# once more\n"));
    is_at(&server, &id, 1, 3);
    world.pace(0);
    let yielded = world
        .program(&["jobs", "yield", &id, "--yes", "--server", &server.admin])
        .env("SWIFTHOOK_ADMIN_TOKEN", &server.token)
        .output()
        .unwrap();
    assert!(yielded.status.success(), "{yielded:?}");
    assert!(String::from_utf8_lossy(&yielded.stdout).contains("is to save and make way"), "{yielded:?}");
    let job = server.wait_for(&id, &["succeeded", "failed"]);
    assert_eq!((&job["state"], &job["attempt"]), (&"succeeded".into(), &2.into()), "{job:#}");
    let saved = job["resumed_from"]["step"].as_u64().unwrap_or_else(|| panic!("{job:#}"));
    assert!((3..300).contains(&saved) && job["resumed_from"]["attempt"] == 1, "{job:#}");
    assert_eq!(
        losses(&world, &id, 2),
        losses(&world, &whole, 1),
        "each step once, and as it would have been"
    );
    let words: Vec<_> = job["timeline"].as_array().unwrap().iter().map(|line| line["what"].clone()).collect();
    assert!(words.contains(&"stopping".into()) && !words.contains(&"checkpoint_lost".into()), "{words:?}");
}

#[test]
fn a_run_that_is_cancelled_may_save_before_it_ends() {
    let world = world();
    let server = world.serve();
    world.pace(SLOWLY);
    let id = push(&world, &server, CONFIG);
    is_at(&server, &id, 1, 3);
    let misused = server.call("POST", &format!("/api/v1/jobs/{id}/yield"), "{\"save\": true}");
    assert_eq!(misused.0, 400, "{misused:?}");
    let cancelled = world
        .program(&["jobs", "cancel", &id, "--save", "--yes", "--server", &server.admin])
        .env("SWIFTHOOK_ADMIN_TOKEN", &server.token)
        .output()
        .unwrap();
    assert!(cancelled.status.success(), "{cancelled:?}");
    assert!(String::from_utf8_lossy(&cancelled.stdout).contains("is to save and end"), "{cancelled:?}");
    let job = server.wait_for(&id, &["cancelled", "failed", "succeeded"]);
    assert_eq!((&job["state"], &job["attempt"]), (&"cancelled".into(), &1.into()), "{job:#}");
    let step = job["checkpoint"]["step"].as_u64().unwrap_or_else(|| panic!("{job:#}"));
    assert!((3..300).contains(&step), "{job:#}");
    let left = format!("it left the checkpoint of step {step} (attempt 1)");
    assert!(job["detail"].as_str().unwrap().ends_with(&left), "{job:#}");
}

#[test]
fn outside_of_its_hours_a_run_makes_way_and_waits_for_them() {
    let world = world();
    let server = world.serve();
    world.pace(SLOWLY);
    let id = push(&world, &server, CONFIG);
    is_at(&server, &id, 1, 3);
    // Its hours are those of the other half of the week.
    let config = std::fs::read_to_string(world.path("swifthook.toml")).unwrap();
    let days = ["thu", "fri", "sat", "sun", "mon", "tue", "wed"];
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let today = usize::try_from(since / 86_400 % 7).unwrap();
    // Not tomorrow either: midnight may come in between.
    let hours = format!("schedule = [{{ days = \"{}\", hours = \"00:00-24:00\" }}]", days[(today + 3) % 7]);
    std::fs::write(world.path("swifthook.toml"), format!("{config}outside = \"pause\"\n{hours}\n")).unwrap();
    server.signal("HUP");
    let waits =
        || Some(server.job(&id)).filter(|job| job["waits_for"] == "window" && job["state"] == "queued");
    let job = until(waits).unwrap_or_else(|| panic!("{:#}\n{}", server.job(&id), world.server_log()));
    assert!(job["checkpoint"]["step"].as_u64().unwrap() >= 3, "{job:#}");
    assert!(job["detail"].as_str().unwrap().contains("outside of its hours until"), "{job:#}");
}

#[test]
fn a_job_whose_checkpoint_is_on_a_host_that_never_comes_back_begins_anew_if_a_person_says_so() {
    let world = world_with("[worker]\ndrain = \"yield\"");
    let server = world.serve();
    world.pace(SLOWLY);
    let id = push(&world, &server, CONFIG);
    is_at(&server, &id, 1, 3);
    let from_start = |server: &Running| {
        world
            .program(&["jobs", "retry", &id, "--from-start", "--yes", "--server", &server.admin])
            .env("SWIFTHOOK_ADMIN_TOKEN", &server.token)
            .output()
            .unwrap()
    };
    let refused = from_start(&server);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && told.contains("it has a run"), "{refused:?}");
    let misused = server.call("POST", &format!("/api/v1/jobs/{id}/cancel"), "{\"from_start\": true}");
    assert_eq!(misused.0, 400, "{misused:?}");
    server.signal("TERM");
    assert!(server.ended().success());

    // The same store on another host.
    world.pace(0);
    std::fs::write(world.path("swifthook-state/host"), "00000000\n").unwrap();
    let server = world.serve();
    let job = server.job(&id);
    assert_eq!((&job["state"], &job["waits_for"]), (&"queued".into(), &"checkpoint".into()), "{job:#}");
    let (status, asked) = server.call("POST", &format!("/api/v1/jobs/{id}/retry"), "{\"from_start\": true}");
    assert!(status == 428 && asked.contains("give up the checkpoint of step"), "{asked}");
    assert_eq!(server.job(&id)["state"], "queued", "it was only asked");
    let anew = from_start(&server);
    let told = String::from_utf8_lossy(&anew.stdout);
    assert!(anew.status.success() && told.contains("begins anew"), "{anew:?}");
    let job = server.wait_for(&id, &["succeeded", "failed"]);
    assert_eq!((&job["state"], &job["attempt"]), (&"succeeded".into(), &2.into()), "{job:#}");
    assert_eq!(job["resumed_from"], Value::Null, "{job:#}");
    let line = job["timeline"].as_array().unwrap().iter().find(|line| line["what"] == "begins_anew");
    let (who, why) =
        line.map(|line| (line["who"].clone(), line["why"].as_str().unwrap().to_owned())).unwrap();
    assert!(who == "admin" && why.starts_with("a person gave up the checkpoint of step"), "{who} {why}");
    let refused = from_start(&server);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("it has ended"), "{refused:?}");
}
