//! What people are told: of a machine that lacks something, of jobs that wait, of the wrong port.

use std::fs;
use std::process::Output;

use serde_json::{Value, json};

use crate::world::{SECRET, World, job_of, until};

const SLEEPS: &str = "run = { command = [\"sh\", \"-c\", \"touch $SWIFTHOOK_OUTPUT_DIR/began; while [ -e $HOME/secret ]; do sleep 0.05; done\"] }";

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn check_and_serve_warn_of_what_the_machine_lacks_and_go_on() {
    let world = World::new(
        "run = { command = [\"no-such-trainer\", \"x\"] }\nisolation = { prefix = [\"no-such-nice\"] }",
    );
    let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    fs::write(world.path("swifthook.toml"), config.replace("/repository\"", "/no-repository\"")).unwrap();
    let checked = world.program(&["check"]).output().unwrap();
    assert!(checked.status.success());
    let text = told(&checked);
    for part in [
        "no-repository`, from where it is to be fetched",
        "`no-such-trainer`",
        "`no-such-nice`",
        "3 warnings",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("nothing wrong"), "{text}");
    let elsewhere = world.program(&["check", "--elsewhere"]).output().unwrap();
    assert!(elsewhere.status.success() && told(&elsewhere).contains("nothing wrong"), "{elsewhere:?}");
    let _server = world.serve();
    let parts = ["WARN", "no-such-trainer", "no-repository"];
    let is_told = |log: &String| parts.iter().all(|part| log.contains(part));
    assert!(until(|| Some(world.server_log()).filter(is_told)).is_some(), "{}", world.server_log());
}

#[test]
fn check_and_serve_warn_of_a_secret_that_holds_what_nobody_sees() {
    let world = World::new("run = { command = [\"true\"] }");
    fs::write(world.path("secret"), format!("\"{SECRET}\"\n")).unwrap();
    let checked = world.program(&["check"]).output().unwrap();
    assert!(checked.status.success());
    let text = told(&checked);
    assert!(
        text.contains("swifthook.toml:7:12: warning: what `file:") && text.contains("stands in quotes"),
        "{text}"
    );
    assert!(!text.contains(SECRET), "{text}");
    let _server = world.serve();
    assert!(world.server_log().contains("stands in quotes"), "{}", world.server_log());
}

#[test]
fn check_tells_of_a_config_without_a_model_or_data() {
    let world = World::new("run = { swift = \"sft\", config = \"sft.yaml\" }");
    let check = |text: &str| {
        fs::write(world.path("sft.yaml"), text).unwrap();
        world
            .program(&["check", "--recipe", "sft", "--elsewhere", "--ms-swift", "4.6.0", "sft.yaml"])
            .output()
            .unwrap()
    };
    let lacking = check("learning_rate: 1e-4\n");
    assert_eq!(lacking.status.code(), Some(2), "{lacking:?}");
    let text = told(&lacking);
    assert!(text.contains("sft.yaml: no `model`") && text.contains("sft.yaml: no `dataset`"), "{text}");
    assert!(text.contains("2 mistakes") && !text.contains("nothing wrong"), "{text}");
    assert!(check("model: /m\ndataset: /d.jsonl\n").status.success());
}

#[test]
fn jobs_behind_one_slot_say_that_they_wait_for_it() {
    let world = World::new(SLEEPS);
    let more: String = ["two", "three"]
        .iter()
        .map(|name| {
            format!("[[recipe]]\nname = \"{name}\"\nrepository = \"acme/models\"\nbranches = [\"main\"]\ntrust = \"code\"\n{SLEEPS}\n")
        })
        .collect();
    let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    fs::write(world.path("swifthook.toml"), config + &more).unwrap();
    let server = world.serve();
    let commit = world.commit("x", "x");
    server.deliver(&world.push(&commit, &commit, &["x"]));
    let jobs = || server.get("/api/v1/jobs")["jobs"].as_array().unwrap().clone();
    let running = until(|| jobs().into_iter().find(|job| job["state"] == "running")).unwrap();
    let waiting = || jobs().into_iter().filter(|job| job["state"] == "queued").collect::<Vec<_>>();
    assert_eq!(waiting().len(), 2, "{:#?}", jobs());
    for job in waiting() {
        assert_eq!(job["waits_for"], "slot", "{job:#}");
        let whole = server.job(job["id"].as_str().unwrap());
        assert!(whole["detail"].as_str().unwrap().starts_with("its turn has not come"), "{whole:#}");
    }
    let listed = world.program(&["jobs", "--server", &server.admin]).output().unwrap();
    assert_eq!(told(&listed).matches("waits for a free slot").count(), 2, "{listed:?}");
    // The address needs no scheme.
    let address = server.admin.strip_prefix("http://").unwrap();
    let listed = world.program(&["workers", "--server", address]).output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    let is_busy =
        || told(&world.program(&["workers", "--server", address]).output().unwrap()).contains("1/1");
    assert!(until(|| is_busy().then_some(())).is_some());
    assert_eq!(server.job(running["id"].as_str().unwrap())["waits_for"], json!(null));
}

