//! Names that mean something else than they seem to: ids without their hub, revisions that are anybody's, types that bring
//! code along, and numbers that exhaust a machine.

#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

use swifthook_msswift::{
    Allowed, Config, Flags, Hub, Launch, Packages, Permissions, Processes, Revisions, Rules, Table, Trust,
    Verb, check, look_at_kernels, look_together,
};

/// A recipe that names some things of either hub.
fn permissions(hub: Option<Hub>) -> Permissions {
    Permissions {
        hub,
        models: Allowed::models(["Qwen/*", "hf:meta-llama/*", "ms:baai/*", "/models/**"]).unwrap(),
        data: Allowed::files(["/data/**"]).unwrap(),
        hub_data: Allowed::data_sets(["acme/*", "hf:squad", "hf:tatsu-lab/alpaca"]).unwrap(),
        revisions: Revisions::new(["v*", "stable"]).unwrap(),
    }
}

fn checked_by(permissions: &Permissions, verb: Verb, trust: Trust, text: &str) -> Result<Vec<Flags>, String> {
    let config = Config::read(text.as_bytes()).map_err(|mistake| mistake.to_string())?;
    let each = Table::all().iter().map(|table| {
        check(&config, Rules { table, verb, trust, permissions }).map_err(|mistakes| mistakes[0].to_string())
    });
    each.collect()
}

/// Flags of a config for both versions, or the first mistake.
fn checked(hub: Option<Hub>, text: &str) -> Result<Vec<Flags>, String> {
    checked_by(&permissions(hub), Verb::Rlhf, Trust::Data, text)
}

fn command(config: &Flags, recipe: &Flags, hub: Option<Hub>) -> (String, Option<String>) {
    let launch = Launch {
        table: &Table::all()[0],
        verb: Verb::Rlhf,
        config,
        recipe,
        output_dir: "/o",
        resume: None,
        processes: Processes::default(),
        is_offline: false,
        hub,
    };
    let command = launch.command();
    (command.argv.join(" "), command.env.get("USE_HF").cloned().flatten())
}

const MS: Option<Hub> = Some(Hub::ModelScope);
const HF: Option<Hub> = Some(Hub::HuggingFace);

#[test]
fn an_id_passes_on_the_hub_of_its_pattern_alone() {
    for (hub, text) in [
        (None, "model: Qwen/x"),
        (MS, "model: Qwen/x\nuse_hf: false"),
        (HF, "model: Qwen/x\nuse_hf: true"),
        (None, "model: meta-llama/x\nuse_hf: true"),
        (HF, "model: meta-llama/x"),
        (HF, "model: /models/x\nuse_hf: false"),
        (HF, "model: baai/x\nuse_hf: 'no'"),
        (None, "dataset: [acme/x, 'ms::acme/y:sub#3', 'HF::squad', 'hf::tatsu-lab/alpaca']"),
        (HF, "dataset: [acme/x, 'hf::acme/x', squad, /data/a.jsonl#10, '/data/folder:sub']"),
        (None, "use_hf: true\ndataset: [squad, 'ms::acme/x']"),
    ] {
        assert!(checked(hub, text).is_ok(), "{hub:?} {text}\n{:?}", checked(hub, text));
    }
    for (hub, text) in [
        (None, "model: Qwen/x\nuse_hf: true"),
        (HF, "model: Qwen/x\nuse_hf: false"),
        (None, "model: meta-llama/x"),
        (HF, "model: baai/x"),
        (None, "dataset: hf::acme/x"),
        (None, "dataset: squad"),
        (HF, "dataset: ms::acme/x"),
        (None, "dataset: acme/x\nuse-hf: 'on'"),
        (None, "use_hf: true\ndataset: [acme/x]"),
        (None, "dataset: hf::/data/a.jsonl"),
        (None, "dataset: xx::acme/x"),
        (None, "val_dataset: [hf::acme/x]"),
        (None, "chord_sft_dataset: hf::acme/x"),
        (None, "ref_model: meta-llama/x"),
        (None, "adapters: [Qwen/a, meta-llama/x]"),
        (None, "ref_adapters: [meta-llama/x]"),
        (None, "reward_model: [meta-llama/x]"),
        (None, "teacher_model: meta-llama/x"),
        (None, "model: hf::meta-llama/x"),
        (None, "model: hf:meta-llama/x"),
        (None, "model: Qwen/x:sub"),
        (None, "model: Qwen/x@v1"),
    ] {
        assert!(checked(hub, text).is_err(), "{hub:?} {text}");
    }
    let told = checked(None, "model: meta-llama/x").unwrap_err();
    assert!(
        told.ends_with("and so `meta-llama/x` of Hugging Face, but it would be taken from ModelScope here"),
        "{told}"
    );
}

