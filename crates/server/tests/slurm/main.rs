//! The real server on a real Slurm, with the toy trainer. Needs Debian's packages slurm-wlm and munge, and fails without
//! them.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

#[path = "../../../launch/tests/slurm/cluster.rs"]
#[expect(dead_code, reason = "tests of the launcher need the rest of it")]
mod cluster;
#[path = "../server/world.rs"]
#[expect(dead_code, reason = "other tests need the rest of it")]
mod world;

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cluster::Cluster;
use serde_json::Value;
use world::{Running, World, job_of, trains, until};

/// A world whose recipe trains on this cluster; `launcher` is what its [[launcher]] says beside.
fn world(cluster: &Cluster, recipe: &str, launcher: &str) -> World {
    let conf = cluster.path().join("slurm/slurm.conf").display().to_string();
    World::new(&format!(
        "launcher = \"cluster\"\neach = \"*.yaml\"\n{}\n{recipe}\n\
         [[launcher]]\nname = \"cluster\"\nkind = \"slurm\"\nconf = \"{conf}\"\npoll = \"1s\"\n{launcher}",
        trains("{path}")
    ))
}

/// Pushes a configuration of the toy trainer, and answers which job trains it.
fn push(world: &World, server: &Running, text: &str) -> String {
    let commit = world.commit("sft.yaml", text);
    job_of(&server.deliver(&world.push(&commit, &commit, &["sft.yaml"])))
}

/// The names and states of all Slurm jobs, in the order of their numbers.
fn queue(cluster: &Cluster) -> Vec<String> {
    let text = cluster.slurm(&["squeue", "-h", "-t", "all", "-S", "i", "-o", "%j %T"]);
    text.lines().map(str::to_owned).collect()
}

/// Waits until these are all Slurm jobs and their states: a run has written down how it ended before its Slurm job has.
fn is_queue(cluster: &Cluster, expected: &[String]) {
    assert!(until(|| (queue(cluster) == expected).then_some(())).is_some(), "{:?}", queue(cluster));
}

#[test]
fn a_push_trains_on_slurm() {
    let cluster = Cluster::start();
    let world = world(&cluster, "", "");
    let server = world.serve();
    let id = push(&world, &server, "max_steps: 20\n");
    let job = server.wait_for(&id, &["succeeded", "failed"]);
    assert_eq!((&job["state"], &job["launcher"]), (&"succeeded".into(), &"cluster".into()), "{job:#}");
    assert_eq!(job["checkpoint"]["step"], 20, "{job:#}");
    let (_, log) = server.call("GET", &format!("/api/v1/jobs/{id}/log"), "");
    assert!(!log.is_empty(), "its log is there");
    is_queue(&cluster, &[format!("swifthook-{id}-1 COMPLETED")]);
}

/// Asks for something by the command line, and for sure.
fn ask(world: &World, server: &Running, what: &str, id: &str) {
    let asked = world
        .program(&["jobs", what, id, "--yes", "--server", &server.admin])
        .env("SWIFTHOOK_ADMIN_TOKEN", &server.token)
        .output()
        .unwrap();
    assert!(asked.status.success(), "{asked:?}");
}

fn is_at(server: &Running, id: &str, step: u64) {
    let is_there = || (server.job(id)["progress"]["step"].as_u64() >= Some(step)).then_some(());
    assert!(until(is_there).is_some(), "{:#}", server.job(id));
}

fn losses(world: &World, id: &str, attempts: u64) -> Vec<f64> {
    let log = |attempt| world.path(&format!("swifthook-state/runs/{id}-{attempt}/output/logging.jsonl"));
    let text: String =
        (1..=attempts).map(|attempt| std::fs::read_to_string(log(attempt)).unwrap_or_default()).collect();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| line["loss"].as_f64()).collect()
}

#[test]
fn a_run_on_slurm_outlives_the_server_makes_way_and_is_cancelled() {
    let cluster = Cluster::start();
    let world = world(&cluster, "", "");
    let server = world.serve();
    world.pace(50);
    let id = push(&world, &server, "max_steps: 20000\nsave_steps: 10\n");
    is_at(&server, &id, 3);
    drop(server);
    let server = world.serve();
    let before = server.job(&id)["progress"]["step"].as_u64().unwrap_or_default();
    is_at(&server, &id, before + 3);
    is_queue(&cluster, &[format!("swifthook-{id}-1 RUNNING")]);
    ask(&world, &server, "yield", &id);
    let goes_on =
        || (server.job(&id)["attempt"] == 2 && server.job(&id)["resumed_from"]["attempt"] == 1).then_some(());
    assert!(until(goes_on).is_some(), "{:#}", server.job(&id));
    let resumed = server.job(&id)["resumed_from"]["step"].as_u64().unwrap();
    is_at(&server, &id, resumed + 1);
    ask(&world, &server, "cancel", &id);
    server.wait_for(&id, &["cancelled"]);
    let all_over = || queue(&cluster).iter().all(|line| !line.ends_with("RUNNING")).then_some(());
    assert!(until(all_over).is_some(), "{:?}", queue(&cluster));
    assert_eq!(queue(&cluster).len(), 2, "two attempts, two Slurm jobs");
}