#[test]
fn a_job_that_is_trained_again_already_is_told_by_which() {
    let world = World::new(
        "run = { command = [\"sh\", \"-c\", \"while [ -e $HOME/held ]; do sleep 0.05; done; false\"] }",
    );
    let server = world.serve();
    let commit = world.commit("x", "x");
    let id = job_of(&server.deliver(&world.push(&commit, &commit, &["x"])));
    server.wait_for(&id, &["failed"]);
    fs::write(world.path("held"), "").unwrap();
    let retry = || server.call("POST", &format!("/api/v1/jobs/{id}/retry"), "");
    let (_, again) = retry();
    let again: Value = serde_json::from_str(&again).unwrap();
    let (status, refused) = retry();
    assert_eq!(status, 409, "{refused}");
    let why = format!(
        "what job {id} trained is being trained again already: job {}",
        again["id"].as_str().unwrap()
    );
    assert!(refused.contains(&why), "{refused}");
    fs::remove_file(world.path("held")).unwrap();
}

#[test]
fn the_wrong_port_says_so_and_refusals_are_logged_with_address_and_hook() {
    let world = World::new("run = { command = [\"true\"] }");
    let server = world.serve();
    let hooks = server.hook.trim_end_matches("/webhook").to_owned();
    for path in ["/api/v1/jobs", "/metrics"] {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut answer = agent.get(format!("{hooks}{path}")).call().unwrap();
        let body = answer.body_mut().read_to_string().unwrap();
        assert_eq!(answer.status().as_u16(), 404);
        assert!(body.contains("this is the port of the hooks"), "{body}");
    }
    let asked = world.program(&["jobs", "--server", &hooks]).output().unwrap();
    assert!(told(&asked).contains("this is the port of the hooks"), "{asked:?}");
    let commit = world.commit("x", "x");
    let push = world.push(&commit, &commit, &["x"]);
    let sent = swifthook::send::Delivery::push(push.to_string());
    let wrong = sent.post(&format!("{}/webhook", server.admin).parse().unwrap(), SECRET.as_bytes()).unwrap();
    assert!(
        wrong.status.as_u16() == 401 && wrong.body.contains("pushes are taken at `listen`"),
        "{}",
        wrong.body
    );
    let slash = swifthook::send::Delivery::push(push.to_string());
    let taken = slash.post(&format!("{}/", server.hook).parse().unwrap(), SECRET.as_bytes()).unwrap();
    assert_eq!(taken.status.as_u16(), 202, "{}", taken.body);

    assert_eq!(server.deliver_signed(&push, "another secret of 26 bytes").status.as_u16(), 401);
    let line = until(|| {
        let log = world.server_log();
        log.lines().find(|line| line.contains("signature-wrong")).map(str::to_owned)
    });
    let line = line.unwrap();
    assert!(line.contains("hook=\"github\"") && line.contains("address=127.0.0.1"), "{line}");
}

#[test]
fn all_that_a_server_says_is_json_where_its_log_is() {
    let world = World::new("run = { command = [\"true\"] }\npaths = [\"configs/\"]");
    let server = world.serve_with(&["--log-format", "json"]);
    let second = world.program(&["serve", "--log-format", "json"]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    server.signal("TERM");
    assert!(server.ended().success());
    world.configure("run = { comand = 1 }\ntimeout = 5");
    let mistaken = world.program(&["serve", "--log-format", "json"]).output().unwrap();
    assert_eq!(mistaken.status.code(), Some(2));
    for (text, part) in [
        (told(&second), "swifthook.db"),
        (told(&mistaken), "did you mean `command`?"),
        (world.server_log(), "a pattern that nothing matches: `configs/`"),
    ] {
        for line in text.lines() {
            let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(object["level"].is_string() && object["message"].is_string(), "{line}");
        }
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn send_names_the_secret_that_is_not_there_and_needs_no_other() {
    let world = World::new("run = { command = [\"true\"] }");
    let server = world.serve();
    let commit = world.commit("x", "x");
    fs::write(world.path("push.json"), world.push(&commit, &commit, &["x"]).to_string()).unwrap();
    fs::remove_file(world.path("secret")).unwrap();
    let send = |arguments: &[&str]| world.program(&["send", "push.json"]).args(arguments).output().unwrap();
    let missing = send(&["--secret", "env:NOPE"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(told(&missing).contains("`env:NOPE` cannot be read: it is not set"), "{missing:?}");
    let of_the_hook = send(&["--to", &server.hook]);
    assert!(of_the_hook.status.code() == Some(2) && told(&of_the_hook).contains("secret` cannot be read"));
    fs::write(world.path("mine"), format!("{SECRET}\n")).unwrap();
    let to = server.hook.strip_prefix("http://").unwrap();
    let sent = send(&["--secret", "file:mine", "--to", to]);
    assert!(sent.status.success() && told(&sent).contains("queued"), "{sent:?}");
    let nowhere = send(&["--secret", "file:mine", "--to", "two words"]);
    assert!(told(&nowhere).contains("for example `http://127.0.0.1:8081`"), "{nowhere:?}");
    let number = world.program(&["jobs", "list", "--limit", "many"]).output().unwrap();
    assert!(told(&number).contains("a whole number was expected"), "{number:?}");
}

#[test]
fn what_is_wrong_with_a_call_is_told_in_words() {
    let world = World::new("run = { command = [\"true\"] }");
    let server = world.serve();
    for (path, told) in [
        ("/api/v1/jobs?limit=many", "`limit`: a whole number was expected"),
        ("/api/v1/jobs?stat=queued", "nothing here is called `stat`"),
    ] {
        let (status, body) = server.call("GET", path, "");
        assert!(status == 400 && body.contains(told), "{body}");
        assert!(!body.contains("deserialize"), "{body}");
    }
}
