//! From a push to a model, with the real ms-swift on the CPU.
//!
//! Needs what `scripts/ms-swift-cpu.sh FOLDER` makes, and fails without it:
//!
//! ```text
//! SWIFTHOOK_TEST_MS_SWIFT=FOLDER cargo test -p swifthook --test ms_swift -- --ignored
//! ```
//!
//! With ms-swift 3.12 (`scripts/ms-swift-cpu.sh FOLDER 3.12.6`), which does not save when it is asked to end, add
//! `--skip makes_way --skip cancelled --skip demo`.

#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod authority;
mod going;
mod loader;
#[expect(dead_code, reason = "a part of the world of the server's tests is enough here")]
#[path = "../server/world.rs"]
mod world;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use world::{Running, World, job_of};

/// What the script made.
fn made() -> PathBuf {
    let folder = std::env::var_os("SWIFTHOOK_TEST_MS_SWIFT")
        .expect("SWIFTHOOK_TEST_MS_SWIFT names a folder that scripts/ms-swift-cpu.sh made");
    let folder = PathBuf::from(folder);
    for part in ["venv/bin/swift", "model/config.json", "data/train.jsonl"] {
        assert!(folder.join(part).exists(), "{part} is missing: run scripts/ms-swift-cpu.sh");
    }
    folder
}

fn world() -> World {
    let made = made().display().to_string();
    let world = World::new("run = { command = [\"true\"] }");
    let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    let (head, _) = config.split_once("trust = ").unwrap();
    let recipe = format!(
        "paths = [\"configs/*.yaml\"]\neach = \"configs/*.yaml\"\n\
         run = {{ swift = \"sft\", config = \"{{path}}\", args = {{ report_to = \"none\" }} }}\n\
         models = [\"{made}/model\"]\ndata = [\"{made}/data/**\"]\nenvironment = {{ venv = \"{made}/venv\" }}\n\
         env = {{ HF_HUB_OFFLINE = \"1\", TRANSFORMERS_OFFLINE = \"1\", HF_DATASETS_OFFLINE = \"1\", \
         CUDA_VISIBLE_DEVICES = \"\" }}\n"
    );
    fs::write(world.path("swifthook.toml"), format!("{head}{recipe}")).unwrap();
    world
}

/// Whether it is ms-swift 3, of whose flags one has another name.
fn is_3() -> bool {
    fs::read_to_string(made().join("venv/made")).unwrap().starts_with("3.")
}

/// A config that trains six steps.
fn sft() -> String {
    let made = made().display().to_string();
    let tuner = if is_3() { "train_type" } else { "tuner_type" };
    format!(
        "model: {made}/model\nmodel_type: qwen3\ntemplate: qwen3\ndataset:\n  - {made}/data/train.jsonl#32\n\
         torch_dtype: float32\nattn_impl: sdpa\n{tuner}: lora\ntarget_modules: [q_proj, v_proj]\n\
         gradient_checkpointing: false\nmax_steps: 6\nsave_steps: 3\nlogging_steps: 1\n\
         per_device_train_batch_size: 2\ngradient_accumulation_steps: 1\nlearning_rate: 5e-4\n\
         dataset_num_proc: 1\ndataloader_num_workers: 0\nload_from_cache_file: false\n\
         system: You are a helpful assistant.\n"
    )
}

fn push(world: &World, server: &Running, text: &str) -> String {
    let before = world.commit("README.md", &format!("before {text}"));
    let commit = world.commit("configs/sft.yaml", text);
    let answer = server.deliver(&world.push(&before, &commit, &["configs/sft.yaml"]));
    assert_eq!(answer.status.as_u16(), 202, "{}", answer.body);
    job_of(&answer)
}