#[test]
fn a_config_chooses_a_hub_only_where_a_pattern_names_it() {
    let text = "use_hf: true\nmodel: /models/x";
    let bare =
        Permissions { models: Allowed::models(["Qwen/*", "/models/**"]).unwrap(), ..permissions(None) };
    let none = Permissions { hub_data: Allowed::data_sets(["acme/*"]).unwrap(), ..bare };
    let told = checked_by(&none, Verb::Sft, Trust::Data, text).unwrap_err();
    assert_eq!(
        told,
        "line 1: `use_hf`: `true` is refused: no pattern of the recipe names Hugging Face, as `hf:Qwen/*` would; the \
         recipe's hub is ModelScope"
    );
    let named = Permissions { hub_data: Allowed::data_sets(["hf:acme/*"]).unwrap(), ..none };
    assert!(checked_by(&named, Verb::Sft, Trust::Data, text).is_ok());
}

#[test]
fn a_run_is_told_the_hub_that_it_was_checked_for_whatever_else_says_so() {
    let none = Flags::default();
    for (hub, text, told) in [
        (None, "model: Qwen/x", "false"),
        (HF, "model: Qwen/x", "true"),
        (None, "model: meta-llama/x\nuse_hf: true", "true"),
        (HF, "model: baai/x\nuse_hf: false", "false"),
    ] {
        let flags = checked(hub, text).unwrap();
        let args = Config::of_arguments(["--use_hf=true"]).unwrap();
        let permissions = permissions(hub);
        let rules = Rules {
            table: &Table::all()[0],
            verb: Verb::Rlhf,
            trust: Trust::Code,
            permissions: &permissions,
        };
        let recipe = check(&args, rules).unwrap();
        for recipe in [&none, &recipe] {
            let (argv, env) = command(&flags[0], recipe, hub);
            assert_eq!(argv.matches("--use_hf").count(), 1, "{argv}");
            assert!(argv.ends_with(&format!("--use_hf={told}")), "{argv}");
            assert_eq!(env.as_deref(), Some(if told == "true" { "1" } else { "0" }));
        }
    }
}

#[test]
fn a_repository_that_may_run_code_chooses_its_hub_itself_before_the_recipe_does() {
    let flags = |text: &str| checked_by(&permissions(None), Verb::Rlhf, Trust::Code, text).unwrap().remove(0);
    let none = Flags::default();
    let said = |config: &str, hub| command(&flags(config), &none, hub).1;
    assert_eq!(said("model: x", None), None, "nobody says anything");
    assert_eq!(said("model: x", HF).as_deref(), Some("1"));
    assert_eq!(said("use_hf: true", MS).as_deref(), Some("1"));
    assert_eq!(command(&flags("use_hf: true"), &flags("use_hf: false"), HF).1.as_deref(), Some("0"));
}

