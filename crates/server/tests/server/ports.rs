//! The port by which the processes of one run find each other.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use crate::world::{Running, World, appears, job_of, until};

#[test]
fn runs_on_one_machine_do_not_meet() {
    let text =
        "echo $MASTER_PORT >$SWIFTHOOK_OUTPUT_DIR/port; while [ -e $HOME/secret ]; do sleep 0.05; done";
    let lines = "nproc = 2\nsuperseded = \"keep\"\ngroup = \"{commit}\"\n\n[worker]\nslots = 3";
    let world = World::new(&format!("{}\n{lines}", run(text)));
    let server = world.serve();
    let jobs: Vec<_> = (0..3).map(|n| push(&world, &server, n)).collect();
    let ports: HashSet<u16> = jobs.iter().map(|id| port_of(&world, id)).collect();
    assert_eq!(ports.len(), 3);
    assert!(ports.iter().all(|port| (29_501..=29_999).contains(port)), "{ports:?}");
    fs::remove_file(world.path("secret")).unwrap();
    for id in &jobs {
        assert_eq!(server.wait_for(id, &["succeeded", "failed"])["state"], "succeeded");
    }
}

#[test]
fn a_run_whose_port_somebody_else_has_gets_another_and_no_attempt_is_counted() {
    let told = "torch.distributed.DistNetworkError: The server socket has failed to listen on any local network \
                address. port: 29500, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use";
    let text = format!(
        "echo $MASTER_PORT >>$HOME/ports; if test $(wc -l <$HOME/ports) -le 2; then echo '{told}' >&2; exit 1; fi"
    );
    let world = World::new(&format!("{}\nnproc = 2\nretry = {{ attempts = 1 }}", run(&text)));
    let server = world.serve();
    let id = push(&world, &server, 0);
    let job = server.wait_for(&id, &["succeeded", "failed"]);
    assert_eq!((&job["state"], &job["attempt"]), (&"succeeded".into(), &3.into()), "{job:#}");
    let ports = fs::read_to_string(world.path("ports")).unwrap();
    assert_eq!(ports.lines().collect::<HashSet<_>>().len(), 3, "{ports}");
    assert!(job["timeline"].to_string().contains("another process had the port"), "{job:#}");
}

#[test]
fn one_process_is_told_no_port_and_a_recipe_may_name_its_own() {
    let told = |lines: &str| {
        let world =
            World::new(&format!("{}\n{lines}", run("echo =$MASTER_PORT >$SWIFTHOOK_OUTPUT_DIR/port")));
        let server = world.serve();
        let id = push(&world, &server, 0);
        assert_eq!(server.wait_for(&id, &["succeeded", "failed"])["state"], "succeeded");
        fs::read_to_string(port_file(&world, &id)).unwrap().trim().to_owned()
    };
    assert_eq!(told(""), "=");
    assert_eq!(told("nproc = 2\nenv = { MASTER_PORT = \"4711\" }"), "=4711");
    assert_ne!(told("env = { NPROC_PER_NODE = \"4\" }"), "=", "so were several asked for before");
}

fn run(text: &str) -> String {
    format!("run = {{ command = [\"sh\", \"-c\", \"\"\"{text}\"\"\"] }}")
}

fn push(world: &World, server: &Running, n: usize) -> String {
    let before = world.git(&["rev-parse", "HEAD"]);
    let commit = world.commit("x", &n.to_string());
    job_of(&server.deliver(&world.push(&before, &commit, &["x"])))
}

fn port_file(world: &World, id: &str) -> PathBuf {
    world.path(&format!("swifthook-state/runs/{id}-1/output/port"))
}

fn port_of(world: &World, id: &str) -> u16 {
    let file = port_file(world, id);
    assert!(appears(&file), "{}", world.server_log());
    until(|| fs::read_to_string(&file).unwrap().trim().parse().ok()).expect("a port")
}
