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
        ("resume_from_checkpoint: /x", "loaded as code is"),
        ("load_data_args: true", "nobody has checked them"),
        ("ignore_args_error: true", "not among the keys"),
        ("load_args: true", "one of false"),
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
        ("system: prompts/secret.txt", "ms-swift reads a file"),
        ("model_name: /etc/passwd", "a file of this machine"),
        ("new_special_tokens: [tokens.txt]", "a file of this machine"),
        ("columns: /etc/columns.json", "not a structure"),
        ("columns: {a: ../x}", "could be taken for a file"),
        ("rope_scaling: ./x.json", "not a structure"),
        ("template: a/b", "plain name"),
        ("model_type: ../x", "plain name"),
        ("loss_scale: --external_plugins=x.py", "plain name"),
        ("target_modules: [a, --external_plugins, x.py]", "taken for a flag"),
        ("stop_words: [a, -x]", "taken for a flag"),
        ("device_map: map.json", "one of auto"),
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
fn what_a_run_sets_itself_is_set_aside_with_a_note() {
    let text =
        "output_dir: output/Qwen3\nadd-version: false\nmax_steps: 1\nlogging_dir: /x\nadd_version: true\n";
    let flags = checked("4.6.0", Verb::Sft, Trust::Data, text).unwrap();
    let notes: Vec<_> = flags.notes().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        [
            "line 1: `output_dir`: each run has an output of its own: `output/Qwen3` is set aside",
            "line 4: `logging_dir`: each run logs into its own output: `/x` is set aside",
            "line 5: `add_version`: each run has a folder of its own, without versions: `true` is set aside",
        ]
    );
    let argv = argv("4.6.0", Verb::Sft, &flags, &Flags::default()).join(" ");
    assert!(
        argv.contains("--output_dir=/runs/1/output --add_version=false") && !argv.contains("/x"),
        "{argv}"
    );
    let old = checked("3.12.6", Verb::MegatronSft, Trust::Data, "save: /x\n").unwrap();
    assert_eq!(old.notes().count(), 1);
}

#[test]
fn whoever_may_run_code_says_where_it_goes_on_from_and_how_many_processes_there_are() {
    let text = "resume_from_checkpoint: /x/checkpoint-5\nlogging_dir: logs\noutput_dir: o\n\
                ENV: {NPROC_PER_NODE: '2', MASTER_PORT: 29501, A: yes, PYTHONSAFEPATH: ''}\n";
    let config = checked("4.6.0", Verb::Sft, Trust::Code, text).unwrap();
    assert_eq!(config.notes().count(), 1, "of `output_dir` alone");
    let none = Flags::default();
    let launch = |resume, per_node| Launch {
        table: table("4.6.0"),
        verb: Verb::Sft,
        config: &config,
        recipe: &none,
        output_dir: "/o",
        resume,
        processes: Processes { per_node, ..Processes::default() },
        is_offline: false,
        hub: None,
    };
    let argv = |resume| launch(resume, 1).command().argv.join(" ");
    assert!(
        argv(None).contains("--resume_from_checkpoint=/x/checkpoint-5 --logging_dir=logs"),
        "{}",
        argv(None)
    );
    let again = argv(Some("/runs/1/checkpoint-9"));
    assert_eq!(again.matches("--resume_from_checkpoint=").count(), 1, "{again}");
    assert!(again.ends_with("--resume_from_checkpoint=/runs/1/checkpoint-9"), "its own is newer: {again}");
    let env = launch(None, 1).command().env;
    for (name, value) in [
        ("NPROC_PER_NODE", Some("2")),
        ("MASTER_PORT", Some("29501")),
        ("A", Some("True")),
        ("PYTHONSAFEPATH", Some("")),
        ("NNODES", None),
    ] {
        assert_eq!(env[name].as_deref(), value, "{name}");
    }
    assert_eq!(launch(None, 1).notes(|_| false), []);
    let told =
        |notes: Vec<swifthook_msswift::Mistake>| notes.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        told(launch(None, 4).notes(|name| name == "A")),
        [
            "`ENV`: `A` is as the recipe sets it",
            "`ENV`: `MASTER_PORT` is not set in this run: the recipe's `nproc` says so",
            "`ENV`: `NPROC_PER_NODE` is `4` in this run",
        ]
    );
}

#[test]
fn words_that_yaml_reads_otherwise_reach_ms_swift_as_it_reads_them() {
    let text = "gradient_checkpointing_kwargs: {use_reentrant: no, a: [.1, 0x10, 1_0, +1, 1e-4]}\n\
                seed: 0x10\nlearning_rate: 1e-4\nbf16: off\nmodel_name: 007\neval_strategy: no\nstop_words: [no, x]\n";
    let flags = checked("4.6.0", Verb::Sft, Trust::Data, text).unwrap();
    let kwargs = r#"{"use_reentrant":false,"a":[0.1,16,10,1,"1e-4"]}"#;
    assert_eq!(flags.value("gradient_checkpointing_kwargs"), Some(kwargs));
    let values = ["seed", "learning_rate", "bf16", "model_name", "eval_strategy", "stop_words"];
    let values = values.map(|name| flags.value(name).unwrap());
    assert_eq!(values, ["16", "1e-4", "false", "7", "no", "False"]);
    let notes: Vec<_> = flags.notes().map(ToString::to_string).collect();
    let told = |line, key, text, read| {
        format!("line {line}: `{key}`: YAML reads `{text}` as `{read}`; quote it if text is meant")
    };
    assert_eq!(notes, [told(5, "model_name", "007", "7"), told(7, "stop_words", "no", "False")]);
    let dated = checked("4.6.0", Verb::Sft, Trust::Data, "columns: {a: 2026-12-01}\nsystem: 2026-02-30\n")
        .unwrap_err();
    assert_eq!(
        dated,
        "line 1: `columns`: `2026-12-01` is a date, which JSON has not: quote it\n\
         line 2: `system`: `2026-02-30` looks like a date, and there is no such day: quote it"
    );
}

#[test]
fn a_prompt_may_have_addresses_and_words_with_a_slash() {
    for text in [
        "system: /no_think",
        "system: Answer as https://example.com/a does; see ../notes.",
        "response_prefix: /think",
        "stop_words: ['</s>', '/x', '~/']",
    ] {
        assert!(checked("4.6.0", Verb::Sft, Trust::Data, text).is_ok(), "{text}");
    }
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