#[test]
fn a_config_does_not_move_what_the_recipe_names_to_another_hub() {
    let permissions = permissions(None);
    let rules =
        Rules { table: &Table::all()[0], verb: Verb::Sft, trust: Trust::Data, permissions: &permissions };
    let flags = |config: &Config, trust| check(config, Rules { trust, ..rules }).unwrap();
    let config = flags(&Config::read(b"seed: 1\nuse_hf: true").unwrap(), Trust::Data);
    let together = |args: &[&str]| {
        let recipe = flags(&Config::of_arguments(args).unwrap(), Trust::Code);
        look_together(&config, &recipe, rules).map(|mistake| mistake.to_string())
    };
    let told = together(&["--model=Qwen/x"]).unwrap();
    assert_eq!(
        told,
        "line 2: `use_hf`: the recipe's args name `Qwen/x` of ModelScope, and a run has one hub"
    );
    assert!(together(&["--dataset=/data/x", "--dataset=acme/x"]).is_some());
    assert_eq!(together(&["--model=/models/x", "--dataset=ms::acme/x", "--template=qwen3"]), None);
}

#[test]
fn data_are_files_and_a_data_set_of_a_hub_is_code() {
    let permissions = Permissions { hub_data: Allowed::default(), ..permissions(None) };
    let told = |text: &str| checked_by(&permissions, Verb::Sft, Trust::Data, text).unwrap_err();
    assert_eq!(
        told("dataset: ms::acme/x"),
        "line 1: `dataset`: `ms::acme/x` is refused: a data set of a hub is code, and needs the recipe's `hub_data`: the \
         recipe allows none"
    );
    assert!(told("dataset: Qwen/x").contains("`hub_data`"), "a model's pattern is none for data");
    assert!(told("cached_dataset: [acme/x]").contains("no absolute path"));
    assert!(told("dataset: /models/x").contains("the recipe allows `/data/**`"));
    for text in ["dataset: acme/x#99999999999999999999", "dataset: acme/x#10000001", "dataset: acme/x#"] {
        assert!(checked(None, text).unwrap_err().contains("a number of rows, from 0 to 10000000"), "{text}");
    }
}

#[test]
fn a_short_name_of_a_data_set_is_what_it_stands_for() {
    let allows = |pattern: &str, hub, text: &str| {
        let hub_data = Allowed::data_sets([pattern]).unwrap();
        let permissions = Permissions { hub_data, ..permissions(hub) };
        checked_by(&permissions, Verb::Sft, Trust::Data, text).is_ok()
    };
    let text = "dataset: self-cognition#500";
    assert!(allows("swift/*", None, text) && allows("self-cognition", None, text));
    assert!(allows("modelscope/self-cognition", HF, text));
    assert!(!allows("swift/*", HF, text), "there it is another one");
    assert!(!allows("*", None, text) && !allows("self-*", None, text));
}

#[test]
fn each_pattern_stands_where_it_is_meant() {
    let files = Allowed::files(["/data/**", "acme/*"]).unwrap_err().to_string();
    assert!(files.ends_with("move it to `hub_data = [\"acme/*\"]`"), "{files}");
    assert!(Allowed::files(["hf:acme/*"]).unwrap_err().to_string().contains("hub_data = [\"hf:acme/*\"]"));
    let sets = Allowed::data_sets(["/data/**"]).unwrap_err().to_string();
    assert!(sets.ends_with("move it to `data = [\"/data/**\"]`"), "{sets}");
    for odd in [
        "",
        "hf:",
        "hf::acme/x",
        "xx:acme/x",
        "hf:/data/x",
        "HF:acme/x",
        "a/b/c",
        "../x",
        "./x",
        "~/x",
        "[",
        "a/../b",
        "hf:../x",
        "acme/x:sub",
    ] {
        assert!(Allowed::models([odd]).is_err(), "{odd}");
    }
    // A pattern for ids never lets a path pass, whatever its wildcards match.
    for pattern in ["**", "*", "{/etc,x}", "hf:**"] {
        let Ok(models) = Allowed::models([pattern]) else { continue };
        let permissions = Permissions { models, ..Permissions::default() };
        let told = checked_by(&permissions, Verb::Sft, Trust::Data, "model: /etc/x");
        assert!(told.is_err(), "{pattern}");
    }
}

