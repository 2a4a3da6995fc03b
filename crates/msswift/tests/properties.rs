//! Laws of reading and checking, over bytes that nobody thought of.

use proptest::prelude::*;
use swifthook_msswift::{
    Allowed, Config, Flags, Kind, Launch, LogReader, Permissions, Processes, Rules, Table, Trust, Verb, check,
};

fn rules<'r>(table: &'r Table, verb: Verb, trust: Trust, permissions: &'r Permissions) -> Rules<'r> {
    Rules { table, verb, trust, permissions }
}

/// Models of one hub, data of this machine, and data sets of the other hub alone.
fn permissions() -> Permissions {
    Permissions {
        models: Allowed::models(["Qwen/*", "/models/**"]).expect("it is a pattern"),
        data: Allowed::files(["/data/**"]).expect("it is a pattern"),
        hub_data: Allowed::data_sets(["hf:acme/*"]).expect("it is a pattern"),
        ..Permissions::default()
    }
}

fn verbs() -> impl Strategy<Value = Verb> {
    prop::sample::select(Verb::ALL.to_vec())
}

/// Keys of all versions, and others.
fn keys() -> impl Strategy<Value = String> {
    let known: Vec<String> = Table::all()
        .iter()
        .flat_map(|table| Verb::ALL.into_iter().flat_map(|verb| table.arguments(verb)))
        .map(|argument| argument.name.to_owned())
        .collect();
    // Those that take lists of free text are where a value could slip out of its flag.
    let lists = [
        "stop_words",
        "model_name",
        "target_modules",
        "dataset",
        "reward_weights",
        "use_hf",
        "model_revision",
    ]
    .map(str::to_owned);
    prop_oneof![6 => prop::sample::select(known), 3 => prop::sample::select(lists.to_vec()), 1 => "[-_a-zA-Z=. ]{0,20}", 1 => Just("ENV".to_owned())]
}

/// Values that look like others.
fn values() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        Just("--external_plugins".to_owned()),
        Just("--external_plugins=/x.py".to_owned()),
        Just("-1".to_owned()),
        Just("/data/../etc/passwd".to_owned()),
        Just("/data/x".to_owned()),
        Just("Qwen/x".to_owned()),
        Just("acme/x".to_owned()),
        Just("hf::acme/x".to_owned()),
        Just("ms::acme/x".to_owned()),
        Just("true".to_owned()),
        Just("zero3".to_owned()),
        "[-0-9.e]{1,6}",
        "\\PC{0,12}",
    ]
    .prop_map(|text| serde_json::Value::from(text).to_string());
    let list = prop::collection::vec(text.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", ")));
    let mapping = (text.clone(), text.clone()).prop_map(|(key, value)| format!("{{{key}: {value}}}"));
    let plain =
        prop_oneof!["[-0-9.e]{1,6}", Just("true".to_owned()), Just("no".to_owned()), "[a-z_/.-]{1,9}"];
    prop_oneof![text, list, mapping, plain]
}

