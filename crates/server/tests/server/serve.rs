//! The real program, from a signed push to a run on the pushed commit and its end.

use std::fs;

use crate::world::{self, World, appears, job_of, until};
use serde_json::{Value, json};

#[test]
fn a_signed_push_becomes_a_run_on_the_pushed_commit() {
    let world = World::new(
        "run = { command = [\"sh\", \"-c\", \"cat config.txt; git rev-parse HEAD; env | cut -d= -f1 | sort | tr '\\\\n' ' '; echo done > $SWIFTHOOK_OUTPUT_DIR/result\"] }\nenv = { COLOUR = \"blue\" }",
    );
    let server = world.serve();
    let before = world.commit("config.txt", "one\n");
    let commit = world.commit("config.txt", "two\n");
    let moved_on = world.commit("config.txt", "three\n");

    let answer = server.deliver(&world.push(&before, &commit, &["config.txt"]));
    assert_eq!(answer.status.as_u16(), 202, "{}", answer.body);
    let id = job_of(&answer);
    let job = server.wait_for(&id, &["succeeded", "failed"]);
    assert_eq!(job["state"], "succeeded", "{job:#}\n{}", world.server_log());
    assert_eq!((&job["commit"], &job["ref"]), (&json!(commit), &json!("refs/heads/main")));
    assert_eq!(job["exit"], json!({ "code": 0, "signal": null, "message": null }));
    assert!(job["timeline"].as_array().unwrap().len() >= 4, "{job:#}");

    let (status, log) = server.call("GET", &format!("/api/v1/jobs/{id}/log"), "");
    assert_eq!(status, 200, "{log}");
    assert!(log.contains("two\n") && log.contains(&commit) && !log.contains(&moved_on), "{log}");
    let names = log.lines().last().unwrap();
    for expected in ["COLOUR", "HOME", "LANG", "PATH", "SWIFTHOOK_COMMIT", "SWIFTHOOK_JOB"] {
        assert!(names.split(' ').any(|name| name == expected), "{expected} in {names}");
    }
    assert!(world.path(&format!("swifthook-state/runs/{id}-1/output/result")).exists());

    let again = server.deliver(&world.push(&before, &commit, &["config.txt"]));
    assert_eq!((again.status.as_u16(), job_of(&again)), (200, id.clone()), "{}", again.body);

    let (_, metrics) = server.call("GET", "/metrics", "");
    for line in [
        "swifthook_deliveries_total{decision=\"queued\",reason=\"\"} 1",
        "swifthook_deliveries_total{decision=\"duplicate\",reason=\"\"} 1",
        "swifthook_jobs{state=\"running\"} 0",
        "swifthook_jobs_finished_total{state=\"succeeded\"} 1",
        "swifthook_accept_seconds_count 2",
    ] {
        assert!(metrics.lines().any(|is| is == line), "{line} in\n{metrics}");
    }

    server.signal("TERM");
    assert!(server.ended().success());
    let logged = world.server_log();
    assert!(logged.contains("decision=\"queued\"") && logged.contains("repository=acme/models"), "{logged}");
    assert!(!logged.contains(world::SECRET) && !logged.contains("config.txt"), "{logged}");
}

#[test]
fn what_is_ignored_is_kept_with_its_reason() {
    let world = World::new("run = { command = [\"true\"] }\npaths = [\"configs/**\"]");
    let server = world.serve();
    let commit = world.commit("other.txt", "x");
    let answer = server.deliver(&world.push(&commit, &commit, &["other.txt"]));
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    let kept = until(|| {
        let page = server.get("/api/v1/deliveries");
        page["deliveries"].as_array().unwrap().first().cloned()
    });
    let delivery = kept.expect("the verdict is kept");
    assert_eq!(delivery["verdicts"][0]["verdict"], "skip");
    assert_eq!(delivery["verdicts"][0]["reason"], "paths");
    let whole = server.get(&format!("/api/v1/deliveries/{}", delivery["id"].as_str().unwrap()));
    assert_eq!(whole["paths"], json!([{ "path": "other.txt", "exists": true }]));
}