/// The job at its end; ms-swift takes a minute where the machine is busy.
fn ends(world: &World, server: &Running, id: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(1_200);
    loop {
        let job = server.job(id);
        if matches!(job["state"].as_str().unwrap(), "succeeded" | "failed" | "cancelled" | "quarantined") {
            return job;
        }
        assert!(Instant::now() < deadline, "{job:#}\n{}", world.server_log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs ms-swift: SWIFTHOOK_TEST_MS_SWIFT=FOLDER"]
fn a_pushed_config_trains_and_tells_how_far_it_is() {
    let world = world();
    // What would be imported in the place of torch, if the run began in a working tree.
    world.commit("torch.py", "raise SystemExit('the repository runs code')\n");
    let server = world.serve();
    // Lines of an evaluation come last, and count no steps.
    let id =
        push(&world, &server, &(sft() + "split_dataset_ratio: 0.25\neval_strategy: steps\neval_steps: 3\n"));
    let job = ends(&world, &server, &id);
    let (_, log) = server.call("GET", &format!("/api/v1/jobs/{id}/log?tail=60"), "");
    assert_eq!(job["state"], "succeeded", "{job:#}\n{log}\n{}", world.server_log());
    let progress = &job["progress"];
    assert_eq!((&progress["step"], &progress["max_steps"]), (&6.into(), &6.into()), "{progress}");
    for key in ["loss", "eval_loss", "grad_norm", "learning_rate", "seconds_per_step"] {
        assert!(progress[key].as_f64().is_some_and(|number| number >= 0.0), "{key}: {progress}");
    }
    assert_eq!((&progress["checkpoint"], &job["checkpoint"]["step"]), (&6.into(), &6.into()), "{job:#}");
    let output = world.path(&format!("swifthook-state/runs/{id}-1/output"));
    for part in ["logging.jsonl", "args.json", "checkpoint-3", "checkpoint-6/adapter_config.json"] {
        assert!(output.join(part).exists(), "{part}");
    }
    let tree = world.path(&format!("swifthook-state/runs/{id}-1/tree"));
    assert!(!tree.join("torch.py").exists() && !tree.join("configs").exists());
}

#[test]
#[ignore = "needs ms-swift: SWIFTHOOK_TEST_MS_SWIFT=FOLDER"]
fn a_training_that_diverges_is_told_though_its_loss_is_logged_as_0() {
    let world = world();
    let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    fs::write(world.path("swifthook.toml"), format!("{config}trust = \"code\"\n")).unwrap();
    let server = world.serve();
    let text = sft().replace("learning_rate: 5e-4", "learning_rate: 1e30");
    let id = push(&world, &server, &text);
    let job = ends(&world, &server, &id);
    assert_eq!(job["state"], "succeeded", "{job:#}\n{}", world.server_log());
    let warnings = job["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|warning| warning["reason"] == "diverged"), "{job:#}");
}

#[test]
#[ignore = "needs ms-swift: SWIFTHOOK_TEST_MS_SWIFT=FOLDER"]
fn the_demo_trains_with_the_ms_swift_that_is_on_the_path() {
    let temporary = tempfile::tempdir().unwrap();
    let path = format!("{}/venv/bin:{}", made().display(), std::env::var("PATH").unwrap());
    let mut demo = std::process::Command::new(assert_cmd::cargo::cargo_bin!("swifthook"));
    demo.arg("demo").env("PATH", path).env("TMPDIR", temporary.path());
    let output = demo.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for row in [
        "ms-swift 4.",
        "✓ checkout   configs/sft_demo.yaml read from commit ",
        "✓ training   20 steps, loss 5.",
        "✓ result     succeeded, ",
    ] {
        assert!(text.lines().any(|line| line.trim_start().starts_with(row)), "{row}\nis not in\n{text}");
    }
}

#[test]
#[ignore = "needs ms-swift: SWIFTHOOK_TEST_MS_SWIFT=FOLDER"]
fn what_cannot_be_run_is_refused_before_anything_starts() {
    let world = world();
    let server = world.serve();
    let made = made().display().to_string();
    let missing = sft().replace("train.jsonl", "absent.jsonl");
    let (misspelt, ways_out) = (
        sft().replace("learning_rate", "lerning_rate"),
        "ENV: {LD_PRELOAD: /x.so}\nexternal_plugins: [plugin.py]\nmodel: ./model\nadapters: [evil/lora]\n\
         dataset: ../data.jsonl\noutput_dir: /etc\nhub_token: hf_abc\nmodel_kwargs: {PYTHONPATH: .}\n"
            .to_owned(),
    );
    for (text, whys) in [
        (misspelt, &["`lerning_rate`: did you mean `learning_rate`?"][..]),
        (missing, &["line 4: ", "absent.jsonl", "No such file"]),
        (
            ways_out,
            &[
                "line 1: `ENV`",
                "line 2: `external_plugins`",
                "line 3: `model`",
                "line 4: `adapters`",
                "line 5: `dataset`",
                "line 7: `hub_token`",
                "line 8: `model_kwargs`",
            ],
        ),
        (format!("model: {made}/model/../../x\n"), &["without `..`"]),
        ("model: [\n".to_owned(), &["not YAML"]),
    ] {
        let id = push(&world, &server, &text);
        let job = ends(&world, &server, &id);
        assert_eq!((&job["state"], &job["reason"]), (&"failed".into(), &"config".into()), "{job:#}");
        let detail = job["detail"].as_str().unwrap();
        for why in whys {
            assert!(detail.contains(why), "{why}\n{detail}");
        }
        assert!(detail.starts_with("configs/sft.yaml: "), "{detail}");
        assert!(!world.path(&format!("swifthook-state/runs/{id}-1/log")).exists());
    }

    std::os::unix::fs::symlink("/etc/passwd", world.path("repository/configs/link.yaml")).unwrap();
    let commit = world.commit("README.md", "a link beside it");
    let answer = server.deliver(&world.push(&commit, &commit, &["configs/link.yaml"]));
    let job = ends(&world, &server, &job_of(&answer));
    assert_eq!(job["reason"], "config", "{job:#}");
    assert!(job["detail"].as_str().unwrap().contains("symbolic link"), "{job:#}");
}