#[test]
fn a_revision_is_a_branch_or_tag_that_the_recipe_names() {
    for good in ["v1", "v1.0-rc.1", "stable", "v1-grande"] {
        assert!(checked(None, &format!("model_revision: '{good}'")).is_ok(), "{good}");
    }
    for (bad, why) in [
        ("main", "the recipe's `revisions` allow `v*`, `stable`"),
        ("0123456789abcdef0123456789abcdef01234567", "may be a commit"),
        ("ABCDEF0", "may be a commit"),
        ("2024", "may be a commit"),
        ("a", "may be a commit"),
        ("v1-0-gabcdef0", "may be a commit"),
        ("refs/pr/1", "pull requests of anybody"),
        ("refs/heads/v1", "pull requests of anybody"),
        ("v1/x", "no plain name"),
        ("v1^{}", "no plain name"),
        ("v1~1", "no plain name"),
        ("v1@{0}", "no plain name"),
        ("v1%2F", "no plain name"),
        ("", "no plain name"),
    ] {
        for key in ["model_revision", "ref_model_revision", "teacher_model_revision", "reward_model_revision"]
        {
            let told = checked(None, &format!("{key}: '{bad}'")).expect_err(bad);
            assert!(told.contains(why), "{key} {bad}: {told}");
        }
    }
    let none = Permissions { revisions: Revisions::default(), ..permissions(None) };
    let told = checked_by(&none, Verb::Sft, Trust::Data, "model_revision: v1").unwrap_err();
    assert!(told.contains("allow none; leave the key out"), "{told}");
    let any = Permissions { revisions: Revisions::new(["*"]).unwrap(), ..none };
    let told = |text| checked_by(&any, Verb::Sft, Trust::Data, text);
    assert!(told("model_revision: main").is_ok() && told("model_revision: abc").is_err());
    for odd in ["", "refs/pr/*", "abcdef", "[", "release/*"] {
        assert!(Revisions::new([odd]).is_err(), "{odd}");
    }
}

#[test]
fn a_type_whose_loader_fetches_code_is_refused_by_type_and_by_name() {
    let all = Permissions { models: Allowed::models(["**", "/models/**"]).unwrap(), ..permissions(None) };
    for (text, url) in [
        ("model_type: deepseek_janus", "https://github.com/deepseek-ai/"),
        ("ref_model_type: yi_vl", "https://github.com/01-ai/Yi"),
        ("reward_model_type: [qwen3, valley]", "https://github.com/bytedance/Valley.git"),
        ("teacher_model_type: llava_next_qwen", "https://github.com/"),
        ("model: deepseek-ai/Janus-Pro-7B", "https://github.com/deepseek-ai/"),
        ("model: anybody/JANUS-PRO-7B", "https://github.com/deepseek-ai/"),
        ("model: /models/Janus-Pro-7B", "https://github.com/deepseek-ai/"),
        ("model: /models/models--x--Yi-VL-6B/snapshots/1", "https://github.com/01-ai/Yi"),
        ("optimizer: muon", "https://github.com/MoonshotAI/Moonlight"),
    ] {
        let told = checked_by(&all, Verb::Rlhf, Trust::Data, text).expect_err(text);
        assert!(told.contains(&format!("ms-swift clones {url}")), "{text}\n{told}");
        assert!(checked_by(&all, Verb::Rlhf, Trust::Code, text).is_ok(), "the repository may run code");
    }
    for text in ["model_type: qwen3", "model: Qwen/Qwen3-8B", "optimizer: galore"] {
        assert!(checked_by(&all, Verb::Rlhf, Trust::Data, text).is_ok(), "{text}");
    }
    let megatron = checked_by(&all, Verb::MegatronSft, Trust::Data, "optimizer: muon");
    assert!(megatron.is_ok() || !megatron.unwrap_err().contains("clones"), "it is Megatron's own");
}

#[test]
fn a_type_that_loads_another_model_besides_needs_it_to_be_allowed() {
    let text = "model: BAAI/Emu3-Gen";
    let told = |models: &[&str]| {
        let models = Allowed::models(models).unwrap();
        checked_by(&Permissions { models, ..permissions(None) }, Verb::Sft, Trust::Data, text)
    };
    assert!(told(&["BAAI/*"]).is_ok());
    let why = told(&["BAAI/Emu3-Gen"]).unwrap_err();
    assert!(
        why.contains("ms-swift loads `BAAI/Emu3-VisionTokenizer` from ModelScope for it besides"),
        "{why}"
    );
    assert!(told(&["BAAI/Emu3-Gen", "hf:BAAI/*"]).is_err(), "of the other hub");
}

