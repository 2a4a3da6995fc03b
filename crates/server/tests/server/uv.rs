//! Environments that uv makes of the lock of a commit, with a program that stands in for uv.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::world::{Running, World, job_of, until};

/// A world whose recipe runs a program of the environment that its lock asks for.
fn world(more: &str) -> World {
    let world = World::new("");
    fs::create_dir(world.path("bin")).unwrap();
    let uv = world.path("bin/uv");
    fs::write(&uv, UV).unwrap();
    fs::set_permissions(&uv, fs::Permissions::from_mode(0o755)).unwrap();
    // Not ours, on which there may be a real one.
    let path = format!("{}:/usr/bin:/bin", world.path("bin").display());
    world.configure(&format!(
        "run = {{ command = [\"sh\", \"-c\", \"trained >$SWIFTHOOK_OUTPUT_DIR/result\"] }}\n\
         environment = {{ uv = \"uv.lock\" }}\nenv = {{ PATH = \"{path}\", COLOUR = \"blue\" }}\n\
         superseded = \"keep\"\ngroup = \"{{commit}}\"\nretry = {{ backoff = \"1s\" }}\nlimits = {{ files = 99 }}\n{more}"
    ));
    world.commit(
        "pyproject.toml",
        "[project]\nname = \"models\"\nversion = \"0\"\nrequires-python = \">=3.11\"\n",
    );
    world.commit("uv.lock", "version = 1 # one\n");
    world
}

/// Writes down how it was called; waits and fails as files in its home say.
const UV: &str = r#"#!/bin/sh
echo "$* $(ulimit -n) $(cat uv.lock) $(pwd)" >>"$HOME/calls"; env | sort >"$HOME/uv-environment"
while [ -e "$HOME/waits" ]; do sleep 0.02; done
if [ -e "$HOME/fails" ]; then printf '\033[31merror\033[0m: ' >&2; cat "$HOME/fails" >&2; exit 2; fi
mkdir -p "$UV_PROJECT_ENVIRONMENT/bin"; echo kept >"$UV_CACHE_DIR/kept"
printf '#!/bin/sh\necho %s\n' "$(cut -d'#' -f2 uv.lock)" >"$UV_PROJECT_ENVIRONMENT/bin/trained"
chmod +x "$UV_PROJECT_ENVIRONMENT/bin/trained"
"#;

fn push(world: &World, server: &Running, text: &str) -> String {
    let commit = world.commit("change.txt", text);
    let answer = server.deliver(&world.push(&commit, &commit, &["change.txt"]));
    assert_eq!(answer.status.as_u16(), 202, "{}", answer.body);
    job_of(&answer)
}

fn ends(world: &World, server: &Running, id: &str) -> Value {
    let job = server.wait_for(id, &["succeeded", "failed", "cancelled", "quarantined"]);
    assert!(job["state"] != "quarantined", "{job:#}\n{}", world.server_log());
    job
}

fn trained(world: &World, server: &Running, id: &str) -> String {
    let job = ends(world, server, id);
    assert_eq!(job["state"], "succeeded", "{job:#}\n{}", world.server_log());
    fs::read_to_string(world.path(&format!("swifthook-state/runs/{id}-1/output/result"))).unwrap()
}

/// Processes that have `entry` in their environment.
fn alive_with(entry: &str) -> Vec<String> {
    let has = |pid: &str| {
        fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
            environment.split(|byte| *byte == 0).any(|found| found == entry.as_bytes())
        })
    };
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(|entry| entry.file_name().into_string().ok()).filter(|pid| has(pid)).collect()
}

