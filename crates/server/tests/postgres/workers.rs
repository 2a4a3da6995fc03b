//! Workers beside servers, each with runs of its own.

use serde_json::Value;

use crate::cluster::{Cluster, free_port};
use crate::site::{Site, marks_and_ends_with};
use crate::world::{Running, World, job_of, trains, until};

#[test]
fn a_worker_that_has_the_labels_runs_what_a_server_without_slots_took() {
    let cluster = Cluster::shared();
    let recipe = format!("labels = [\"gpu-a100\"]\n{}", marks_and_ends_with(0));
    let site = Site::new(&cluster.database("labels"), &recipe);
    let server = site.serve("slots = 0");
    let plain = site.work("plain", "labels = [\"big\"]");
    assert_eq!(workers(&server, 1)[0]["labels"], Value::from(vec!["big"]));
    let id = job_of(&server.deliver(&site.push().1));
    let gpu = site.work("gpu", "slots = 2\nlabels = [\"big\", \"gpu-a100\"]");
    server.wait_for(&id, &["running"]);
    assert!(until(|| (site.runs() == 1).then_some(())).is_some());
    let all = workers(&server, 2);
    let gpu_worker = all.iter().find(|worker| worker["slots"] == 2).unwrap();
    let started = server.job(&id)["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .find(|line| line["what"] == "started")
        .cloned();
    assert_eq!(started.unwrap()["who"], gpu_worker["name"]);
    assert!(all.iter().all(|worker| worker["state"] == "working"), "{all:#?}");

    let table = site.world.program(&["workers", "--server", &server.admin]).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.starts_with("WORKER") && table.contains("big,gpu-a100") && table.lines().count() == 3,
        "{table}"
    );

    // Asked twice, it lets go of the run all the same; and nobody but its like may have it.
    gpu.signal("TERM");
    gpu.signal("TERM");
    assert!(gpu.ended().success());
    let other = site.work("other", "labels = [\"gpu-a100\"]");
    workers(&server, 2);
    site.lets_go();
    let released = server.job(&id);
    assert_eq!((&released["state"], &released["attempt"]), (&Value::from("running"), &Value::from(1)));
    let _gpu = site.work("gpu", "slots = 2\nlabels = [\"gpu-a100\"]");
    let job = server.wait_for(&id, &["succeeded", "failed"]);
    assert_eq!((&job["state"], &job["attempt"]), (&Value::from("succeeded"), &Value::from(1)), "{job:#}");
    assert_eq!(site.runs(), 1);
    for worker in [plain, other] {
        worker.signal("TERM");
        assert!(worker.ended().success());
    }
    workers(&server, 1);
}

#[test]
fn the_log_of_a_run_on_another_machine_is_shown_while_it_runs_and_afterwards() {
    let cluster = Cluster::shared();
    let recipe = "run = { command = [\"sh\", \"-c\", \"echo step 1 $TOKEN; while [ ! -e $HOME/go ]; do sleep 0.05; done; echo step 2\"] }\nenv = { TOKEN = \"file:token\" }";
    let site = Site::new(&cluster.database("logs"), recipe);
    std::fs::write(site.world.path("token"), "hf_abcdefgh").unwrap();
    let server = site.serve("slots = 0");
    let _worker = site.work("elsewhere", "slots = 1");
    let id = job_of(&server.deliver(&site.push().1));
    server.wait_for(&id, &["running"]);
    let log = || server.call("GET", &format!("/api/v1/jobs/{id}/log"), "");
    let early = until(|| Some(log()).filter(|(status, text)| *status == 200 && !text.is_empty()));
    assert_eq!(early.unwrap_or_else(log).1, "step 1 [redacted]\n");
    site.lets_go();
    server.wait_for(&id, &["succeeded", "failed"]);
    let whole = until(|| Some(log()).filter(|(_, text)| text.contains("step 2")));
    assert_eq!(whole.unwrap_or_else(log).1, "step 1 [redacted]\nstep 2\n");
}

#[test]
fn a_run_goes_on_while_its_store_moves_from_sqlite_to_postgresql() {
    let cluster = Cluster::shared();
    let url = cluster.database("moves");
    let site = Site::new(&url, &marks_and_ends_with(0));
    let embedded = site.world.serve();
    let id = job_of(&embedded.deliver(&site.push().1));
    assert!(until(|| (site.runs() == 1).then_some(())).is_some());
    embedded.wait_for(&id, &["running"]);
    embedded.signal("TERM");
    assert!(embedded.ended().success());
    let copied = site.world.program(&["store", "copy", "--to", &url]).output().unwrap();
    assert!(copied.status.success(), "{copied:?}");
    let server = site.serve("slots = 1");
    site.lets_go();
    let job = server.wait_for(&id, &["succeeded", "failed"]);
    assert_eq!((&job["state"], &job["attempt"]), (&Value::from("succeeded"), &Value::from(1)), "{job:#}");
    assert_eq!(site.runs(), 1);
}