#[test]
fn git_clones_nothing_for_a_config_that_may_run_no_code() {
    let flags = |trust, text: &str| checked_by(&permissions(None), Verb::Sft, trust, text).unwrap();
    let protocol = |config: &Flags, recipe: &Flags, verb, table| {
        let launch = Launch {
            table: &Table::all()[table],
            verb,
            config,
            recipe,
            output_dir: "/o",
            resume: None,
            processes: Processes::default(),
            is_offline: false,
            hub: None,
        };
        launch.command().env.get("GIT_ALLOW_PROTOCOL").cloned().flatten()
    };
    let data = &flags(Trust::Data, "model: Qwen/x")[0];
    let (none, code) = (Flags::default(), &flags(Trust::Code, "model: x")[0]);
    assert_eq!(protocol(data, &none, Verb::Sft, 0).as_deref(), Some("none"));
    assert_eq!(protocol(code, &none, Verb::Sft, 0), None);
    assert_eq!(protocol(data, code, Verb::Sft, 0), None, "the recipe names the model");
    assert_eq!(protocol(data, &none, Verb::MegatronSft, 0).as_deref(), Some("none"));
    assert_eq!(protocol(data, &none, Verb::MegatronSft, 1), None, "it clones Megatron-LM");
}

/// `HF_HUB_OFFLINE` of a run with these flags.
fn offline(config: &Flags, recipe: &Flags, hub: Option<Hub>) -> Option<String> {
    let launch = Launch {
        table: &Table::all()[0],
        verb: Verb::Rlhf,
        config,
        recipe,
        output_dir: "/o",
        resume: None,
        processes: Processes::default(),
        is_offline: false,
        hub,
    };
    launch.command().env.get("HF_HUB_OFFLINE").cloned().flatten()
}

#[test]
fn a_run_that_has_nothing_to_ask_of_hugging_face_is_kept_from_it() {
    let none = Flags::default();
    let config = |hub, text: &str| checked(hub, text).unwrap().remove(0);
    let code = |text: &str| checked_by(&permissions(None), Verb::Rlhf, Trust::Code, text).unwrap().remove(0);
    let said = |hub, text: &str| offline(&config(hub, text), &none, hub);
    for text in ["attn_impl: flash_attention_2", "model: Qwen/x\ndataset: [/data/a.jsonl#3]", "use_hf: false"]
    {
        assert_eq!(said(None, text).as_deref(), Some("1"), "{text}");
    }
    assert_eq!(said(HF, "model: baai/x\nuse_hf: false").as_deref(), Some("1"));
    for (hub, text) in [
        (HF, "model: Qwen/x"),
        (None, "use_hf: true"),
        (None, "dataset: hf::squad"),
        (None, "val_dataset: [/data/a.jsonl, ms::acme/x]"),
    ] {
        assert_eq!(said(hub, text), None, "{text}");
    }
    let plain = config(None, "seed: 1");
    for text in ["dataset: hf::x/y", "attn_impl: flash_attention_2", "external_plugins: x.py"] {
        assert_eq!(offline(&plain, &code(text), None), None, "the recipe says `{text}`");
    }
    assert!(offline(&plain, &code("model: Qwen/x\ndataset: /d/x.jsonl\nmax_steps: 3"), None).is_some());
    assert_eq!(offline(&code("model: x"), &none, None), None, "the repository may run code");
}