/// Values of a log that mean nothing here.
fn metrics() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?[0-9]{1,9}\\.[0-9]{1,9}(e-[0-9])?",
        Just("NaN".to_owned()),
        Just("-Infinity".to_owned()),
        Just("null".to_owned()),
        Just("[{\"step\": 1}, \"]\", NaN]".to_owned()),
        Just("{\"loss\": {\"loss\": 9}}".to_owned()),
        "\\PC{0,40}".prop_map(|text| serde_json::Value::from(text).to_string()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// ms-swift writes the step after all metrics, of which there are as many as there are channels and rewards.
    #[test]
    fn what_is_known_is_found_whatever_stands_between(
        others in prop::collection::vec(("[a-zA-Z_/() .\"\\\\é]{0,30}", metrics()), 0..90),
        place in 0..91_usize,
        size in 1..3_000_usize,
    ) {
        let other = |(key, value): &(String, String)| format!("{}: {value}", serde_json::Value::from(format!("x{key}")));
        let mut parts: Vec<_> = others.iter().map(other).collect();
        parts.insert(place.min(parts.len()), "\"loss\": 2.5, \"loss\": 1.5".to_owned());
        parts.push("\"global_step/max_steps\": \"7/12\", \"train_speed(s/it)\": 0.5".to_owned());
        let line = format!("{{{}}}\n", parts.join(", "));
        let mut reader = LogReader::default();
        line.as_bytes().chunks(size).for_each(|piece| reader.push(piece));
        let log = reader.log();
        prop_assert_eq!((log.step, log.max_steps), (Some(7), Some(12)));
        prop_assert_eq!((log.loss, log.seconds_per_step), (Some(1.5), Some(0.5)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Config::read(&bytes);
    }

    #[test]
    fn any_text_of_the_signs_of_yaml_is_read_or_refused(text in "[-:#&*!|>%@`'\"{}\\[\\],?~ \\n\\ta-c0-9.]{0,200}") {
        let allowed = permissions();
        if let Ok(config) = Config::read(text.as_bytes()) {
            let _ = check(&config, rules(&Table::all()[0], Verb::Sft, Trust::Data, &allowed));
            let _ = check(&config, rules(&Table::all()[1], Verb::Rlhf, Trust::Code, &allowed));
        }
    }

    #[test]
    fn any_bytes_of_a_log_in_any_pieces_are_read(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        text in "[\\[\\]{}\":,a-c0-9/ \\\\\n]{0,300}",
        size in 1..40_usize,
    ) {
        let mut reader = LogReader::default();
        bytes.chunks(size).for_each(|piece| reader.push(piece));
        let mut pieces = LogReader::default();
        text.as_bytes().chunks(size).for_each(|piece| pieces.push(piece));
        let mut whole = LogReader::default();
        whole.push(text.as_bytes());
        prop_assert_eq!(format!("{:?}", pieces.log()), format!("{:?}", whole.log()));
    }

    /// Whatever a repository pushes: each argument is a flag that the verb takes and that no class refuses, or one of
    /// the values of such a list.
    #[test]
    fn what_passes_as_data_is_never_another_argument(
        verb in verbs(),
        newest in any::<bool>(),
        entries in prop::collection::vec((keys(), values()), 1..3),
    ) {
        let table = &Table::all()[usize::from(!newest)];
        let text: String = entries.iter().map(|(key, value)| {
            format!("{}: {value}\n", serde_json::Value::from(key.as_str()))
        }).collect();
        let allowed = permissions();
        let Ok(config) = Config::read(text.as_bytes()) else { return Ok(()) };
        let Ok(flags) = check(&config, rules(table, verb, Trust::Data, &allowed)) else { return Ok(()) };
        let none = Flags::default();
        let launch = Launch {
            table, verb, config: &flags, recipe: &none, output_dir: "/o", resume: None,
            processes: Processes::default(), is_offline: true, hub: None,
        };
        let command = launch.command();
        prop_assert_eq!(&command.argv[..2], [verb.program(), verb.word()]);
        let mut list = None;
        for argument in &command.argv[2..] {
            let is_number = argument.parse::<f64>().is_ok();
            let Some(flag) = argument.strip_prefix("--") else {
                prop_assert!(list.is_some(), "{argument} is no value of a list");
                prop_assert!(!argument.starts_with('-') || is_number, "{argument}");
                continue;
            };
            let name = flag.split('=').next().unwrap();
            let known = table.argument(verb, name);
            prop_assert!(known.is_some(), "{name}");
            list = known.filter(|known| known.is_list && !flag.contains('='));
            for refused in ["external_plugins", "custom_register_path", "model_kwargs", "hub_token", "push_to_hub"] {
                prop_assert_ne!(name, refused);
            }
            let Some((_, value)) = flag.split_once('=') else { continue };
            let known = known.unwrap();
            if known.kind == Kind::Choice && !known.is_list {
                prop_assert!(known.choices.contains(&value), "{argument}");
            }
            if matches!(name, "model" | "adapters") {
                prop_assert!(value.starts_with("Qwen/") || value.starts_with("/models/"), "{argument}");
                prop_assert!(!value.contains(".."), "{argument}");
            }
            if name == "dataset" {
                let is_on_hub = value.starts_with("hf::acme/") || value.starts_with("HF::acme/")
                    || (value.starts_with("acme/") && command.argv.contains(&"--use_hf=true".to_owned()));
                prop_assert!(is_on_hub || value.starts_with("/data/"), "{argument}");
                prop_assert!(!value.contains(".."), "{argument}");
            }
            if matches!(known.kind, Kind::Whole | Kind::Number) {
                prop_assert!(value.parse::<f64>().is_ok_and(|number| number.abs() <= 5e9), "{argument}");
            }
            prop_assert!(!name.ends_with("_revision"), "{argument}");
        }
        let ours = command.argv.iter().filter(|argument| argument.starts_with("--output_dir")).count();
        prop_assert!(ours <= 1);
        prop_assert_eq!(command.env.get("LD_PRELOAD"), None);
        prop_assert!(command.env.contains_key("USE_HF"));
    }
}
