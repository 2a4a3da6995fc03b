//! From the values of a file to those of a command line.

use serde_json::{Map, Number, Value as Json};

use crate::config::{Entry, Text, Value};
use crate::mistake::shown;
use crate::names;
use crate::table::{Argument, Kind};

/// The values of a flag as arguments; else what is wrong. A structure is handed over as JSON, where one is expected.
pub(super) fn arguments(
    argument: &Argument,
    is_structured: bool,
    value: &Value,
) -> Result<Vec<String>, String> {
    let values = match value {
        Value::List(items) if argument.is_list => {
            if items.is_empty() {
                return Err("the list is empty; leave the key out".to_owned());
            }
            items.iter().map(|item| one(argument, false, item)).collect::<Result<Vec<_>, _>>()?
        }
        other => vec![one(argument, is_structured, other)?],
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

fn one(argument: &Argument, is_structured: bool, value: &Value) -> Result<String, String> {
    let text = match value {
        Value::Nothing => return Err("no value; leave the key out".to_owned()),
        Value::Text(text) => text,
        structure if is_structured => return Ok(json(structure).to_string()),
        Value::List(_) => return Err("one value was expected, and is a list".to_owned()),
        Value::Mapping(_) => return Err("one value was expected, and is a mapping".to_owned()),
    };
    let wrong = |expected: &str| Err(format!("`{}` is not {expected}", shown(&text.text)));
    match argument.kind {
        Kind::Flag => match truth(text) {
            Some(truth) => Ok(truth.to_string()),
            None => wrong("true or false"),
        },
        Kind::Whole if !is_whole(&text.text) => wrong("a whole number"),
        Kind::Number if !is_number(&text.text) => wrong("a number"),
        Kind::Choice => match names::choice(&argument.choices, argument.name, &text.text) {
            Some(choice) => Ok(choice.to_owned()),
            None => wrong(&format!("one of {}", argument.choices.join(", "))),
        },
        _ => Ok(text.text.clone()),
    }
}

/// As PyYAML reads plain words, and `string_to_bool` of transformers reads others.
fn truth(text: &Text) -> Option<bool> {
    match (&*text.text.to_ascii_lowercase(), text.is_plain) {
        ("true" | "yes" | "t" | "y" | "1", _) | ("on", true) => Some(true),
        ("false" | "no" | "f" | "n" | "0", _) | ("off", true) => Some(false),
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
    let json: Json = serde_json::from_str(text).map_err(|_| "it is not a structure in JSON".to_owned())?;
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
        Json::Number(number) if number.as_f64().is_none_or(|number| number.abs() > LARGEST) => {
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

/// A structure as ms-swift would make JSON of it. The depth is bounded by what was read.
fn json(value: &Value) -> Json {
    match value {
        Value::Nothing => Json::Null,
        Value::Text(text) => scalar(text),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Mapping(entries) => {
            let entry = |entry: &Entry| (entry.key.clone(), json(&entry.value));
            Json::Object(entries.iter().map(entry).collect::<Map<_, _>>())
        }
    }
}

fn scalar(Text { text, is_plain }: &Text) -> Json {
    if !is_plain {
        return Json::String(text.clone());
    }
    match &*text.to_ascii_lowercase() {
        "true" => Json::Bool(true),
        "false" => Json::Bool(false),
        _ => text.parse::<Number>().map_or_else(|_| Json::String(text.clone()), Json::Number),
    }
}

/// Larger than any length or count of a model.
const LARGEST: f64 = 1e9;
/// One argument of Linux has 128 KiB at most.
const LONGEST: usize = 100 * 1024;
const ENDINGS: [&str; 14] = [
    ".txt", ".json", ".jsonl", ".yaml", ".yml", ".py", ".jinja", ".csv", ".toml", ".so", ".pkl", ".pt",
    ".bin", ".sh",
];
