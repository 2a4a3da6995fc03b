//! What a person sees who looks at jobs and deliveries, and who has made a mistake.

use std::fs;
use std::process::Output;

use serde_json::{Value, json};

use crate::world::{Running, World, appears, job_of, until};

/// Goes on as long as the world does.
const SLEEPS: &str = "run = { command = [\"sh\", \"-c\", \"echo hello; touch $SWIFTHOOK_OUTPUT_DIR/began; while [ -e $HOME/secret ]; do sleep 0.05; done\"] }";

fn text(output: &[u8]) -> &str {
    std::str::from_utf8(output).unwrap()
}

/// A command that talks to a running server.
fn asked(world: &World, server: &Running, arguments: &[&str]) -> Output {
    world.program(arguments).args(["--server", &server.admin]).output().unwrap()
}

fn ok(output: &Output) -> &str {
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout)
}

fn refused(output: &Output, code: i32) -> &str {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    text(&output.stderr)
}

#[test]
fn check_tells_what_a_configuration_would_do() {
    let world = World::new(SLEEPS);
    let good = world.program(&["check"]).output().unwrap();
    let summary = ok(&good).replace(&world.path("").display().to_string(), "/srv/");
    insta::assert_snapshot!(summary);
}

#[test]
fn check_warns_of_runs_that_are_to_make_way_and_may_save_nothing() {
    let world = World::new(SLEEPS);
    let told = || ok(&world.program(&["check"]).output().unwrap()).to_owned();
    let hours = "schedule = [{ hours = \"20:00-08:00\" }]";
    world.configure(&format!("{SLEEPS}\n{hours}\noutside = \"hold\""));
    assert!(!told().contains("warning"), "{}", told());
    world.configure(&format!("{SLEEPS}\n{hours}\noutside = \"pause\"\ngrace = \"90s\""));
    assert!(told().contains(
        "warning: outside of its hours a run makes way: on SIGTERM its command has to save within 90 s"
    ));
    let swift = |args: &str| {
        world.configure(&format!(
            "{hours}\noutside = \"pause\"\nrun = {{ swift = \"sft\", config = \"sft.yaml\", args = {{ {args} }} }}"
        ));
        told()
    };
    assert!(swift("save_strategy = \"no\"").contains("warning: its args say `save_strategy = \"no\"`"));
    assert!(!swift("save_strategy = \"steps\"").contains("warning"));
}

#[test]
fn check_tells_all_mistakes_and_exits_with_2() {
    let world = World::new(SLEEPS);
    world.configure(
        "pathz = [\"x\"]\nlauncher = \"slurm\"\ntimeout = \"soon\"\nbudget = {}\nrun = { command = [\"{path}\"] }",
    );
    let wrong = world.program(&["check"]).output().unwrap();
    let told = refused(&wrong, 2);
    for mistake in ["`pathz`", "`slurm`", "`soon`", "`budget`", "`{path}`", "5 mistakes"] {
        assert!(told.contains(mistake), "{mistake} in {told}");
    }
    let elsewhere = world.program(&["check", "--config", "nowhere.toml"]).output().unwrap();
    assert!(refused(&elsewhere, 2).contains("nowhere.toml: cannot be read"));
}

#[test]
fn jobs_and_deliveries_are_looked_at_and_commanded() {
    let world = World::new(SLEEPS);
    let server = world.serve();
    assert_eq!(ok(&asked(&world, &server, &["jobs"])), "no jobs\n");
    assert_eq!(ok(&asked(&world, &server, &["deliveries", "list"])), "no deliveries\n");
    let commit = world.commit("x", "x");
    let id = job_of(&server.deliver(&world.push(&commit, &commit, &["x"])));
    assert!(appears(&world.path(&format!("swifthook-state/runs/{id}-1/output/began"))));

    let listed = asked(&world, &server, &["jobs", "list", "--state", "running"]);
    let row = ok(&listed).lines().nth(1).unwrap().to_owned();
    assert!(row.starts_with(&id[..18]) && row.contains("running") && row.contains(&commit[..12]), "{row}");
    let shown = || ok(&asked(&world, &server, &["jobs", "show", &id[..20]])).to_owned();
    // The run has begun before that is written down.
    assert!(until(|| shown().contains("submitted").then_some(())).is_some(), "{}", shown());
    assert!(shown().contains(&commit));
    assert_eq!(ok(&asked(&world, &server, &["jobs", "logs", &id])), "hello\n");
    assert_eq!(ok(&asked(&world, &server, &["jobs", "logs", &id, "--grep", "bye"])), "");
    let as_json = asked(&world, &server, &["jobs", "show", &id, "--json"]);
    assert_eq!(serde_json::from_str::<Value>(ok(&as_json)).unwrap()["id"], json!(id));

    let explained = {
        let page = server.get("/api/v1/deliveries");
        let delivery = page["deliveries"][0]["id"].as_str().unwrap().to_owned();
        asked(&world, &server, &["deliveries", "explain", &delivery])
    };
    assert!(ok(&explained).contains("sft trains") && ok(&explained).contains(&id), "{}", ok(&explained));

    let unasked = asked(&world, &server, &["jobs", "cancel", &id]);
    assert!(refused(&unasked, 1).contains("--yes"), "{unasked:?}");
    let cancelled = asked(&world, &server, &["jobs", "cancel", &id, "--yes"]);
    assert_eq!(ok(&cancelled), format!("job {id} is being stopped\n"));
    server.wait_for(&id, &["cancelled"]);
    let late = asked(&world, &server, &["jobs", "approve", &id]);
    assert_eq!(ok(&late), format!("job {id} is cancelled\n"), "an end is an end");
    let again = asked(&world, &server, &["jobs", "retry", &id]);
    assert!(ok(&again).contains("(run 1, queued)"), "{}", ok(&again));
    let nobody = asked(&world, &server, &["jobs", "show", "ffff"]);
    assert!(refused(&nobody, 1).contains("no job has an id that begins with `ffff`"));
    let several = asked(&world, &server, &["jobs", "show", "0"]);
    assert!(refused(&several, 2).contains("several"), "{several:?}");
}

#[test]
fn without_a_server_the_store_is_read_and_nothing_is_changed() {
    let world = World::new("run = { command = [\"echo\", \"hello\"] }");
    let nothing = world.program(&["jobs", "--server", "http://127.0.0.1:1"]).output().unwrap();
    assert!(refused(&nothing, 1).contains("admin-token"), "{nothing:?}");
    let server = world.serve();
    let unknown = world.program(&["jobs"]).output().unwrap();
    assert!(refused(&unknown, 2).contains("--server"), "{unknown:?}");
    let commit = world.commit("x", "x");
    let id = job_of(&server.deliver(&world.push(&commit, &commit, &["x"])));
    server.wait_for(&id, &["succeeded"]);
    server.signal("TERM");
    assert!(server.ended().success());

    // Nobody listens there, and nobody will.
    let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    let config = config.replace("admin_listen = \"127.0.0.1:0\"", "admin_listen = \"127.0.0.1:1\"");
    fs::write(world.path("swifthook.toml"), config).unwrap();
    let listed = world.program(&["jobs"]).output().unwrap();
    assert!(ok(&listed).contains(&id[..18]), "{listed:?}");
    assert_eq!(ok(&world.program(&["jobs", "logs", &id]).output().unwrap()), "hello\n");
    let refusal = world.program(&["jobs", "retry", &id]).output().unwrap();
    assert!(refused(&refusal, 1).contains("swifthook serve"), "{refusal:?}");
}
