//! Names on a hub in a pushed config, as `swifthook check` and a push judge them alike, and the hub that its run is told.

use std::fs;

use serde_json::json;

use crate::swift::{configure, ends, good, output, push, world};

/// Configs that are refused, each with what is told of it.
const REFUSED: [(&str, &str); 16] = [
    ("dataset: ms::acme/x", "a data set of a hub is code, and needs the recipe's `hub_data`"),
    ("dataset: hf::acme/x#10", "a data set of a hub is code"),
    ("val_dataset: [acme/x]", "a data set of a hub is code"),
    ("cached_dataset: acme/x", "no absolute path"),
    ("use_hf: true", "no pattern of the recipe names Hugging Face"),
    ("adapters: hf::Qwen/x", "neither an absolute path"),
    ("model_revision: 0123456789abcdef0123456789abcdef01234567", "it may be a commit"),
    ("model_revision: refs/pr/7", "pull requests of anybody"),
    ("model_revision: main", "the recipe's `revisions` allow `v*`"),
    ("model_type: deepseek_janus", "ms-swift clones https://github.com/deepseek-ai/"),
    ("ref_model: Qwen/Janus-Pro-7B", "`swift sft` of ms-swift 4.6.0 has no `ref_model`"),
    ("adapters: Qwen/Janus-Pro-7B", "ms-swift clones https://github.com/deepseek-ai/"),
    ("optimizer: muon", "ms-swift clones https://github.com/MoonshotAI/Moonlight"),
    ("dataset_num_proc: 100000", "its range is 1 to 128"),
    ("learning_rate: .nan", "its range is 0 to 10"),
    ("weight_decay: NaN", "its range is 0 to 1000000"),
];

#[test]
fn check_and_a_push_say_the_same_of_what_nobody_allowed() {
    let world = world("revisions = [\"v*\"]\nsuperseded = \"keep\"");
    fs::create_dir(world.path("configs")).unwrap();
    let server = world.serve();
    let mut pushed = Vec::new();
    for (number, (text, why)) in REFUSED.into_iter().enumerate() {
        let file = format!("configs/{number}.yaml");
        fs::write(world.path(&file), text).unwrap();
        let checked = world.program(&["check", "--recipe", "sft", &file]).output().unwrap();
        let told = String::from_utf8(checked.stderr).unwrap();
        assert!(checked.status.code() == Some(2) && told.contains(why), "{text}\n{told}");
        let told = told.lines().next().unwrap().split_once(&format!("{file}:1: ")).unwrap().1.to_owned();
        pushed.push((push(&world, &server, &file, text), told));
    }
    for (id, told) in pushed {
        let job = ends(&world, &server, &id);
        assert_eq!((&job["state"], &job["reason"]), (&json!("failed"), &json!("config")), "{job:#}");
        assert!(job["detail"].as_str().unwrap().contains(&told), "{told}\n{job:#}");
    }
}

#[test]
fn a_run_asks_the_hub_of_its_recipe_or_the_one_that_a_pattern_lets_its_config_choose() {
    let told = |more: &str, config: &str| {
        let world = world(more);
        let server = world.serve();
        let id = push(&world, &server, "configs/sft.yaml", &format!("{}{config}", good(&world)));
        let job = ends(&world, &server, &id);
        assert_eq!(job["state"], "succeeded", "{job:#}\n{}", world.server_log());
        let (argv, environment) = (output(&world, &id, "argv"), output(&world, &id, "environment"));
        assert!(environment.contains("GIT_ALLOW_PROTOCOL=none\n"), "{environment}");
        let said: Vec<_> = argv.lines().filter_map(|line| line.strip_prefix("--use_hf=")).collect();
        let used: Vec<_> = environment.lines().filter_map(|line| line.strip_prefix("USE_HF=")).collect();
        (said.join(","), used.join(","))
    };
    let both = |said: &str, used: &str| (said.to_owned(), used.to_owned());
    assert_eq!(told("", "adapters: Qwen/x\n"), both("false", "0"));
    assert_eq!(told("hub = \"huggingface\"", "adapters: Qwen/x\n"), both("true", "1"));
    let named = "hub_data = [\"hf:acme/*\"]";
    assert_eq!(told(named, "use_hf: true\nval_dataset: acme/x\n"), both("true", "1"));
    assert_eq!(told(named, "val_dataset: hf::acme/x\n"), both("false", "0"));
}

#[test]
fn a_configuration_of_before_is_told_the_line_that_replaces_it() {
    let world = world("");
    let check = |more: &str| {
        configure(&world, more);
        let checked = world.program(&["check"]).output().unwrap();
        (checked.status.code(), String::from_utf8(checked.stderr).unwrap())
    };
    assert_eq!(check("").0, Some(0));
    assert_eq!(check("pass_env = [\"HF_ENDPOINT\"]").0, Some(0));
    for (lines, instead) in [
        ("env = { USE_HF = \"1\" }", "write `hub = \"huggingface\"` if that is meant"),
        ("env = { USE_HF = \"0\" }", "write `hub = \"modelscope\"` if that is meant"),
        ("pass_env = [\"USE_HF\"]", "write `hub = \"huggingface\"` if that is meant"),
        ("hub = \"hf\"", "there are `modelscope` and `huggingface`"),
        ("hub_data = [\"/data/**\"]", "move it to `data = [\"/data/**\"]`"),
        ("revisions = [\"abcdef0\"]", "it may be a commit"),
    ] {
        let (code, told) = check(lines);
        assert!(code == Some(2) && told.contains(instead), "{lines}\n{told}");
    }
    let text = fs::read_to_string(world.path("swifthook.toml")).unwrap();
    let before =
        text.replace("/data/*\"]", "/data/*\", \"acme/*\"]").replace("revisions = [\"abcdef0\"]", "");
    fs::write(world.path("swifthook.toml"), before).unwrap();
    for arguments in [&["check"][..], &["check", "--recipe", "sft", "configs/x.yaml"]] {
        let told = world.program(arguments).output().unwrap();
        let text = String::from_utf8(told.stderr).unwrap();
        assert_eq!(told.status.code(), Some(2), "{text}");
        assert!(text.contains("move it to `hub_data = [\"acme/*\"]`"), "{text}");
    }
}
