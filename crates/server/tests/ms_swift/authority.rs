//! Which hub a run of the real ms-swift asks, and what it does not fetch.

use std::fs;

use serde_json::Value;

use crate::{ends, made, push, sft, world};

#[test]
#[ignore = "needs ms-swift: SWIFTHOOK_TEST_MS_SWIFT=FOLDER"]
fn a_run_asks_the_hub_that_its_recipe_says() {
    for (hub, is_hugging_face) in [("modelscope", false), ("huggingface", true)] {
        let world = world();
        let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
        fs::write(world.path("swifthook.toml"), format!("{config}hub = \"{hub}\"\n")).unwrap();
        let server = world.serve();
        let id = push(&world, &server, &sft());
        let job = ends(&world, &server, &id);
        assert_eq!(job["state"], "succeeded", "{job:#}\n{}", world.server_log());
        let arguments = world.path(&format!("swifthook-state/runs/{id}-1/output/args.json"));
        let arguments: Value = serde_json::from_slice(&fs::read(arguments).unwrap()).unwrap();
        assert_eq!(arguments["use_hf"], is_hugging_face, "{hub}");
    }
}

#[test]
#[ignore = "needs ms-swift: SWIFTHOOK_TEST_MS_SWIFT=FOLDER"]
fn a_model_that_has_a_type_by_its_own_config_alone_gets_no_repository_cloned() {
    let world = world();
    let model = world.path("models/innocent");
    fs::create_dir_all(&model).unwrap();
    for file in fs::read_dir(made().join("model")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), model.join(file.file_name())).unwrap();
    }
    let config = fs::read_to_string(model.join("config.json")).unwrap();
    // Of ms-swift's types only one that clones has this architecture.
    let other = config.replace("Qwen3ForCausalLM", "MultiModalityCausalLM");
    assert_ne!(config, other);
    fs::write(model.join("config.json"), other).unwrap();
    let config = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    let allowed = format!("models = [\"{}\", ", world.path("models/*").display());
    fs::write(world.path("swifthook.toml"), config.replace("models = [", &allowed)).unwrap();
    let server = world.serve();
    let made = made().join("model").display().to_string();
    let text = sft().replace(&made, &model.display().to_string()).replace("model_type: qwen3\n", "");
    let id = push(&world, &server, &text);
    let job = ends(&world, &server, &id);
    assert_eq!((&job["state"], &job["reason"]), (&"failed".into(), &"training".into()), "{job:#}");
    let (_, log) = server.call("GET", &format!("/api/v1/jobs/{id}/log?tail=200"), "");
    assert!(log.contains("transport 'https' not allowed"), "{log}");
}
