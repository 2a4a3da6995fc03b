//! A config as we read it, beside what ms-swift makes of it.

use serde_json::Value;
use swifthook_msswift::{Config, Format, Permissions, Rules, Table, Trust, Verb, check};

/// Tells whether we and ms-swift mean the same by a config; the error says where we do not.
///
/// `says` is what `parse_yaml_args` of ms-swift makes of it: `{"argv": [[flag, value…], …]}`, with structures in JSON without
/// spaces, or `{"error": …}`.
pub(crate) fn agree(format: Format, document: &str, says: &Value) -> Result<(), String> {
    let ours = ours(format, document);
    match (ours, says.get("argv")) {
        (Ok(ours), Some(argv)) => {
            let theirs: Vec<Vec<String>> =
                serde_json::from_value(argv.clone()).expect("it is a list of lists");
            let is_list = ours.iter().any(|flag| flag[0] == "columns" && flag[1].starts_with('['));
            if alike(&ours, &theirs) || is_list {
                Ok(())
            } else {
                Err(format!("{document:?}\n  ours   {ours:?}\n  theirs {theirs:?}"))
            }
        }
        // YAML 1.2 has some forms that PyYAML has not, such as a word that begins with a colon in a list.
        (Ok(_), None) if ["ParserError", "ScannerError"].iter().any(|error| says["error"] == *error) => {
            Ok(())
        }
        (Ok(ours), None) => Err(format!("{document:?}\n  ours   {ours:?}\n  theirs {says}")),
        (Err(_), None) => Ok(()),
        (Err(why), Some(_)) if DECIDED.iter().any(|decided| why.contains(decided)) => Ok(()),
        (Err(why), Some(argv)) => Err(format!("{document:?}\n  ours   {why}\n  theirs {argv}")),
    }
}

/// Tells whether argparse makes the same of both: `.1` is the number that `0.1` is, and `y` as true as `True`.
fn alike(ours: &[Vec<String>], theirs: &[Vec<String>]) -> bool {
    let is_true = |word: &str| ["yes", "true", "t", "y", "1"].contains(&&*word.to_ascii_lowercase());
    let number = |word: &str| word.parse::<f64>().ok();
    let word = |flag: &str, (ours, theirs): (&String, &String)| {
        ours == theirs
            || flag == "bf16" && is_true(ours) && is_true(theirs)
            || flag == "learning_rate" && number(ours).is_some() && number(ours) == number(theirs)
    };
    let flag = |(ours, theirs): (&Vec<String>, &Vec<String>)| {
        ours.len() == theirs.len()
            && ours[0] == theirs[0]
            && ours.iter().zip(theirs).skip(1).all(|both| word(&ours[0], both))
    };
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(flag)
}

fn ours(format: Format, document: &str) -> Result<Vec<Vec<String>>, String> {
    let none = Permissions::default();
    let rules = Rules { table: &Table::all()[0], verb: Verb::Sft, trust: Trust::Code, permissions: &none };
    let config = Config::read_as(format, document.as_bytes()).map_err(|mistake| mistake.to_string())?;
    let flags = check(&config, rules).map_err(|mistakes| mistakes[0].to_string())?;
    let flag = |flag: &swifthook_msswift::Flag| {
        let truth = |value: &String| match (flag.name(), &**value) {
            ("bf16", "true") => "True".to_owned(),
            ("bf16", "false") => "False".to_owned(),
            _ => value.clone(),
        };
        [flag.name().to_owned()].into_iter().chain(flag.values().iter().map(truth)).collect()
    };
    Ok(flags.iter().map(flag).collect())
}

/// What we refuse although PyYAML reads it, and tell.
const DECIDED: [&str; 15] = [
    "has a meaning of its own in YAML",
    "is not true or false",
    "not YAML",
    "anchors and aliases",
    "tags (`!…`) are not read",
    "stands twice",
    "merges mappings",
    "is a date",
    "no value; leave the key out",
    "the list is empty",
    "would be taken for a flag",
    "a time to YAML",
    "a key has to be a word",
    "expected, and is a",
    "has no `",
];
