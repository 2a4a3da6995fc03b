//! From the values of a file to those of a command line.

use serde_json::Value as Json;

use crate::config::{Entry, Text, Value};
use crate::flags::Flag;
use crate::json;
use crate::mistake::{Mistake, shown};
use crate::names;
use crate::table::{Argument, Kind};

use super::Rules;

/// The values of a flag as arguments; else what is wrong. A structure is handed over as JSON, where one is expected, and one
/// of its `words` as it stands, whatever else YAML reads in it.
pub(super) fn arguments(
    argument: &Argument,
    is_structured: bool,
    words: Option<&str>,
    value: &Value,
) -> Result<Vec<String>, String> {
    let values = match value {
        Value::List(items) if argument.is_list => {
            if items.is_empty() {
                return Err("the list is empty; leave the key out".to_owned());
            }
            items.iter().map(|item| one(argument, false, words, item)).collect::<Result<Vec<_>, _>>()?
        }
        other => vec![one(argument, is_structured, words, other)?],
    };
    for value in &values {
        if value.contains('\0') || value.len() > LONGEST {
            return Err(
                "a value with a zero byte or of more than 100 KiB, which no command line takes".to_owned()
            );
        }
        if values.len() > 1 && value.starts_with('-') && !is_negative_number(value) {
            return Err(format!("`{}` in a list would be taken for a flag", shown(value)));
        }
    }
    Ok(values)
}

fn one(
    argument: &Argument,
    is_structured: bool,
    words: Option<&str>,
    value: &Value,
) -> Result<String, String> {
    let text = match value {
        Value::Nothing => return Err("no value; leave the key out".to_owned()),
        Value::Text(text) => text,
        structure if is_structured => return json::written(structure),
        Value::List(_) => return Err("one value was expected, and is a list".to_owned()),
        Value::Mapping(_) => return Err("one value was expected, and is a mapping".to_owned()),
    };
    let Text { text, meaning } = text;
    let wrong = |expected: &str| Err(format!("`{}` is not {expected}", shown(text)));
    // `no` is false to YAML, and yet a choice that is meant where there is such a choice.
    if argument.kind == Kind::Choice
        && let Some(choice) = names::choice(&argument.choices, argument.name, text)
    {
        return Ok(choice.to_owned());
    }
    if words.is_some_and(|words| words.split(' ').any(|word| word == text)) {
        return Ok(text.clone());
    }
    let meaning = meaning.as_ref().map_err(Clone::clone)?;
    let told = meaning.told_by_python().unwrap_or_else(|| text.clone());
    match argument.kind {
        Kind::Flag => match truth(&told) {
            Some(truth) => Ok(truth.to_string()),
            None => wrong("true or false"),
        },
        Kind::Whole if !is_whole(&told) => wrong("a whole number"),
        Kind::Number if !is_number(&told) => wrong("a number"),
        // As it was written, where that says the same.
        Kind::Number if text.parse().is_ok_and(|number: f64| told.parse() == Ok(number)) => Ok(text.clone()),
        Kind::Choice => match names::choice(&argument.choices, argument.name, &told) {
            Some(choice) => Ok(choice.to_owned()),
            None => wrong(&format!("one of {}", argument.choices.join(", "))),
        },
        _ => Ok(told),
    }
}

/// Notes of text that YAML takes for something else, so that ms-swift is told another text than stands there.
pub(super) fn read_otherwise(flag: &Flag, entry: &Entry, rules: Rules<'_>) -> Vec<Mistake> {
    let name = flag.name;
    if rules.table.argument(rules.verb, name).is_none_or(|argument| argument.kind != Kind::Text) {
        return Vec::new();
    }
    let items = match &entry.value {
        Value::List(items) => items,
        value => std::slice::from_ref(value),
    };
    let note = |item: &Value| {
        let Value::Text(Text { text, meaning: Ok(meaning) }) = item else { return None };
        let told = meaning.told_by_python().filter(|told| told != text && flag.values.contains(told))?;
        let what = format!("`{name}`: YAML reads `{}` as `{told}`; quote it if text is meant", shown(text));
        Some(Mistake::at(entry.line, what))
    };
    items.iter().filter_map(note).collect()
}