#[test]
fn nobody_gets_in_without_the_token_and_hooks_without_their_signature() {
    let world = World::new("run = { command = [\"true\"] }");
    let server = world.serve();
    for wrong in ["", "Bearer", "Bearer ", "Bearer wrong", "Basic YTpi"] {
        for path in ["/api/v1/jobs", "/metrics", "/readyz", "/nothing"] {
            let (status, body) = server.call_as("GET", path, "", wrong);
            assert_eq!(status, 401, "{wrong} {path}");
            assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["status"], 401);
        }
    }
    assert_eq!(server.call("GET", "/nothing", "").0, 404);
    assert_eq!(server.call("GET", "/api/v1/jobs?state=sleeping", "").0, 400);
    assert_eq!(server.call("GET", "/api/v1/jobs/nothing", "").0, 404);
    let commit = world.commit("x", "x");
    let refused = server.deliver_signed(&world.push(&commit, &commit, &["x"]), "another secret of 26 bytes");
    assert_eq!(refused.status.as_u16(), 401);
    assert_eq!(server.get("/api/v1/jobs")["jobs"], json!([]));
}

#[test]
fn who_knocks_too_often_is_told_so_and_a_signed_push_from_there_is_taken() {
    let world = World::new("run = { command = [\"true\"] }");
    let server = world.serve();
    let commit = world.commit("x", "x");
    let push = world.push(&commit, &commit, &["x"]);
    let knock = || server.deliver_signed(&push, "another secret of 26 bytes");
    let status: Vec<_> = (0..62).map(|_| knock().status.as_u16()).collect();
    assert_eq!(status[..60], [401; 60]);
    assert_eq!(status[60..], [429; 2]);
    let problem: Value = serde_json::from_str(&knock().body).unwrap();
    assert_eq!(
        (&problem["status"], &problem["type"]),
        (&json!(429), &json!("urn:swifthook:problem:too-many"))
    );
    assert_eq!(server.deliver(&push).status.as_u16(), 202);
    let (_, metrics) = server.call("GET", "/metrics", "");
    assert!(metrics.contains("reason=\"too-many\"} 3"), "{metrics}");
}

#[test]
fn a_running_job_is_cancelled_only_when_that_is_confirmed() {
    let world = World::new(
        "run = { command = [\"sh\", \"-c\", \"touch $SWIFTHOOK_OUTPUT_DIR/began; while [ -e $HOME/secret ]; do sleep 0.05; done\"] }",
    );
    let server = world.serve();
    let commit = world.commit("x", "x");
    let id = job_of(&server.deliver(&world.push(&commit, &commit, &["x"])));
    assert!(appears(&world.path(&format!("swifthook-state/runs/{id}-1/output/began"))));

    let path = format!("/api/v1/jobs/{id}/cancel");
    let (status, body) = server.call("POST", &path, "");
    assert_eq!(status, 428, "{body}");
    let asked: Value = serde_json::from_str(&body).unwrap();
    assert!(asked["would"][0].as_str().unwrap().starts_with("stop attempt 1 of sft"), "{asked}");
    assert_eq!(server.job(&id)["state"], "running");
    assert_eq!(server.call("POST", &path, "{\"confirm\":\"0000\"}").0, 428);
    let abandon = format!("/api/v1/jobs/{id}/abandon");
    let confirm = json!({ "confirm": asked["confirm"] }).to_string();
    assert_eq!(server.call("POST", &abandon, &confirm).0, 428, "it is for another command");

    let (_, body) = server.call("POST", &path, "");
    let asked: Value = serde_json::from_str(&body).unwrap();
    let confirm = json!({ "confirm": asked["confirm"] }).to_string();
    let (status, body) = server.call("POST", &path, &confirm);
    assert_eq!(status, 200, "{body}");
    assert_eq!(server.wait_for(&id, &["cancelled"])["reason"], "cancelled");
    assert_eq!(server.call("POST", &format!("/api/v1/jobs/{id}/sing"), "").0, 404);

    let (status, body) = server.call("POST", &format!("/api/v1/jobs/{id}/retry"), "");
    assert_eq!(status, 200, "{body}");
    let again: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&again["run"], &again["rerun_of"]), (&json!(1), &json!(id)));
}