/// Its machine may be gone for good, and only it could tell how the run is.
#[test]
fn a_run_whose_machine_is_away_can_be_given_up_and_is_ended_when_the_machine_is_back() {
    let cluster = Cluster::shared();
    let recipe = "run = { command = [\"sh\", \"-c\", \"echo $$ > $HOME/pid; exec sleep 600\"] }";
    let site = Site::new(&cluster.database("given_up"), recipe);
    let server = site.serve("slots = 0");
    let away = site.work("away", "slots = 1");
    let id = job_of(&server.deliver(&site.push().1));
    server.wait_for(&id, &["running"]);
    let pid =
        until(|| std::fs::read_to_string(site.world.path("pid")).ok().filter(|pid| pid.ends_with('\n')));
    let is_alive = || std::path::Path::new("/proc").join(pid.as_ref().unwrap().trim()).exists();
    let abandon = || {
        site.world.program(&["jobs", "--server", &server.admin, "abandon", &id, "--yes"]).output().unwrap()
    };
    let refused = abandon();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");

    away.signal("TERM");
    assert!(away.ended().success());
    let given_up = abandon();
    assert!(given_up.status.success(), "{given_up:?}");
    let job = server.job(&id);
    assert_eq!(
        (&job["state"], &job["reason"]),
        (&Value::from("failed"), &Value::from("abandoned")),
        "{job:#}"
    );
    assert!(is_alive());
    let _back = site.work("away", "slots = 1");
    assert!(until(|| (!is_alive()).then_some(())).is_some(), "its run goes on");
}

/// A machine that goes down: what it saved is on its disk, and there it goes on.
#[test]
fn a_worker_that_drains_lets_its_runs_save_and_they_go_on_where_their_checkpoints_are() {
    let cluster = Cluster::shared();
    let site = Site::new(&cluster.database("drain"), &trains("sft.yaml"));
    let server = site.serve("slots = 0");
    let first = site.work("first", "slots = 1\ndrain = \"yield\"");
    let push = |text: &str| {
        let commit = site.world.commit("sft.yaml", text);
        job_of(&server.deliver(&site.world.push(&commit, &commit, &["sft.yaml"])))
    };
    site.world.pace(500);
    let id = push("max_steps: 300\nsave_steps: 50\n");
    // Its progress is stored every ten seconds.
    let log = site.world.path(&format!("first/runs/{id}-1/output/logging.jsonl"));
    let is_far = || (std::fs::read_to_string(&log).ok()?.lines().count() >= 3).then_some(());
    assert!(until(is_far).is_some(), "{:#}", server.job(&id));
    first.signal("TERM");
    assert!(first.ended().success());
    let job = server.job(&id);
    assert_eq!((&job["state"], &job["reason"]), (&"queued".into(), &"yielded".into()), "{job:#}");
    assert_eq!(job["waits_for"], "checkpoint", "{job:#}");
    assert_eq!(job["checkpoint"]["host"], job["host"], "{job:#}");

    // A worker elsewhere has a look at everything else.
    let other = site.work("other", "slots = 1");
    let jobs = ["list", "show"].map(|what| {
        let mut arguments = vec!["jobs", "--server", &server.admin, what];
        arguments.extend((what == "show").then_some(&*id));
        String::from_utf8(site.world.program(&arguments).output().unwrap().stdout).unwrap()
    });
    let host = job["host"].as_str().unwrap();
    assert!(jobs[0].contains(&format!("waits for {host}, which has its checkpoint")), "{}", jobs[0]);
    assert!(jobs[1].contains(&format!("host          {host}")), "{}", jobs[1]);
    let (status, _) = server.call("POST", &format!("/api/v1/jobs/{id}/yield"), "");
    assert_eq!(status, 409, "it makes way already");
    other.signal("TERM");
    assert!(other.ended().success());
    let words = |job: &Value| {
        let lines = job["timeline"].as_array().unwrap().iter();
        lines.map(|line| line["what"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(words(&server.job(&id)), words(&job), "nobody elsewhere has taken it up");

    site.world.pace(0);
    let _back = site.work("first", "slots = 1");
    let job = server.wait_for(&id, &["succeeded", "failed"]);
    assert_eq!((&job["state"], &job["attempt"]), (&"succeeded".into(), &2.into()), "{job:#}");
    assert!(job["resumed_from"]["step"].as_u64() >= Some(3), "{job:#}");
}

#[test]
fn a_worker_whose_store_is_its_servers_alone_says_so() {
    let world = World::new("run = { command = [\"true\"] }");
    let refused = world.program(&["worker"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(String::from_utf8(refused.stderr).unwrap().contains("a worker needs a store on PostgreSQL"));
}

#[test]
fn a_worker_answers_for_its_health_where_it_is_told_to() {
    let cluster = Cluster::shared();
    let site = Site::new(&cluster.database("health"), "run = { command = [\"true\"] }");
    let port = free_port();
    let _worker = site.work("worker", &format!("listen = \"127.0.0.1:{port}\""));
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let token = std::fs::read_to_string(site.world.path("worker/admin-token")).unwrap();
    let status = |path: &str, token: &str| {
        let request = agent.get(format!("http://127.0.0.1:{port}{path}"));
        let answer = request.header("authorization", format!("Bearer {}", token.trim())).call().unwrap();
        answer.status().as_u16()
    };
    assert_eq!(until(|| (status("/readyz", "") == 200).then_some(())), Some(()));
    assert_eq!(status("/healthz", ""), 200);
    assert_eq!((status("/metrics", ""), status("/metrics", &token)), (401, 200));
    assert_eq!((status("/webhook", &token), status("/api/v1/jobs", &token)), (404, 404));
}

/// The workers that are there, once there are so many.
fn workers(server: &Running, count: usize) -> Vec<Value> {
    let all = || server.get("/api/v1/workers")["workers"].as_array().unwrap().clone();
    until(|| Some(all()).filter(|all| all.len() == count)).unwrap_or_else(|| panic!("{:#?}", all()))
}
