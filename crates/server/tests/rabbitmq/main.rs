//! The real program with a real RabbitMQ in front of its store, which these tests start for themselves and stop: they
//! need the programs of an installed one, and fail without them.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

#[expect(dead_code, reason = "other tests need the rest of it")]
#[path = "../../../queue/tests/rabbitmq/broker.rs"]
mod broker;
#[expect(dead_code, reason = "other tests need the rest of it")]
#[path = "../server/world.rs"]
mod world;

use std::collections::HashSet;

use broker::Broker;
use serde_json::{Value, json};
use world::{Running, World, until};

#[test]
fn a_push_is_accepted_by_the_broker_and_trained() {
    let (_broker, world) = site();
    let server = world.serve();
    is_ready(&server);
    let delivery = accepted(&server, &push(&world, 1));
    let job = job_of(&server, &delivery);
    assert_eq!(server.wait_for(&job, &["succeeded", "failed"])["state"], "succeeded");
    // It is counted once it is stored, and may have been trained by then.
    let metrics = || server.call("GET", "/metrics", "").1;
    let is_counted = || metrics().contains("swifthook_broker_messages_total{what=\"stored\"} 1");
    assert!(until(|| is_counted().then_some(())).is_some(), "{}", metrics());
    // A push that trains nothing leaves its verdict too, by the same way.
    let mut other = push(&world, 2);
    other["ref"] = json!("refs/heads/other");
    let delivery = accepted(&server, &other);
    let kept = kept(&server, &delivery);
    assert_eq!((&kept["verdicts"][0]["verdict"], &kept["jobs"]), (&json!("skip"), &json!([])));
    server.signal("TERM");
    assert!(server.ended().success());
    assert!(!world.server_log().contains("hunter2"), "{}", world.server_log());
}

#[test]
fn what_was_accepted_is_trained_once_however_often_the_server_is_killed_after_it() {
    let (_broker, world) = site();
    let mut deliveries = Vec::new();
    for number in 0..8 {
        let server = world.serve();
        is_ready(&server);
        for part in 0..3 {
            deliveries.push(accepted(&server, &push(&world, 10 * number + part)));
        }
        // Some of them are at the broker, some in the store, some on their way.
        server.signal("KILL");
    }
    let server = world.serve();
    let jobs: Vec<_> = deliveries.iter().map(|delivery| job_of(&server, delivery)).collect();
    assert_eq!(jobs.iter().collect::<HashSet<_>>().len(), jobs.len());
    for job in &jobs {
        assert_eq!(server.wait_for(job, &["succeeded", "failed", "quarantined"])["state"], "succeeded");
    }
    let ran = std::fs::read_to_string(world.path("ran")).unwrap();
    let mut ran: Vec<_> = ran.lines().collect();
    let mut expected: Vec<_> = jobs.iter().map(String::as_str).collect();
    ran.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ran, expected, "each ran once");
    let receipts = server.get("/api/v1/deliveries?limit=100")["deliveries"].as_array().unwrap().len();
    assert_eq!(receipts, deliveries.len(), "each has one receipt");
}

#[test]
fn while_the_broker_is_away_pushes_are_refused_and_afterwards_taken_without_a_restart() {
    let (mut broker, world) = site();
    let server = world.serve();
    is_ready(&server);
    broker.settle();
    is_ready(&server);
    broker.kill();
    let push = push(&world, 1);
    let refused = server.deliver(&push);
    assert_eq!(refused.status, 503, "{}", refused.body);
    let (_, why) = until(|| Some(server.call("GET", "/readyz", "")).filter(|(status, _)| *status == 503))
        .expect("it is not ready");
    assert!(why.contains("\"failing\":[\"broker\"]") && !why.contains("hunter2"), "{why}");
    broker.start_again();
    is_ready(&server);
    let delivery = accepted(&server, &push);
    let job = job_of(&server, &delivery);
    assert_eq!(server.wait_for(&job, &["succeeded", "failed"])["state"], "succeeded");
}

/// A world whose pushes go through a broker of its own.
fn site() -> (Broker, World) {
    let broker = Broker::start();
    let world = World::new("");
    std::fs::write(world.path("broker"), broker.url()).unwrap();
    std::fs::write(world.path("key"), "a key of the broker, hunter2").unwrap();
    world.configure(
        "superseded = \"keep\"\ngroup = \"{commit}\"\n\
         run = { command = [\"sh\", \"-c\", \"echo $SWIFTHOOK_JOB >> $HOME/ran\"] }\n\
         [worker]\nslots = 4\n[intake]\namqp = \"file:broker\"\nkeys = [\"file:key\"]\n",
    );
    (broker, world)
}

fn push(world: &World, number: u32) -> Value {
    let before = world.commit("before.txt", &number.to_string());
    let commit = world.commit("config.txt", &number.to_string());
    world.push(&before, &commit, &["config.txt"])
}

fn is_ready(server: &Running) {
    until(|| (server.call("GET", "/readyz", "").0 == 200).then_some(())).expect("it becomes ready");
}

/// Delivers a push until the broker has it, and gives the id of its receipt.
fn accepted(server: &Running, push: &Value) -> String {
    let answer = until(|| Some(server.deliver(push)).filter(|answer| answer.status != 503));
    let answer = answer.expect("the push is taken");
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((answer.status.as_u16(), &body["decision"]), (202, &json!("accepted")), "{body}");
    assert_eq!(body["verdicts"][0]["jobs"], json!([]));
    body["delivery"].as_str().unwrap().to_owned()
}

/// The receipt of a push that was accepted, once it is stored.
fn kept(server: &Running, delivery: &str) -> Value {
    let found = until(|| {
        let (status, body) = server.call("GET", &format!("/api/v1/deliveries/{delivery}"), "");
        (status == 200).then(|| serde_json::from_str(&body).unwrap())
    });
    found.unwrap_or_else(|| panic!("{delivery} is not stored"))
}

fn job_of(server: &Running, delivery: &str) -> String {
    let kept = kept(server, delivery);
    kept["jobs"][0].as_str().unwrap_or_else(|| panic!("no job: {kept}")).to_owned()
}