#[test]
fn an_attention_that_would_be_fetched_from_hugging_face_needs_a_pattern_for_its_code() {
    let none = Flags::default();
    let told = |permissions: &Permissions, text: &str, recipe: &Flags, installed: &[&str]| {
        let flags = checked_by(permissions, Verb::Rlhf, Trust::Data, text).unwrap().remove(0);
        let packages = Packages::of(installed.iter().copied());
        look_at_kernels(&flags, recipe, &packages).map(|mistake| mistake.to_string())
    };
    let hugging_face = permissions(HF);
    for (key, value, installed) in [
        ("attn_impl", "flash_attention_2", &["kernels"][..]),
        ("attn_impl", "flash_attn", &["kernels"]),
        ("attn_impl", "flash_attention_3", &["kernels", "flash-attn"]),
        ("attn_impl", "flash_attention_2", &["kernels", "flash-attn-3"]),
    ] {
        let text = format!("seed: 1\n{key}: {value}");
        let why = told(&hugging_face, &text, &none, installed).expect(&text);
        assert!(why.starts_with(&format!("line 2: `{key}`: `{value}` is refused: `flash-attn")), "{why}");
        assert!(why.ends_with("or have the recipe's `models` name `hf:kernels-community/*`"), "{why}");
    }
    let rules = Rules {
        table: &Table::all()[0],
        verb: Verb::MegatronSft,
        trust: Trust::Data,
        permissions: &hugging_face,
    };
    let vision = check(&Config::read(b"vit_attn_impl: flash_attention_3").unwrap(), rules).unwrap();
    assert!(look_at_kernels(&vision, &none, &Packages::of(["kernels"])).is_some());
    let text = "attn_impl: flash_attention_2";
    for installed in [&[][..], &["flash-attn"], &["kernels", "flash-attn"]] {
        assert_eq!(told(&hugging_face, text, &none, installed), None, "{installed:?}");
    }
    assert_eq!(told(&hugging_face, "attn_impl: sdpa", &none, &["kernels"]), None);
    assert_eq!(told(&permissions(None), text, &none, &["kernels"]), None, "it is kept from Hugging Face");
    let of_a_hub = "attn_impl: flash_attention_2\ndataset: acme/x";
    assert!(told(&permissions(None), of_a_hub, &none, &["kernels"]).is_some());
    let recipe = checked_by(&hugging_face, Verb::Rlhf, Trust::Code, text).unwrap().remove(0);
    assert_eq!(
        told(&hugging_face, "attn_impl: flash_attn", &recipe, &["kernels"]),
        None,
        "the recipe's wins"
    );
    for (hub, pattern) in [(HF, "kernels-community/*"), (None, "hf:kernels-community/flash-attn2")] {
        let models = Allowed::models([pattern]).unwrap();
        let allowed = Permissions { models, ..permissions(hub) };
        assert_eq!(told(&allowed, of_a_hub, &none, &["kernels"]), None, "{pattern}");
        let flags = checked_by(&allowed, Verb::Rlhf, Trust::Data, text).unwrap().remove(0);
        assert_eq!(offline(&flags, &none, hub), None, "they are to be fetched");
    }
}

#[test]
fn numbers_have_ranges_and_an_error_says_which() {
    let told = |text: &str| checked(None, text).err();
    assert_eq!(
        told("dataset_num_proc: 100000").unwrap(),
        "line 1: `dataset_num_proc`: `100000` is refused: its range is 1 to 128; the recipe's `args` may go beyond it"
    );
    for bad in [
        "dataset_num_proc: 0",
        "dataloader_num_workers: 1000",
        "dataset_num_proc: -1",
        "learning_rate: nan",
        "learning_rate: NaN",
        "learning_rate: inf",
        "learning_rate: -inf",
        "learning_rate: 1e999",
        "learning_rate: 100",
        "per_device_train_batch_size: 9999999999999999999",
        "num_train_epochs: 1e300",
        "max_length: 0",
        "reward_weights: [1, nan]",
        "reward_weights: [1, infinity]",
        "seed: -1",
        "seed: 4294967296",
        "top_p: 1.5",
        "vllm_gpu_memory_utilization: 2",
        "rope_scaling: {factor: 1e300}",
        "gradient_checkpointing_kwargs: {a: [1, -1e10]}",
    ] {
        assert!(told(bad).is_some_and(|why| why.contains("range")), "{bad}: {:?}", told(bad));
    }
    for good in [
        "dataset_num_proc: 64",
        "dataloader_num_workers: 0",
        "learning_rate: 1e-4",
        "max_steps: -1",
        "top_k: -1",
        "save_steps: 0.1",
        "reward_weights: [1, -0.5]",
        "seed: 4294967295",
        "rope_scaling: {factor: 4.0, type: yarn}",
    ] {
        assert_eq!(told(good), None, "{good}");
    }
    let code = checked_by(&permissions(None), Verb::Sft, Trust::Code, "dataset_num_proc: 100000");
    assert!(code.is_ok(), "the operator, and who may run code, may go beyond it");
}

