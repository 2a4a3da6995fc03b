//! GPUs by lease, with a script in the place of `nvidia-smi`: nothing here asks a driver.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::world::{Running, World, until};
use serde_json::{Value, json};

const TWO_H200: &str = "\
0, GPU-9c73eb7b-8d6d-6c0e-dc13-97873e2ede40, NVIDIA H200, 143771, 0, 143156, 0, Disabled
1, GPU-c92e2d5d-4a69-f1cd-4df0-305f8606705a, NVIDIA H200, 143771, 0, 143156, 0, Disabled
";

/// With a recipe of one job a file, that tells what it sees and runs while the file `hold` is there.
fn world(gpus: &str, answer: &str) -> World {
    let sees = "echo sees ${CUDA_VISIBLE_DEVICES-everything} by $CUDA_DEVICE_ORDER.";
    world_of(&format!("[\"sh\", \"-c\", \"{sees}; {RUN}\"]"), gpus, answer)
}

fn world_of(command: &str, gpus: &str, answer: &str) -> World {
    let world = World::new(&format!(
        "each = \"configs/*.yaml\"\nretry = {{ attempts = 1, backoff = \"1s\" }}\n{gpus}\n\
         run = {{ command = {command} }}\n[worker]\nslots = 4\ngpus = {{ settle = \"1s\" }}",
    ));
    fs::create_dir(world.path("bin")).unwrap();
    // Where a machine has the library, it is not to be found.
    fs::write(world.path("bin/libnvidia-ml.so.1"), "none").unwrap();
    if !answer.is_empty() {
        let program = world.path("bin/nvidia-smi");
        fs::write(world.path("bin/answer"), answer).unwrap();
        let script = "#!/bin/sh\ncase \"$*\" in *query-gpu*) cat \"${0%/*}/answer\";; esac\n";
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(world.path("hold"), "").unwrap();
    world
}

/// A push that changes these files, and its jobs.
fn push(world: &World, server: &Running, files: &[&str]) -> Vec<String> {
    let (mut before, mut after) = (String::new(), String::new());
    let number = world.git(&["rev-list", "--count", "HEAD"]);
    for file in files {
        before = if before.is_empty() { world.commit("README.md", &number) } else { before };
        after = world.commit(file, &format!("{file} after {number}"));
    }
    let answer = server.deliver(&world.push(&before, &after, files));
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    let jobs = body["verdicts"][0]["jobs"].as_array().unwrap_or_else(|| panic!("no jobs: {body}"));
    jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_list_of_workers_tells_which_gpus_they_have() {
    let one_of_another = TWO_H200.replacen("NVIDIA H200", "NVIDIA L4", 1);
    let world = world("", &one_of_another);
    let server = world.serve();
    let told = until(|| {
        let worker = server.get("/api/v1/workers")["workers"][0].clone();
        Some(worker).filter(|worker| worker["gpus"].as_array().is_some_and(|gpus| !gpus.is_empty()))
    });
    let expected = json!([{"name": "NVIDIA L4", "count": 1}, {"name": "NVIDIA H200", "count": 1}]);
    assert_eq!(told.expect("it tells")["gpus"], expected);
    let table = world.program(&["workers", "--server", &server.admin]).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("1 × NVIDIA L4, 1 × NVIDIA H200"), "{table}");
}

fn sees(server: &Running, id: &str) -> String {
    let seen = until(|| {
        let (_, log) = server.call("GET", &format!("/api/v1/jobs/{id}/log"), "");
        log.lines().find_map(|line| line.strip_prefix("sees ").map(str::to_owned))
    });
    seen.unwrap_or_else(|| panic!("no log: {:#}", server.job(id)))
}

#[test]
fn runs_have_gpus_of_their_own_over_a_crash_and_others_wait_for_them() {
    let world = world("gpus = { count = 1, min_free_memory = \"80 GiB\", names = [\"*H200*\"] }", TWO_H200);
    let server = world.serve();
    let ids = push(&world, &server, &["configs/a.yaml", "configs/b.yaml", "configs/c.yaml"]);
    let running = || ids.iter().filter(|id| server.job(id)["state"] == "running").count() == 2;
    assert!(
        until(|| running().then_some(())).is_some(),
        "{:#}\n{}",
        server.get("/api/v1/jobs"),
        world.server_log()
    );
    let waits = ids.iter().find(|id| server.job(id)["state"] == "queued").unwrap();
    let told = until(|| {
        let job = server.job(waits);
        (job["waits_for"] == "gpu").then(|| job["detail"].as_str().unwrap().to_owned())
    });
    let leased = "1 GPU of *H200* with 80 GiB free: 0 of 2 are free, 2 are leased, 1st in line";
    let settled = until(|| (server.job(waits)["detail"] == leased).then_some(()));
    assert!(settled.is_some(), "{told:?}: {:#}", server.job(waits));

    let mut seen: Vec<_> = ids.iter().filter(|id| *id != waits).map(|id| sees(&server, id)).collect();
    seen.sort();
    assert_eq!(
        seen,
        [
            "GPU-9c73eb7b-8d6d-6c0e-dc13-97873e2ede40 by PCI_BUS_ID.",
            "GPU-c92e2d5d-4a69-f1cd-4df0-305f8606705a by PCI_BUS_ID."
        ]
    );
    let workers = server.get("/api/v1/workers");
    assert_eq!(workers["gpus"].as_array().map(Vec::len), Some(2), "{workers:#}");
    let listed = world.program(&["workers", "--server", &server.admin]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("GPU-9c73eb7b-8d6d-6c0e-dc13-97873e2ede40"), "{listed}");
    let (_, metrics) = server.call("GET", "/metrics", "");
    for line in ["swifthook_gpus{state=\"leased\"} 2", "swifthook_gpus{state=\"free\"} 0"] {
        assert!(metrics.lines().any(|is| is == line), "{line} in\n{metrics}");
    }
    // The runs go on without the server, and so do their leases.
    server.signal("KILL");
    drop(server);
    let server = world.serve();
    let last_look = server.job(waits)["not_before"].clone();
    let looked = until(|| Some(server.job(waits)).filter(|job| job["not_before"] != last_look));
    assert_eq!(looked.map(|job| job["state"].clone()), Some("queued".into()), "{:#}", server.job(waits));
    fs::remove_file(world.path("hold")).unwrap();
    for id in &ids {
        let job = server.wait_for(id, &["succeeded", "failed"]);
        assert_eq!((&job["state"], &job["attempt"]), (&"succeeded".into(), &1.into()), "{job:#}");
    }
    assert!(sees(&server, waits).starts_with("GPU-"));
}

#[test]
fn a_machine_without_gpus_runs_what_needs_none_and_lets_the_others_wait() {
    let world = world("gpus = { count = 1 }", "");
    fs::remove_file(world.path("hold")).unwrap();
    let server = world.serve();
    let id = push(&world, &server, &["configs/a.yaml"]).remove(0);
    let waits = until(|| Some(server.job(&id)).filter(|job| job["waits_for"] == "gpu"));
    let waits = waits.unwrap_or_else(|| panic!("{:#}", server.job(&id)));
    let detail = waits["detail"].as_str().unwrap();
    assert!(detail.contains("there is no nvidia-smi on the PATH"), "{detail}");
    assert_eq!(world.server_log().matches("has no GPUs that can be used").count(), 1);

    let listed = world.program(&["jobs", "list", "--server", &server.admin]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("waits for 1 GPU: there is no"), "{listed}");
    // Who asks for none any more has waited long enough.
    let recipe = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    fs::write(world.path("swifthook.toml"), recipe.replace("gpus = { count = 1 }", "")).unwrap();
    server.signal("HUP");
    server.wait_for(&id, &["succeeded"]);
    assert_eq!(sees(&server, &id), "by .", "a run without GPUs sees none");
}

#[test]
fn a_job_whose_like_needed_more_memory_than_it_may_get_is_warned_and_runs() {
    let trainer = "[\"sh\", \"-c\", \"cat $HOME/progress > $SWIFTHOOK_PROGRESS\"]";
    let world = world_of(trainer, "gpus = { count = 1, min_free_memory = \"40 GiB\" }", TWO_H200);
    let told = "{\"step\": 1, \"max_steps\": 1, \"memory(GiB)\": 71.25}\n";
    fs::write(world.path("progress"), told).unwrap();
    let server = world.serve();
    let trains = || {
        let id = push(&world, &server, &["configs/a.yaml"]).remove(0);
        let job = server.wait_for(&id, &["succeeded", "failed"]);
        assert_eq!(job["state"], "succeeded", "{job:#}");
        (id, job)
    };
    let (_, first) = trains();
    assert_eq!((&first["warnings"], &first["peak_memory_gib"]), (&json!([]), &json!(71.25)), "{first:#}");
    let (id, second) = trains();
    let detail =
        "the last run of this recipe used up to 71.2 GiB on each GPU; `min_free_memory` asks for 40 GiB";
    assert_eq!(second["warnings"], json!([{"reason": "gpu_memory", "detail": detail}]), "{second:#}");
    let line = second["timeline"].as_array().unwrap().iter().find(|line| line["what"] == "warning");
    assert_eq!(line.unwrap()["why"], format!("gpu_memory: {detail}"));
    let shown = world.program(&["jobs", "show", &id, "--server", &server.admin]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    for line in [format!("  warning       {detail}\n"), "  peak memory   71.25 GiB\n".to_owned()] {
        assert!(shown.contains(&line), "{shown}");
    }
}

const RUN: &str = "while [ -e $HOME/hold ]; do sleep 0.05; done";
