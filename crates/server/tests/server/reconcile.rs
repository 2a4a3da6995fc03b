//! Pushes that no delivery told of, found by looking at where the refs are.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::Value;

use crate::world::{Running, World, job_of, until};

const NOTES: &str = "run = { command = [\"sh\", \"-c\", \"git rev-parse HEAD >>$HOME/trained\"] }";

#[test]
fn a_push_made_while_the_server_is_down_trains_after_the_start_and_once() {
    let world = looking(&format!("{NOTES}\npaths = [\"configs/**\"]"));
    let before = world.commit("configs/a.yaml", "1");
    let server = begun(&world, world.serve());
    server.signal("TERM");
    assert!(server.ended().success());
    let commit = world.commit("configs/a.yaml", "2");

    let server = world.serve();
    let job = first_job(&server);
    let job = server.wait_for(job["id"].as_str().unwrap(), &["succeeded", "failed"]);
    assert_eq!((&job["state"], &job["commit"]), (&"succeeded".into(), &commit.as_str().into()), "{job:#}");
    let delivery = server.get("/api/v1/deliveries")["deliveries"][0].clone();
    assert_eq!((&delivery["source"], &delivery["before"]), (&"reconcile".into(), &before.as_str().into()));

    let late = server.deliver(&world.push(&before, &commit, &["configs/a.yaml"]));
    let told: Value = serde_json::from_str(&late.body).unwrap();
    assert_eq!((late.status.as_u16(), &told["decision"]), (200, &"duplicate".into()), "{told:#}");
    assert_eq!(job_of(&late), job["id"].as_str().unwrap());
    assert_eq!(trained(&world), [commit]);
    assert_eq!(looked(&world, &server, &[]), "acme/models: nothing was missed\n");
}

#[test]
fn git_decides_what_a_tip_cannot_tell() {
    let world = looking(&format!("{NOTES}\npaths = [\"configs/**\"]"));
    let server = begun(&world, world.serve());
    for (file, message, reason) in [
        ("README.md", "words", "paths"),
        ("configs/a.yaml", "wip [skip ci]", "skip_marker"),
        ("configs/b.yaml", "tune\n\nskip-checks: true", "skip_marker"),
    ] {
        fs::create_dir_all(world.path("repository/configs")).unwrap();
        fs::write(world.path("repository").join(file), message).unwrap();
        world.git(&["add", "--all"]);
        world.git(&["commit", "--quiet", "--message", message]);
        looked(&world, &server, &[]);
        let job = first_job(&server);
        let job = server.wait_for(job["id"].as_str().unwrap(), &["cancelled", "succeeded", "failed"]);
        assert_eq!(job["state"], "cancelled", "{message}: {job:#}");
        assert!(job.to_string().contains(reason), "{message}: {job:#}");
    }
    assert!(!world.path("trained").exists());
}

#[test]
fn only_refs_that_recipes_name_are_looked_at_and_a_new_one_is_compared_with_the_default_branch() {
    let world = looking(&format!("{NOTES}\npaths = [\"configs/**\"]"));
    let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    let config = config.replace("branches = [\"main\"]", "branches = [\"main\", \"release/**\"]");
    fs::write(world.path("swifthook.toml"), config).unwrap();
    world.commit("configs/old.yaml", "1");
    let server = begun(&world, world.serve());
    world.git(&["checkout", "--quiet", "-b", "topic"]);
    world.commit("configs/topic.yaml", "1");
    world.git(&["tag", "v1"]);
    assert_eq!(looked(&world, &server, &[]), "acme/models: nothing was missed\n");
    assert!(server.get("/api/v1/deliveries")["deliveries"].as_array().unwrap().is_empty());

    world.git(&["checkout", "--quiet", "-b", "release/1", "main"]);
    world.git(&["branch", "release/2"]);
    let commit = world.commit("configs/new.yaml", "1");
    world.git(&["checkout", "--quiet", "main"]);
    let dry = looked(&world, &server, &["--dry-run"]);
    assert!(dry.contains("2 pushes that no") && dry.contains("refs/heads/release/1 new -> "), "{dry}");
    assert!(dry.ends_with("Nothing was done.\n"), "{dry}");
    assert!(server.get("/api/v1/jobs")["jobs"].as_array().unwrap().is_empty(), "it was dry");
    looked(&world, &server, &[]);
    let ends = |name: &str| {
        let jobs = server.get("/api/v1/jobs");
        let named = jobs["jobs"].as_array().unwrap().iter().find(|job| job["ref"] == name).cloned();
        let id = named.unwrap_or_else(|| panic!("{jobs:#}"))["id"].as_str().unwrap().to_owned();
        server.wait_for(&id, &["succeeded", "failed", "cancelled"])["state"].clone()
    };
    assert_eq!(
        (ends("refs/heads/release/1"), ends("refs/heads/release/2")),
        ("succeeded".into(), "cancelled".into())
    );
    assert_eq!(trained(&world), [commit]);
}