#[test]
fn a_run_that_has_to_make_way_for_another_goes_on_afterwards() {
    let cluster = Cluster::start();
    let world = world(&cluster, "", "");
    let server = world.serve();
    let settings = "max_steps: 400\nsave_steps: 50\n";
    let whole = push(&world, &server, settings);
    server.wait_for(&whole, &["succeeded"]);
    // Slowly enough not to end before it is to make way.
    world.pace(300);
    let id = push(&world, &server, &format!("{settings}# once more\n"));
    is_at(&server, &id, 10);
    world.pace(0);
    cluster.slurm(&[
        "sbatch",
        "--partition=urgent",
        "--cpus-per-task=16",
        "--output=/dev/null",
        "--wrap=sleep 3",
    ]);
    let job = server.wait_for(&id, &["succeeded", "failed"]);
    assert_eq!((&job["state"], &job["attempt"]), (&"succeeded".into(), &2.into()), "{job:#}");
    let told = job["timeline"].to_string();
    assert!(told.contains("Slurm had it make way for another job"), "{job:#}");
    assert!(job["resumed_from"]["step"].as_u64() >= Some(10), "{job:#}");
    assert_eq!(
        losses(&world, &id, 2),
        losses(&world, &whole, 1),
        "each step once, and as it would have been"
    );
}

/// Slurm's own programs, of which the first `sbatch` is accepted and kills who called it before it can hear so.
fn deadly(cluster: &Cluster) -> PathBuf {
    let folder = cluster.path().join("programs");
    std::fs::create_dir(&folder).unwrap();
    for program in ["squeue", "scontrol", "scancel"] {
        symlink(Path::new("/usr/bin").join(program), folder.join(program)).unwrap();
    }
    let once = cluster.path().join("once").display().to_string();
    let text = format!(
        "#!/bin/sh\ntold=$(/usr/bin/sbatch \"$@\") || exit\nmkdir '{once}' 2>/dev/null && kill -9 $PPID\necho \"$told\"\n"
    );
    let script = folder.join("sbatch");
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    folder
}

#[test]
fn a_server_that_was_killed_before_it_could_record_the_slurm_job_finds_it() {
    for (settings, pace) in [("max_steps: 100\n", 100), ("max_steps: 2\n", 0)] {
        let cluster = Cluster::start();
        let programs = deadly(&cluster);
        let world = world(&cluster, "", &format!("programs = \"{}\"", programs.display()));
        world.pace(pace);
        let server = world.serve();
        let id = push(&world, &server, settings);
        assert_eq!(server.ended().signal(), Some(9), "it is killed by its `sbatch`");
        let recorded = world.path(&format!("swifthook-state/control/{id}-1/submitted.json"));
        assert!(!recorded.exists(), "it was killed before");
        let is_known = || (!queue(&cluster).is_empty()).then_some(());
        assert!(until(is_known).is_some(), "Slurm has the job");

        let server = world.serve();
        let job = server.wait_for(&id, &["succeeded", "failed"]);
        assert_eq!((&job["state"], &job["attempt"]), (&"succeeded".into(), &1.into()), "{job:#}");
        assert!(recorded.exists());
        is_queue(&cluster, &[format!("swifthook-{id}-1 COMPLETED")]);
    }
}

#[test]
fn a_partition_that_is_not_there_fails_the_job_and_says_so() {
    let cluster = Cluster::start();
    let world = world(&cluster, "", "partition = \"nowhere\"");
    let server = world.serve();
    let id = push(&world, &server, "max_steps: 20\n");
    let job = server.wait_for(&id, &["failed"]);
    assert!(
        job["reason"].to_string().contains("invalid partition")
            || job.to_string().contains("invalid partition"),
        "{job:#}"
    );
    assert_eq!(queue(&cluster), Vec::<String>::new());
}

/// Its Slurm job may take two minutes, and Slurm asks up to a minute before that time is nearly over.
#[test]
#[ignore = "takes five minutes"]
fn a_run_that_needs_longer_than_its_slurm_job_may_take_goes_on_in_another_one() {
    let cluster = Cluster::start();
    let world = world(&cluster, "grace = \"5s\"\n", "time = \"2m\"");
    let server = world.serve();
    let settings = "max_steps: 100\nsave_steps: 50\n";
    let whole = push(&world, &server, settings);
    server.wait_for(&whole, &["succeeded"]);
    world.pace(2_000);
    let id = push(&world, &server, &format!("{settings}# once more\n"));
    let deadline = Instant::now() + Duration::from_secs(540);
    let job = loop {
        let job = server.job(&id);
        if job["state"] == "succeeded" || job["state"] == "failed" {
            break job;
        }
        assert!(Instant::now() < deadline, "{job:#}");
        std::thread::sleep(Duration::from_secs(1));
    };
    let attempts = job["attempt"].as_u64().unwrap();
    assert!(job["state"] == "succeeded" && attempts >= 2, "{job:#}");
    assert_eq!(
        losses(&world, &id, attempts),
        losses(&world, &whole, 1),
        "each step once, and as it would have been"
    );
    // Slurm's own list, which forgets nothing.
    let completed = std::fs::read_to_string(cluster.path().join("slurm/log/completed")).unwrap();
    let jobs = completed.lines().filter(|line| line.contains(&format!("Name=swifthook-{id}-"))).count();
    assert_eq!(jobs as u64, attempts, "one Slurm job for each");
}
