//! Configs made of ms-swift's own examples (`ms_swift_examples.jsonl`, of its scripts under Apache-2.0, each with what the real
//! parser of 4.6.0 says): what a repository may train with, without and with the right to run code.

#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

use std::collections::BTreeMap;

use serde_json::Value;
use swifthook_msswift::{Allowed, Config, Mistake, Permissions, Rules, Table, Trust, Verb, check};

struct Example {
    script: String,
    verb: Verb,
    config: String,
    is_taken: bool,
}

fn examples() -> Vec<Example> {
    let read = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| line[key].as_str().unwrap().to_owned();
        let verb = match &*text("program") {
            "megatron" => Verb::of_megatron(&text("verb")),
            _ => Verb::of_swift(&text("verb")),
        };
        let is_taken = line["real_parser_accepts"].as_bool().unwrap();
        Example { script: text("script"), verb: verb.unwrap(), config: text("config"), is_taken }
    };
    include_str!("ms_swift_examples.jsonl").lines().map(read).collect()
}

/// Everything that is wrong, where the recipe names the models and data that the config names, as far as it could.
fn checked(example: &Example, trust: Trust) -> Result<(), Vec<Mistake>> {
    let config = Config::read(example.config.as_bytes()).map_err(|mistake| vec![mistake])?;
    let none = Permissions::default();
    let rules = Rules { table: &Table::all()[0], verb: example.verb, trust: Trust::Code, permissions: &none };
    let flags = check(&config, rules)?;
    let names = flags.iter().flat_map(|flag| flag.values()).flat_map(|value| {
        let value = value.split_once("::").map_or(&**value, |(_, name)| name);
        let name = value.split(['#', ':']).next().unwrap_or_default();
        [name.to_owned(), format!("hf:{name}")]
    });
    // What comes along with one of them.
    let names: Vec<_> = names.chain(["BAAI/*".to_owned()]).collect();
    let models: Vec<_> = names.iter().filter(|name| Allowed::models([name]).is_ok()).collect();
    let sets: Vec<_> = names.iter().filter(|name| Allowed::data_sets([name]).is_ok()).collect();
    let permissions = Permissions {
        models: Allowed::models(models).unwrap(),
        data: Allowed::files(["/**"]).unwrap(),
        hub_data: Allowed::data_sets(sets).unwrap(),
        ..Permissions::default()
    };
    check(&config, Rules { table: &Table::all()[0], verb: example.verb, trust, permissions: &permissions })
        .map(|_| ())
}

#[test]
fn whatever_the_real_parser_takes_is_taken_of_a_repository_that_may_run_code() {
    let wrong: Vec<_> = examples()
        .iter()
        .filter(|example| example.is_taken)
        .filter_map(|example| Some((example.script.clone(), checked(example, Trust::Code).err()?)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn most_of_it_is_data_and_each_refusal_has_its_reason() {
    let (mut passed, mut reasons) = (0, BTreeMap::<String, usize>::new());
    for example in examples().iter().filter(|example| example.is_taken) {
        match checked(example, Trust::Data) {
            Ok(()) => passed += 1,
            Err(mistakes) => {
                for mistake in mistakes {
                    let key = mistake.what.split(": ").next().unwrap_or_default().to_owned();
                    let why = mistake.what.rsplit(": ").next().unwrap_or_default().to_owned();
                    *reasons.entry(format!("{key}: {why}")).or_default() += 1;
                }
            }
        }
    }
    let told: Vec<_> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    println!("{passed} pass\n{}", told.join("\n"));
    assert!(passed >= 135, "{passed} pass\n{}", told.join("\n"));
}