#[test]
fn a_server_that_nobody_can_reach_pulls() {
    let world = looking(NOTES);
    let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    let config = config
        .replace("[[hook]]\nsecrets = [\"file:secret\"]\n", "")
        .replace("[[repository]]\n", "[[repository]]\npull = \"1s\"\n");
    fs::write(world.path("swifthook.toml"), config).unwrap();
    let server = begun(&world, world.serve());
    let commit = world.commit("x", "1");
    let job = first_job(&server);
    let job = server.wait_for(job["id"].as_str().unwrap(), &["succeeded", "failed"]);
    assert_eq!((&job["state"], &job["commit"]), (&"succeeded".into(), &commit.as_str().into()), "{job:#}");
    assert_eq!(server.get("/api/v1/deliveries")["deliveries"][0]["source"], "pull");
}

#[test]
fn forty_repositories_looked_at_again_and_again_over_failed_tips_run_nothing_and_write_nothing() {
    let world = World::new("run = { command = [\"false\"] }");
    let mut config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    let clone_url = format!("file://{}", world.path("repository").display());
    for n in 1..40 {
        config += &format!(
            "\n[[repository]]\nname = \"acme/m{n}\"\nclone_url = \"{clone_url}\"\n\n\
             [[recipe]]\nname = \"r{n}\"\nrepository = \"acme/m{n}\"\nbranches = [\"main\"]\n\
             trust = \"code\"\nrun = {{ command = [\"false\"] }}\n"
        );
    }
    fs::write(world.path("swifthook.toml"), format!("{config}\n[worker]\nslots = 4\n")).unwrap();
    count_calls(&world);
    let server = world.serve();
    looked(&world, &server, &[]);
    world.commit("x", "1");
    looked(&world, &server, &[]);
    let all = |server: &Running| server.get("/api/v1/jobs?limit=200")["jobs"].as_array().unwrap().clone();
    until(|| all(&server).iter().all(|job| job["state"] == "failed").then_some(()))
        .expect("all of them fail");
    assert_eq!(all(&server).len(), 40);

    server.signal("TERM");
    assert!(server.ended().success());
    let store = || fs::read(world.path("swifthook.db")).unwrap();
    let server = world.serve();
    let (before, calls) = (store(), calls(&world));
    let log = || fs::metadata(world.path("swifthook.db-wal")).map_or(0, |log| log.len());
    let written = log();
    for _ in 0..ROUNDS {
        let (status, told) = server.call("POST", "/api/v1/reconcile", "");
        assert_eq!(status, 200, "{told}");
        assert!(!told.contains("\"ref\"") && !told.contains("\"error\":\""), "{told}");
    }
    assert_eq!(all(&server).len(), 40);
    assert_eq!(self::calls(&world) - calls, 40 * ROUNDS, "one call of git for each look");
    assert!(store() == before && log() == written, "nothing was written");
}

