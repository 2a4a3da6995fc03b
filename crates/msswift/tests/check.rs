//! Configs against the tables: what passes, what is translated, and what is told about the rest.

#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

use swifthook_msswift::{
    Allowed, Config, Flags, Launch, LocalKind, Permissions, Processes, Rules, Table, Trust, Verb, check, look,
};

fn table(version: &str) -> &'static Table {
    Table::of(version.parse().unwrap()).unwrap()
}

fn checked(version: &str, verb: Verb, trust: Trust, text: &str) -> Result<Flags, String> {
    let permissions = Permissions {
        models: Allowed::models(["Qwen/*", "/models/**"]).unwrap(),
        data: Allowed::files(["/data/**"]).unwrap(),
        hub_data: Allowed::data_sets(["acme/*"]).unwrap(),
        ..Permissions::default()
    };
    let rules = Rules { table: table(version), verb, trust, permissions: &permissions };
    let config = Config::read(text.as_bytes()).map_err(|mistake| mistake.to_string())?;
    check(&config, rules)
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

fn argv(version: &str, verb: Verb, config: &Flags, recipe: &Flags) -> Vec<String> {
    let launch = Launch {
        table: table(version),
        verb,
        config,
        recipe,
        output_dir: "/runs/1/output",
        resume: None,
        processes: Processes::default(),
        is_offline: false,
        hub: None,
    };
    launch.command().argv
}

const TINY: &str = "\
model: /models/tiny
dataset:
  - /data/train.jsonl#64
  - acme/more:default
tuner_type: lora
target_modules: [q_proj, all-linear]
learning_rate: 5e-4
max_steps: 12
gradient_checkpointing: off
columns: {a: query, n: 1}
system: You are a helpful assistant.
";

#[test]
fn a_good_config_becomes_flags_and_ours_come_last() {
    let flags = checked("4.6.0", Verb::Sft, Trust::Data, TINY).unwrap();
    assert_eq!(
        argv("4.6.0", Verb::Sft, &flags, &Flags::default()),
        [
            "swift",
            "sft",
            "--check_model=false",
            "--enable_jit_checkpoint=true",
            "--model=/models/tiny",
            "--dataset",
            "/data/train.jsonl#64",
            "acme/more:default",
            "--tuner_type=lora",
            "--target_modules",
            "q_proj",
            "all-linear",
            "--learning_rate=5e-4",
            "--max_steps=12",
            "--gradient_checkpointing=false",
            "--columns={\"a\":\"query\",\"n\":1}",
            "--system=You are a helpful assistant.",
            "--output_dir=/runs/1/output",
            "--add_version=false",
            "--use_hf=false",
        ]
    );
    let locals: Vec<_> =
        flags.locals().map(|one| (one.line.unwrap(), one.kind, one.path.to_str().unwrap())).collect();
    assert_eq!(locals, [(1, LocalKind::Model, "/models/tiny"), (2, LocalKind::Data, "/data/train.jsonl")]);
}

#[test]
fn the_recipe_wins_over_the_config_and_the_run_over_both() {
    let config =
        checked("4.6.0", Verb::Sft, Trust::Code, "learning_rate: 1\noutput_dir: x\nmodel: m\n").unwrap();
    let args = ["--learning_rate=2", "--output_dir=y", "--dataset=a", "--dataset=b", "--check_model=true"];
    let none = Permissions::default();
    let rules = Rules { table: table("4.6.0"), verb: Verb::Sft, trust: Trust::Code, permissions: &none };
    let recipe = check(&Config::of_arguments(args).unwrap(), rules).unwrap();
    assert_eq!(
        argv("4.6.0", Verb::Sft, &config, &recipe),
        [
            "swift",
            "sft",
            "--enable_jit_checkpoint=true",
            "--model=m",
            "--learning_rate=2",
            "--dataset",
            "a",
            "b",
            "--check_model=true",
            "--output_dir=/runs/1/output",
            "--add_version=false",
        ]
    );
    assert!(Config::of_arguments(["learning_rate=1"]).is_err() && Config::of_arguments(["--x"]).is_err());
}

#[test]
fn names_of_other_versions_are_translated_and_others_told() {
    let flags = |version, text| checked(version, Verb::Sft, Trust::Data, text);
    assert_eq!(flags("4.6.0", "train_type: lora").unwrap().value("tuner_type"), Some("lora"));
    assert_eq!(flags("3.12.6", "tuner_type: lora").unwrap().value("train_type"), Some("lora"));
    let infer = |version, text| checked(version, Verb::Infer, Trust::Data, text);
    assert_eq!(infer("3.12.6", "infer_backend: transformers").unwrap().value("infer_backend"), Some("pt"));
    assert!(infer("4.6.0", "infer_backend: pt").is_ok());
    let told = |text| flags("4.6.0", text).unwrap_err();
    assert_eq!(
        told("lerning_rate: 1"),
        "line 1: `swift sft` of ms-swift 4.6.0 has no `lerning_rate`: did you mean `learning_rate`?"
    );
    assert!(told("sft_type: lora").contains("did you mean `tuner_type`?"));
    assert!(told("quantization_bit: 4").contains("`quant_bits`"));
    assert!(told("rlhf_type: dpo").contains("it is one of `swift rlhf`"));
    let megatron = checked("4.6.0", Verb::MegatronSft, Trust::Data, "learning_rate: 1e-4").unwrap_err();
    assert!(megatron.contains("did you mean `lr`?"), "{megatron}");
    assert!(told("nonsense_key: 1").ends_with("has no `nonsense_key`"));
    let plugins = checked("3.12.6", Verb::Sft, Trust::Code, "external_plugins: [a.py]").unwrap();
    assert!(plugins.iter().next().is_some());
}

#[test]
fn every_mistake_is_told_at_once_with_its_line() {
    let told = checked(
        "4.6.0",
        Verb::Sft,
        Trust::Data,
        "max_steps: many\nlearning_rate: fast\nbf16: perhaps\ntorch_dtype: float8\nmodel: [a, b]\nseed:\n\
         save_steps: 5\nsave-steps: 6\ndataset: []\nwarmup_steps: {a: 1}\n",
    )
    .unwrap_err();
    let expected = [
        "line 1: `max_steps`: `many` is not a whole number",
        "line 2: `learning_rate`: `fast` is not a number",
        "line 3: `bf16`: `perhaps` is not true or false",
        "line 4: `torch_dtype`: `float8` is not one of bfloat16, float16, float32, None",
        "line 5: `model`: one value was expected, and is a list",
        "line 6: `seed`: no value; leave the key out",
        "line 8: `save_steps` is set twice; the first time in line 7",
        "line 9: `dataset`: the list is empty; leave the key out",
        "line 10: `warmup_steps`: one value was expected, and is a mapping",
    ];
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn what_is_right_beside_a_mistake_is_looked_at_too() {
    let config = Config::read(b"lerning_rate: 1\nadapters: [/models/a]\nval_dataset: /data/v.csv\n").unwrap();
    let permissions = Permissions {
        models: Allowed::models(["/models/*"]).unwrap(),
        data: Allowed::files(["/data/*"]).unwrap(),
        ..Permissions::default()
    };
    let rules =
        Rules { table: table("4.6.0"), verb: Verb::Sft, trust: Trust::Data, permissions: &permissions };
    let (flags, mistakes) = look(&config, rules);
    assert_eq!(mistakes.len(), 1);
    let kinds: Vec<_> = flags.locals().map(|one| (one.key, one.kind)).collect();
    assert_eq!(kinds, [("adapters", LocalKind::Adapter), ("val_dataset", LocalKind::Data)]);
    assert!(check(&config, rules).is_err());
}

#[test]
fn every_way_out_is_refused_with_its_reason() {
    for (text, why) in [
        ("ENV: {LD_PRELOAD: /x.so}", "variables of the environment"),
        ("model_kwargs: '{\"LD_PRELOAD\": \"/x.so\"}'", "variables of the environment"),
        ("external_plugins: [plugin.py]", "names code"),
        ("custom_register_path: plugin.py", "names code"),
        ("callbacks: [evil]", "names code"),
        ("hub_token: hf_abc", "secret"),
        ("push_to_hub: true", "elsewhere"),
        ("hub_model_id: evil/x", "elsewhere"),
        ("custom_dataset_info: [info.json]", "files of this machine"),
        ("local_repo_path: .", "files of this machine"),
        ("output_dir: /etc", "every run sets it itself"),
        ("add_version: true", "every run sets it itself"),
        ("resume_from_checkpoint: /x", "every run sets it itself"),
        ("logging_dir: /x", "every run sets it itself"),
        ("ignore_args_error: true", "not among the keys"),
        ("load_args: true", "not among the keys"),
        ("model: ./model_dir", "neither an absolute path"),
        ("model: /models/../etc", "neither an absolute path"),
        ("model: evil/model", "the recipe allows `Qwen/*`, `/models/**`"),
        ("dataset: data/train.jsonl/x", "neither an absolute path"),
        ("dataset: ../train.jsonl", "neither an absolute path"),
        ("dataset: [/data/a, /etc/passwd]", "the recipe allows"),
        ("adapters: [evil/lora]", "the recipe allows"),
        ("deepspeed: ds.json", "one of zero0"),
        ("deepspeed: {zero_optimization: {stage: 2}}", "one of zero0"),
        ("fsdp: '{\"fsdp\": \"x\"}'", "one of fsdp2"),
        ("attn_impl: evil/kernel", "one of eager"),
        ("report_to: wandb", "one of none tensorboard"),
        ("system: prompts/secret.txt", "a file of this machine"),
        ("system: /etc/passwd", "a file of this machine"),
        ("new_special_tokens: [tokens.txt]", "a file of this machine"),
        ("columns: /etc/columns.json", "not a structure"),
        ("columns: {a: ../x}", "could be taken for a file"),
        ("rope_scaling: ./x.json", "not a structure"),
        ("template: a/b", "plain name"),
        ("model_type: ../x", "plain name"),
        ("loss_scale: --external_plugins=x.py", "plain name"),
        ("target_modules: [a, --external_plugins, x.py]", "taken for a flag"),
        ("stop_words: [a, -x]", "taken for a flag"),
        ("device_map: map.json", "files of this machine"),
        ("use_ray: true", "whom the run talks to"),
        ("\"learning_rate=1 --hub_token\": x", "has no"),
        ("--external_plugins: [x]", "has no"),
    ] {
        let told = checked("4.6.0", Verb::Sft, Trust::Data, text).expect_err(text);
        assert!(told.starts_with("line 1: ") && told.contains(why), "{text}\n  {told}");
    }
}

#[test]
fn a_repository_that_may_run_code_may_name_anything_but_what_is_ours() {
    let text =
        "external_plugins: [plugin.py]\nmodel: ./m\ndeepspeed: ds.json\nENV: {A: b}\noutput_dir: out\n";
    let flags = checked("4.6.0", Verb::Sft, Trust::Code, text).unwrap();
    let none = Flags::default();
    assert_eq!(
        argv("4.6.0", Verb::Sft, &flags, &none)[3..],
        [
            "--enable_jit_checkpoint=true",
            "--external_plugins=plugin.py",
            "--model=./m",
            "--deepspeed=ds.json",
            "--output_dir=/runs/1/output",
            "--add_version=false"
        ]
    );
    assert!(checked("4.6.0", Verb::Sft, Trust::Code, "lerning_rate: 1").is_err(), "mistakes stay mistakes");
    assert!(checked("4.6.0", Verb::Sft, Trust::Code, "stop_words: [a, --x]").is_err());
    assert!(checked("4.6.0", Verb::Sft, Trust::Code, "ENV: {SWIFTHOOK_JOB: x}").is_err());
}

#[test]
fn the_environment_says_how_many_processes_there_are() {
    let env = |processes, is_offline| {
        let none = Flags::default();
        let (config, recipe) = (&none, &none);
        let (table, verb, output_dir, resume) = (table("4.6.0"), Verb::Sft, "/o", None);
        let launch =
            Launch { table, verb, config, recipe, output_dir, resume, processes, is_offline, hub: None };
        launch.command().env
    };
    let told = |name: &str, env: &std::collections::BTreeMap<String, Option<String>>| env.get(name).cloned();
    let one = env(Processes::default(), false);
    assert_eq!(told("NPROC_PER_NODE", &one), Some(None), "cleared, since 1 still means torchrun");
    assert_eq!(told("NNODES", &one), Some(None));
    assert_eq!(told("PYTHONSAFEPATH", &one), Some(Some("1".into())));
    assert_eq!(told("HF_HUB_OFFLINE", &one), None);
    let many =
        env(Processes { per_node: 8, nodes: 2, rank: 1, master: Some(("10.0.0.1".into(), 29500)) }, true);
    for (name, value) in [
        ("NPROC_PER_NODE", "8"),
        ("NNODES", "2"),
        ("NODE_RANK", "1"),
        ("MASTER_ADDR", "10.0.0.1"),
        ("MASTER_PORT", "29500"),
        ("HF_HUB_OFFLINE", "1"),
        ("TRANSFORMERS_OFFLINE", "1"),
    ] {
        assert_eq!(told(name, &many), Some(Some(value.into())), "{name}");
    }
}

#[test]
fn a_first_argument_is_never_a_config_file() {
    let config = checked("4.6.0", Verb::Export, Trust::Code, "custom_dataset_info: info.json\n").unwrap();
    let argv = argv("4.6.0", Verb::Export, &config, &Flags::default());
    assert_eq!(argv[2..4], ["--custom_dataset_info", "info.json"]);
}

#[test]
fn megatron_of_version_3_saves_where_the_run_says() {
    let argv = argv("3.12.6", Verb::MegatronSft, &Flags::default(), &Flags::default());
    assert!(argv.contains(&"--save=/runs/1/output".to_owned()), "{argv:?}");
    assert_eq!(argv[..2], ["megatron", "sft"]);
}

#[test]
fn no_name_is_suggested_for_a_long_key_nor_after_many_mistakes() {
    let told = |text: &str| checked("4.6.0", Verb::Sft, Trust::Data, text).unwrap_err();
    let long = format!("learning_rate{}", "e".repeat(60));
    assert!(!told(&format!("{long}: 1")).contains("did you mean"), "{long}");
    let many: String = (0..40).map(|number| format!("learning_rate{number}: 1\n")).collect();
    assert_eq!(told(&many).matches("did you mean `learning_rate`?").count(), 32);
}