#[test]
fn lists_and_texts_have_an_end() {
    let told = |text: String| checked(None, &text).map(|_| ()).unwrap_err();
    let modules = vec!["q_proj"; 2_001].join(", ");
    assert!(
        told(format!("target_modules: [{modules}]")).contains("a list of 2001 is too long: 2000 at most")
    );
    assert!(told(format!("system: '{}'", "x".repeat(33_000))).contains("longer than 32 KiB"));
    assert!(told(format!("columns: {{a: '{}'}}", "x".repeat(33_000))).contains("longer than 32 KiB"));
    assert!(told(format!("model: Qwen/{}", "x".repeat(300))).contains("neither an absolute path"));
    assert!(told(format!("model: /models/{}", "x".repeat(5_000))).contains("neither an absolute path"));
}

#[test]
fn a_local_copy_of_a_data_set_whose_media_ms_swift_fetches_is_refused() {
    for text in [
        "dataset: /data/LLaVA-Pretrain",
        "dataset: [/data/a.jsonl, '/data/x/LLaVA-Pretrain:sub#5']",
        "val_dataset: /data/GQA",
        "dataset: /data/datasets--lmms-lab--GQA/snapshots/0123",
        "dataset: acme/LLaVA-Pretrain",
    ] {
        let told = checked(None, text).expect_err(text);
        assert!(told.contains("fetches media from ModelScope"), "{told}");
        assert!(checked_by(&permissions(None), Verb::Sft, Trust::Code, text).is_ok(), "it may run code");
    }
    let hub_data = Allowed::data_sets(["acme/LLaVA-Pretrain"]).unwrap();
    let named = Permissions { hub_data, ..permissions(None) };
    let text = "dataset: acme/LLaVA-Pretrain#5";
    assert!(checked_by(&named, Verb::Rlhf, Trust::Data, text).is_ok(), "the recipe names it itself");
    for text in
        ["dataset: /data/LLaVA-Pretrain/train.jsonl", "dataset: /data/alpaca-gpt4-data-zh", "dataset: acme/x"]
    {
        assert!(checked(None, text).is_ok(), "{text}");
    }
}

#[test]
fn what_asks_modelscope_is_refused_where_the_hub_is_another() {
    let told = checked(HF, "check_model: true").unwrap_err();
    assert_eq!(
        told,
        "line 1: `check_model`: `true` is refused: it asks ModelScope, and the run's hub is Hugging Face: leave the key \
         out"
    );
    assert!(checked(HF, "check_model: false").is_ok() && checked(None, "check_model: true").is_ok());
    assert!(checked(None, "use_hf: true\ncheck-model: yes").is_err());
}

#[test]
fn rows_are_counted_together() {
    for text in [
        "dataset: ['/data/a.jsonl#6000000', '/data/b.jsonl#6000000']",
        "dataset: '/data/a.jsonl#10000000'\nval_dataset: '/data/a.jsonl#1'",
    ] {
        let told = checked(None, text).expect_err(text);
        assert!(told.contains("the numbers of rows after `#` add up to more than 10000000"), "{told}");
    }
    assert!(checked(None, "dataset: ['/data/a.jsonl#5000000', '/data/b.jsonl#5000000']").is_ok());
    let often = |times| checked(None, &format!("dataset: [{}]", vec!["/data/a.jsonl"; times].join(", ")));
    assert!(often(100).is_ok());
    assert!(often(101).unwrap_err().contains("named more than 100 times: name it once"));
}