/// As `string_to_bool` of transformers reads what PyYAML has made a truth of before, or text.
fn truth(told: &str) -> Option<bool> {
    match &*told.to_ascii_lowercase() {
        "true" | "yes" | "t" | "y" | "1" => Some(true),
        "false" | "no" | "f" | "n" | "0" => Some(false),
        _ => None,
    }
}

fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.len() < 20 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_number(text: &str) -> bool {
    text.len() < 64 && text.parse::<f64>().is_ok()
}

/// What argparse takes for a value although it begins with `-`.
fn is_negative_number(text: &str) -> bool {
    let Some(number) = text.strip_prefix('-') else { return false };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    match number.split_once('.') {
        Some((whole, part)) => digits(whole) && digits(part) && !part.is_empty(),
        None => digits(number) && !number.is_empty(),
    }
}

/// A name: what ms-swift looks up among its own, or a part of a model. No path, no address, no flag.
pub(super) fn is_word(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte);
    let is_file = ENDINGS.iter().any(|ending| text.to_ascii_lowercase().ends_with(ending));
    (1..=128).contains(&text.len())
        && text.bytes().all(is_plain)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && !is_file
}

/// Text that ms-swift, or a library below it, may try to open.
pub(super) fn looks_like_a_path(text: &str) -> bool {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    let is_absolute = text.strip_prefix('/').is_some_and(|rest| rest.starts_with(char::is_alphanumeric));
    is_absolute
        || text.starts_with("~/")
        || text.starts_with("./")
        || text.contains("../")
        || lower.contains("://")
        || ENDINGS.iter().any(|ending| lower.ends_with(ending))
}

/// Whether the value of a structure's flag is one, or a word, and holds nothing but numbers and harmless text.
pub(super) fn structure(text: &str, raw: &Value) -> Result<(), String> {
    if matches!(raw, Value::Text(_)) && is_word(text) {
        return Ok(());
    }
    let json: Json = serde_json::from_str(text).map_err(|_| match raw {
        Value::Text(_) => "it is not a structure in JSON".to_owned(),
        _ => format!("a number in it is out of range: -{LARGEST} to {LARGEST}"),
    })?;
    if !json.is_object() && !json.is_array() {
        return Err("it is not a structure in JSON".to_owned());
    }
    harmless(&json)
}

fn harmless(json: &Json) -> Result<(), String> {
    match json {
        Json::String(text) if looks_like_a_path(text) => {
            Err(format!("`{}` in it could be taken for a file of this machine", shown(text)))
        }
        // YAML makes text of `1e300`, and whoever reads the structure may make a number of it again.
        Json::String(text) if text.parse::<f64>().is_ok_and(|number| !in_range(number)) => {
            Err(format!("`{}` in it is out of range: -{LARGEST} to {LARGEST}", shown(text)))
        }
        Json::Number(number) if !number.as_f64().is_some_and(in_range) => {
            Err(format!("`{number}` in it is out of range: -{LARGEST} to {LARGEST}"))
        }
        Json::Array(items) => items.iter().try_for_each(harmless),
        Json::Object(entries) => entries.iter().try_for_each(|(key, value)| {
            if looks_like_a_path(key) {
                return Err(format!("the key `{}` in it", shown(key)));
            }
            harmless(value)
        }),
        _ => Ok(()),
    }
}

fn in_range(number: f64) -> bool {
    number.abs() <= LARGEST
}

/// Larger than any length or count of a model.
const LARGEST: f64 = 1e9;
/// One argument of Linux has 128 KiB at most.
const LONGEST: usize = 100 * 1024;
const ENDINGS: [&str; 14] = [
    ".txt", ".json", ".jsonl", ".yaml", ".yml", ".py", ".jinja", ".csv", ".toml", ".so", ".pkl", ".pt",
    ".bin", ".sh",
];