fn calls(world: &World) -> Vec<String> {
    fs::read_to_string(world.path("calls")).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// The folder of the only environment that is there.
fn made(world: &World) -> std::path::PathBuf {
    let folders = fs::read_dir(world.path("swifthook-state/environments")).unwrap().flatten();
    let mut made = folders.map(|entry| entry.path()).filter(|path| path.join("uv.lock").exists());
    made.next().expect("an environment was made")
}

#[test]
fn an_environment_is_made_once_of_the_lock_of_the_commit_and_told_with_its_runs() {
    let world = world("");
    let server = world.serve();
    let first = push(&world, &server, "one");
    assert_eq!(trained(&world, &server, &first), "one\n");
    let job = server.job(&first);
    let environment = job["environment"].as_str().unwrap();
    let digest = made(&world).file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(environment, format!("uv:{digest}"));
    let told = job["timeline"].as_array().unwrap().iter().find(|line| line["what"] == "prepared");
    assert_eq!(told.expect("it is told")["why"], environment, "{job:#}");

    let lock = made(&world).with_extension("lock");
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(30 * 86_400);
    fs::File::options().write(true).open(&lock).unwrap().set_modified(long_ago).unwrap();
    let second = push(&world, &server, "two");
    assert_eq!(trained(&world, &server, &second), "one\n");
    assert!(fs::metadata(&lock).unwrap().modified().unwrap() > long_ago, "that it was used is noted");
    let [call] = &calls(&world)[..] else { panic!("{:?}", calls(&world)) };
    let expected = "sync --frozen --no-install-project --no-progress 99 version = 1 # one ";
    assert_eq!(call, &format!("{expected}{}", made(&world).display()));
    let around = fs::read_to_string(world.path("uv-environment")).unwrap();
    assert!(around.contains("COLOUR=blue\n") && around.contains("UV_CACHE_DIR="), "{around}");
    for secret in ["SWIFTHOOK", crate::world::SECRET, &server.token] {
        assert!(!around.contains(secret), "{secret} in {around}");
    }

    world.commit("uv.lock", "version = 1 # other\n");
    let third = push(&world, &server, "three");
    assert_eq!(trained(&world, &server, &third), "other\n");
    assert_eq!(calls(&world).len(), 2);
}

#[test]
fn two_that_want_it_at_once_have_it_made_once() {
    let world = world("[worker]\nslots = 2");
    let server = world.serve();
    fs::write(world.path("waits"), "").unwrap();
    let both = [push(&world, &server, "one"), push(&world, &server, "two")];
    assert!(until(|| (calls(&world).len() == 1).then_some(())).is_some());
    for id in &both {
        let claimed = |job: &Value| job["timeline"].to_string().contains("claimed");
        assert!(until(|| Some(server.job(id)).filter(claimed)).is_some(), "{:#}", server.job(id));
        assert_eq!((&server.job(id)["state"], &server.job(id)["attempt"]), (&json!("queued"), &json!(0)));
    }
    fs::remove_file(world.path("waits")).unwrap();
    for id in &both {
        assert_eq!(trained(&world, &server, id), "one\n");
    }
    assert_eq!(calls(&world).len(), 1);
}

#[test]
fn what_was_left_half_made_is_made_anew() {
    let world = world("");
    let server = world.serve();
    assert_eq!(trained(&world, &server, &push(&world, &server, "one")), "one\n");
    let folder = made(&world);
    fs::remove_file(folder.join("complete")).unwrap();
    fs::write(folder.join("venv/bin/trained"), "half").unwrap();
    fs::write(folder.join("left"), "").unwrap();
    assert_eq!(trained(&world, &server, &push(&world, &server, "two")), "one\n");
    assert!(calls(&world).len() == 2 && !folder.join("left").exists() && folder.join("complete").exists());
}

/// Runs a program in place of uv that leaves somebody behind, in a session of his own.
const LEAVES: &str = r#"#!/bin/sh
readlink /proc/self/fd/0 >"$HOME/stdin"; setsid sleep 600 >/dev/null 2>&1 &
mkdir -p "$UV_PROJECT_ENVIRONMENT/bin"; printf '#!/bin/sh\necho made\n' >"$UV_PROJECT_ENVIRONMENT/bin/trained"
chmod +x "$UV_PROJECT_ENVIRONMENT/bin/trained"
"#;

#[test]
fn a_build_has_no_lock_to_give_back_and_leaves_nobody_behind() {
    let world = world("");
    fs::write(world.path("bin/uv"), LEAVES).unwrap();
    let server = world.serve();
    assert_eq!(trained(&world, &server, &push(&world, &server, "one")), "made\n");
    assert_eq!(fs::read_to_string(world.path("stdin")).unwrap(), "/dev/null\n");
    let mark = format!("UV_PROJECT_ENVIRONMENT={}", made(&world).join("venv").display());
    assert_eq!(alive_with(&mark).len(), 0, "{:?}", alive_with(&mark));
}

#[test]
fn a_build_that_outlives_its_server_is_ended_before_the_next_begins() {
    let world = world("");
    let server = world.serve();
    fs::write(world.path("waits"), "").unwrap();
    let id = push(&world, &server, "one");
    assert!(until(|| (calls(&world).len() == 1).then_some(())).is_some());
    let mark = format!("UV_PROJECT_ENVIRONMENT={}", made(&world).join("venv").display());
    server.signal("KILL");
    server.ended();
    let first = alive_with(&mark);
    assert!(!first.is_empty(), "it goes on");
    let server = world.serve();
    assert!(until(|| (calls(&world).len() == 2).then_some(())).is_some(), "{}", world.server_log());
    let now = alive_with(&mark);
    assert!(!first.iter().any(|process| now.contains(process)), "{first:?}, {now:?}");
    fs::remove_file(world.path("waits")).unwrap();
    assert_eq!(trained(&world, &server, &id), "one\n");
}

#[test]
fn a_build_that_fails_fails_its_job_with_what_uv_said_and_one_without_a_network_is_tried_again() {
    let world = world("");
    let server = world.serve();
    fs::write(world.path("fails"), "No solution found: torch==0.0\n").unwrap();
    let id = push(&world, &server, "one");
    let job = ends(&world, &server, &id);
    assert_eq!(
        (&job["state"], &job["reason"], &job["attempt"]),
        (&json!("failed"), &json!("config"), &json!(0))
    );
    let detail = job["detail"].as_str().unwrap();
    assert!(detail.ends_with("error: No solution found: torch==0.0"), "{detail}");

    fs::write(world.path("fails"), "error sending request for url (https://pypi.org/simple/torch/)\n")
        .unwrap();
    let id = push(&world, &server, "two");
    let waits = until(|| Some(server.job(&id)).filter(|job| job["waits_for"] == "backoff"));
    let job = waits.unwrap_or_else(|| panic!("{:#}", server.job(&id)));
    assert!(job["detail"].as_str().unwrap().contains("error sending request"), "{job:#}");
    fs::remove_file(world.path("fails")).unwrap();
    assert_eq!(trained(&world, &server, &id), "one\n");
}

#[test]
fn a_commit_without_the_lock_and_a_machine_without_uv_say_so() {
    let world = world("");
    let server = world.serve();
    world.git(&["rm", "--quiet", "pyproject.toml"]);
    let id = push(&world, &server, "one");
    let job = ends(&world, &server, &id);
    assert!(job["detail"].as_str().unwrap().contains("pyproject.toml"), "{job:#}");
    assert_eq!(job["reason"], "config");
    world.commit("pyproject.toml", "[project]\n");
    fs::remove_file(world.path("bin/uv")).unwrap();
    let id = push(&world, &server, "two");
    let job = ends(&world, &server, &id);
    assert!(job["detail"].as_str().unwrap().starts_with("no program `uv` in `"), "{job:#}");
}

#[test]
#[ignore = "needs uv on the PATH, and the network: a package from PyPI"]
fn the_real_uv_makes_an_environment() {
    let world = world("");
    fs::remove_file(world.path("bin/uv")).unwrap();
    let text = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    let run = "python -c 'import iniconfig, sys; print(sys.prefix)' >$SWIFTHOOK_OUTPUT_DIR/result";
    // With what this machine needs to get at its package index.
    let certificates =
        std::env::var("SSL_CERT_FILE").unwrap_or("/etc/ssl/certs/ca-certificates.crt".to_owned());
    let path = format!(":{}\", SSL_CERT_FILE = \"{certificates}\", COLOUR", std::env::var("PATH").unwrap());
    let text = text.replace("trained >$SWIFTHOOK_OUTPUT_DIR/result", run);
    fs::write(world.path("swifthook.toml"), text.replace(":/usr/bin:/bin\", COLOUR", &path)).unwrap();
    let project = "[project]\nname = \"models\"\nversion = \"0\"\nrequires-python = \">=3.9\"\ndependencies = [\"iniconfig\"]\n";
    world.git(&["rm", "--quiet", "uv.lock"]);
    world.commit("pyproject.toml", project);
    let lock =
        std::process::Command::new("uv").arg("lock").current_dir(world.path("repository")).output().unwrap();
    assert!(lock.status.success(), "{lock:?}");
    let server = world.serve();
    let id = push(&world, &server, "one");
    assert_eq!(trained(&world, &server, &id), format!("{}\n", made(&world).join("venv").display()));
}