#[test]
fn a_repository_that_cannot_be_asked_is_told_of_and_the_others_are_looked_at() {
    let world = looking(NOTES);
    let mut config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    config += "\n[[repository]]\nname = \"acme/away\"\nclone_url = \"/nowhere/at/all\"\n\n[[recipe]]\nname = \"a\"\n\
               repository = \"acme/away\"\nbranches = [\"main\"]\ntrust = \"code\"\nrun = { command = [\"true\"] }\n";
    fs::write(world.path("swifthook.toml"), config).unwrap();
    let server = begun(&world, world.serve());
    let output = reconcile(&world, &server, &[]);
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(told.contains("acme/away: the server that keeps it cannot be asked: "), "{told}");
    assert!(told.contains("acme/models: nothing was missed\n"), "{told}");
    assert_eq!(looked(&world, &server, &["Acme/Models"]), "acme/models: nothing was missed\n");
    let unknown = reconcile(&world, &server, &["acme/other"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no recipe looks at"), "{unknown:?}");
}

#[test]
fn where_no_server_runs_the_command_looks_itself() {
    let world = looking(NOTES);
    let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = config.replace("admin_listen = \"127.0.0.1:0\"", &format!("admin_listen = \"{free}\""));
    fs::write(world.path("swifthook.toml"), config).unwrap();
    let told = |arguments: &[&str]| {
        let output = world.program(&["reconcile"]).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(told(&[]).0, Some(1), "there is no store yet");
    let server = begun(&world, world.serve());
    server.signal("TERM");
    assert!(server.ended().success());
    let commit = world.commit("x", "1");
    let (code, dry) = told(&["--dry-run", "acme/models"]);
    assert!(code == Some(0) && dry.contains("1 push that no delivery told of"), "{dry}");
    let (code, found) = told(&["--json"]);
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!((code, &found["repositories"][0]["found"][0]["commit"]), (Some(0), &commit.as_str().into()));
    assert_eq!(told(&[]), (Some(0), "acme/models: nothing was missed\n".to_owned()));
    let server = world.serve();
    let job = server.wait_for(first_job(&server)["id"].as_str().unwrap(), &["succeeded", "failed"]);
    assert_eq!(job["state"], "succeeded", "{job:#}");
    assert_eq!(trained(&world), [commit]);
}

/// A world whose server looks at its repository at each start.
fn looking(recipe: &str) -> World {
    let world = World::new(recipe);
    let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    fs::write(world.path("swifthook.toml"), config.replace("reconcile = \"off\"\n", "")).unwrap();
    world
}

/// The server, once it has looked at `acme/models` for the first time.
fn begun(world: &World, server: Running) -> Running {
    until(|| world.server_log().contains("looked for the first time").then_some(()))
        .expect("it looks at the start");
    server
}

fn first_job(server: &Running) -> Value {
    until(|| server.get("/api/v1/jobs")["jobs"].as_array().unwrap().first().cloned()).expect("a job")
}

/// What `swifthook reconcile` says.
fn looked(world: &World, server: &Running, arguments: &[&str]) -> String {
    let output = reconcile(world, server, arguments);
    assert!(output.status.success(), "{output:?}\n{}", world.server_log());
    String::from_utf8(output.stdout).unwrap()
}

fn reconcile(world: &World, server: &Running, arguments: &[&str]) -> Output {
    let mut program = world.program(&["reconcile"]);
    let program = program.args(arguments).env("SWIFTHOOK_SERVER", &server.admin);
    program.env("SWIFTHOOK_ADMIN_TOKEN", &server.token).output().unwrap()
}

fn trained(world: &World) -> Vec<String> {
    let trained = fs::read_to_string(world.path("trained")).unwrap_or_default();
    trained.lines().map(str::to_owned).collect()
}

/// From now on each call of git by the program leaves a line.
fn count_calls(world: &World) {
    let path = std::env::var_os("PATH").unwrap();
    let git = std::env::split_paths(&path)
        .map(|folder| folder.join("git"))
        .find(|git| git.exists())
        .expect("there is a git");
    let script = format!(
        "#!/bin/sh\necho \"$1\" >>{}\nexec {} \"$@\"\n",
        world.path("calls").display(),
        git.display()
    );
    fs::create_dir_all(world.path("bin")).unwrap();
    fs::write(world.path("bin/git"), script).unwrap();
    fs::set_permissions(world.path("bin/git"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// How often a server was asked for its tips.
fn calls(world: &World) -> usize {
    let calls = fs::read_to_string(world.path("calls")).unwrap_or_default();
    calls.lines().filter(|call| *call != "-c" && *call != "upload-pack").count()
}

const ROUNDS: usize = 10;
