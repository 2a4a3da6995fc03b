//! The configs in `examples/recipes`, against the tables of the versions that they are for.

#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

use std::fs;
use std::path::Path;

use swifthook_msswift::{
    Allowed, Config, Flags, Launch, Permissions, Processes, Rules, Table, Trust, Verb, check,
};

/// What a config becomes.
fn command(file: &str, version: &str, verb: Verb) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/recipes");
    let text = fs::read(folder.join(file)).unwrap();
    let permissions = Permissions {
        models: Allowed::models(["Qwen/*"]).unwrap(),
        hub_data: Allowed::data_sets(["AI-ModelScope/*", "AI-MO/*", "hjh0119/shareAI-*"]).unwrap(),
        ..Permissions::default()
    };
    let table = Table::of(version.parse().unwrap()).unwrap();
    let rules = Rules { table, verb, trust: Trust::Data, permissions: &permissions };
    let flags = check(&Config::read(&text).unwrap(), rules).unwrap_or_else(|mistakes| {
        panic!(
            "{file} for {version}: {}",
            mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        )
    });
    let launch = Launch {
        table,
        verb,
        config: &flags,
        recipe: &Flags::default(),
        output_dir: "/o",
        resume: None,
        processes: Processes::default(),
        is_offline: false,
        hub: None,
    };
    launch.command().argv.join(" ")
}

const NEW: &str = "4.6.0";
const OLD: &str = "3.12.6";

#[test]
fn each_example_is_a_command_of_its_versions() {
    for (file, verb, versions, flag) in [
        ("qlora.yaml", Verb::Sft, &[NEW, OLD][..], "--quant_method=bnb --quant_bits=4"),
        ("galore.yaml", Verb::Sft, &[NEW, OLD], "--use_galore=true"),
        ("deepspeed.yaml", Verb::Sft, &[NEW, OLD], "--deepspeed=zero3"),
        ("fsdp.yaml", Verb::Sft, &[NEW], "--fsdp=fsdp2"),
        ("dpo.yaml", Verb::Rlhf, &[NEW, OLD], "--rlhf_type=dpo"),
        ("kto.yaml", Verb::Rlhf, &[NEW, OLD], "--rlhf_type=kto"),
        ("grpo.yaml", Verb::Rlhf, &[NEW, OLD], "--reward_funcs accuracy format"),
        ("megatron.yaml", Verb::MegatronSft, &[NEW], "--tensor_model_parallel_size=2"),
    ] {
        for version in versions {
            let command = command(file, version, verb);
            assert!(command.starts_with(&format!("{verb} ")) && command.contains(flag), "{command}");
        }
    }
    assert!(command("qlora.yaml", OLD, Verb::Sft).contains("--train_type=lora"));
}

#[test]
fn each_example_is_in_the_list() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/recipes");
    let names = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.ends_with(".yaml")).count(), 8);
}
