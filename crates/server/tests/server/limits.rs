//! What a run may print, and how many processes it may have, by the real program.

use serde_json::json;

use crate::world::{World, job_of};

/// What becomes of a run of this recipe, and what `jobs logs` shows of it.
fn ends(recipe: &str) -> (serde_json::Value, String) {
    let world = World::new(recipe);
    let server = world.serve();
    let commit = world.commit("x", "x");
    let id = job_of(&server.deliver(&world.push(&commit, &commit, &["x"])));
    let job = server.wait_for(&id, &["succeeded", "failed"]);
    let (status, log) = server.call("GET", &format!("/api/v1/jobs/{id}/log?tail=5"), "");
    assert_eq!(status, 200, "{log}");
    let (_, found) = server.call("GET", &format!("/api/v1/jobs/{id}/log?grep=bytes%20are%20cut"), "");
    (job, log + "--\n" + &found)
}

#[test]
fn what_is_cut_out_of_the_log_of_a_run_is_told_where_it_is_shown() {
    let (job, log) = ends(
        "run = { command = [\"sh\", \"-c\", \"echo begins; head -c 30000000 /dev/zero | tr '\\\\0' x; echo; echo ends\"] }\n\
         max_log = \"1 MiB\"",
    );
    assert_eq!(job["state"], "succeeded", "{job:#}");
    let lines: Vec<String> = log.lines().map(|line| line.chars().take(60).collect()).collect();
    assert_eq!(lines[0], "begins", "{lines:#?}");
    assert!(lines[2].starts_with("[swifthook: 2") && lines[2].contains(" bytes are cut out"), "{lines:#?}");
    assert_eq!((&*lines[4], &*lines[5], &lines[6]), ("ends", "--", &lines[2]), "{lines:#?}");
}

#[test]
fn a_run_with_too_many_processes_fails_with_the_reason_limit() {
    let (job, log) = ends(
        "run = { command = [\"sh\", \"-c\", \"for i in $(seq 300); do sleep 600 & done; wait\"] }\n\
         limits = { processes = 64 }",
    );
    assert_eq!((&job["state"], &job["reason"]), (&json!("failed"), &json!("limit")), "{job:#}\n{log}");
    let detail = job["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("processes and threads, and may have 64"), "{job:#}");
}