#[test]
fn runs_go_on_while_the_server_is_restarted() {
    let world = World::new(
        "run = { command = [\"sh\", \"-c\", \"touch $SWIFTHOOK_OUTPUT_DIR/began; while [ ! -e $HOME/go -a -e $HOME/secret ]; do sleep 0.05; done\"] }",
    );
    let server = world.serve();
    let commit = world.commit("x", "x");
    let id = job_of(&server.deliver(&world.push(&commit, &commit, &["x"])));
    assert!(appears(&world.path(&format!("swifthook-state/runs/{id}-1/output/began"))));
    server.signal("TERM");
    assert!(server.ended().success(), "{}", world.server_log());

    let server = world.serve();
    assert_eq!(server.job(&id)["state"], "running");
    fs::write(world.path("go"), "").unwrap();
    let job = server.wait_for(&id, &["succeeded", "failed", "quarantined"]);
    assert_eq!((&job["state"], &job["attempt"]), (&json!("succeeded"), &json!(1)), "{job:#}");
}

#[test]
fn a_new_configuration_is_taken_on_sighup_and_a_broken_one_is_not() {
    let world = World::new("run = { command = [\"true\"] }\npaths = [\"never\"]");
    let server = world.serve();
    let commit = world.commit("x", "x");
    let push = world.push(&commit, &commit, &["x"]);
    assert_eq!(server.deliver(&push).status.as_u16(), 200);

    world.configure("run = { comand = 1 }");
    server.signal("HUP");
    assert!(until(|| world.server_log().contains("was refused").then_some(())).is_some());
    assert_eq!(server.deliver(&push).status.as_u16(), 200);

    world.configure("run = { command = [\"true\"] }");
    server.signal("HUP");
    assert!(until(|| (server.deliver(&push).status.as_u16() == 202).then_some(())).is_some());
}

#[test]
fn a_new_secret_in_the_file_is_good_at_once() {
    let world = World::new("run = { command = [\"true\"] }");
    let server = world.serve();
    let commit = world.commit("x", "x");
    let push = world.push(&commit, &commit, &["x"]);
    let rotated = "another secret of 26 bytes";
    assert_eq!(server.deliver_signed(&push, rotated).status.as_u16(), 401);
    fs::write(world.path("secret"), rotated).unwrap();
    let is_good = || (server.deliver_signed(&push, rotated).status.is_success()).then_some(());
    assert!(until(is_good).is_some(), "{}", world.server_log());
    // Whoever asks that often is told so.
    assert!(matches!(server.deliver(&push).status.as_u16(), 401 | 429));
}

#[test]
fn a_store_belongs_to_one_server() {
    let world = World::new("run = { command = [\"true\"] }");
    let _server = world.serve();
    let second = world.program(&["serve"]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let told = String::from_utf8(second.stderr).unwrap();
    assert!(told.contains("swifthook.db"), "{told}");
}

#[test]
fn a_store_where_nobody_may_write_is_told_where_it_may_be() {
    let world = World::new("run = { command = [\"true\"] }");
    let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    // The kernel takes files there from nobody, root neither.
    let store = "[store]\nurl = \"sqlite:/sys/swifthook.db\"";
    fs::write(world.path("swifthook.toml"), format!("{config}\n{store}\n")).unwrap();
    let refused = world.program(&["serve"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("the store `/sys/swifthook.db` cannot be written: "), "{told}");
    assert!(told.contains("`[store] url = \"sqlite:/var/lib/swifthook/swifthook.db\"`"), "{told}");
}

#[test]
fn a_server_does_not_start_on_a_wrong_configuration() {
    let world = World::new("run = { comand = [\"true\"] }");
    let refused = world.program(&["serve"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("did you mean `command`?"));
    assert!(!world.path("swifthook-state").exists());
}

#[test]
fn a_job_is_watched_until_its_end() {
    let world = World::new(
        "run = { command = [\"sh\", \"-c\", \"echo '{\\\"step\\\":3,\\\"max_steps\\\":12,\\\"loss\\\":0.5}' > $SWIFTHOOK_PROGRESS; while [ ! -e $HOME/go -a -e $HOME/secret ]; do sleep 0.05; done\"] }",
    );
    let server = world.serve();
    let commit = world.commit("x", "x");
    let id = job_of(&server.deliver(&world.push(&commit, &commit, &["x"])));
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| server.call("GET", &format!("/api/v1/jobs/{id}/events"), ""));
        let is_far = || (server.job(&id)["progress"]["step"] == 3).then_some(());
        assert!(until(is_far).is_some(), "{:#}", server.job(&id));
        fs::write(world.path("go"), "").unwrap();
        let (status, events) = watching.join().unwrap();
        assert_eq!(status, 200);
        let states: Vec<String> = events
            .split("\n\n")
            .filter_map(|event| event.strip_prefix("event: state\ndata: "))
            .map(|data| serde_json::from_str::<Value>(data).unwrap()["state"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(states.last().unwrap(), "succeeded", "{events}");
        assert!(events.contains("\"step\":3"), "{events}");
    });
}

#[test]
fn a_value_from_outside_reaches_the_run_and_no_log() {
    let world = World::new(
        "run = { command = [\"sh\", \"-c\", \"echo token $HF_TOKEN; test $HF_TOKEN = hf_abcdef\"] }\nenv = { HF_TOKEN = \"file:token\" }",
    );
    fs::write(world.path("token"), "hf_abcdef\n").unwrap();
    let server = world.serve_with(&["--log-format", "json", "--log", "debug"]);
    let commit = world.commit("x", "x");
    let id = job_of(&server.deliver(&world.push(&commit, &commit, &["x"])));
    server.wait_for(&id, &["succeeded"]);
    assert_eq!(server.call("GET", &format!("/api/v1/jobs/{id}/log"), "").1, "token [redacted]\n");
    let token = server.token.clone();
    // Until then a line may be there in part.
    server.signal("TERM");
    assert!(server.ended().success());
    let logged = world.server_log();
    assert!(!logged.contains("hf_abcdef") && !logged.contains(world::SECRET) && !logged.contains(&token));
    let lines: Vec<Value> = logged.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let delivery = lines.iter().find(|line| line["message"] == "delivery").unwrap();
    assert_eq!((&delivery["decision"], &delivery["repository"]), (&json!("queued"), &json!("acme/models")));
    assert!(delivery["us"].as_u64().unwrap() > 0 && delivery["delivery"].is_string(), "{delivery}");
}

#[test]
fn a_server_says_whether_it_is_well() {
    let world = World::new("run = { command = [\"true\"] }");
    let server = world.serve();
    let public = server.hook.trim_end_matches("/webhook").to_owned();
    let get = |url: String| {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut answer = agent.get(url).call().unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    };
    assert_eq!(get(format!("{public}/healthz")).0, 200);
    assert!(until(|| (get(format!("{public}/readyz")).0 == 200).then_some(())).is_some());
    assert_eq!(server.get("/readyz")["failing"], json!([]));
    for admin_only in ["/metrics", "/api/v1/jobs"] {
        assert_eq!(get(format!("{public}{admin_only}")).0, 404, "hooks and administration never mix");
    }
}

/// The disk of the log is full, or whoever read it has gone.
#[test]
fn pushes_are_answered_though_the_log_cannot_be_written() {
    let world = World::new("run = { command = [\"true\"] }");
    std::os::unix::fs::symlink("/dev/full", world.path("server.log")).unwrap();
    let server = world.serve();
    for file in ["x", "y"] {
        let commit = world.commit(file, file);
        assert_eq!(server.deliver(&world.push(&commit, &commit, &[file])).status.as_u16(), 202);
    }
    server.signal("TERM");
    assert!(server.ended().success());
}

#[test]
fn a_command_that_cannot_say_what_is_wrong_exits_as_if_it_could() {
    let world = World::new("run = { command = [\"true\"] }");
    let mut command = world.program(&["--config", "nowhere.toml", "serve"]);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let status = command.stderr(full).status().unwrap();
    assert_ne!(status.code(), Some(101), "it panicked");
}
