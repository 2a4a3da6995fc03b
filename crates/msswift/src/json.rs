//! Structures as Python's `json` writes them: in their order, with numbers of any size, and with `NaN` and `Infinity`.

use serde::de::IgnoredAny;

use crate::config::{Entry, Text, Value};
use crate::mistake::{Mistake, shown};
use crate::scalar::{Scalar, float_of_python};

/// A structure in JSON, as ms-swift makes it of one in YAML; the error says what JSON has not. Its depth is bounded by what
/// was read.
pub(crate) fn written(value: &Value) -> Result<String, String> {
    let mut json = String::new();
    write(value, &mut json)?;
    Ok(json)
}

/// Refuses what is no JSON to Python, which takes `NaN`, `Infinity` and `-Infinity` for numbers.
pub(crate) fn check(text: &str) -> Result<(), Mistake> {
    let mut plain = String::with_capacity(text.len());
    let (mut is_quoted, mut is_escaped, mut rest) = (false, false, text);
    while let Some(character) = rest.chars().next() {
        if let Some(after) = NUMBERS.iter().find_map(|word| rest.strip_prefix(word)).filter(|_| !is_quoted) {
            plain.push('0');
            rest = after;
            continue;
        }
        is_quoted ^= character == '"' && !is_escaped;
        is_escaped = is_quoted && character == '\\' && !is_escaped;
        plain.push(character);
        rest = &rest[character.len_utf8()..];
    }
    match serde_json::from_str::<IgnoredAny>(&plain) {
        Ok(_) => Ok(()),
        Err(error) => Err(Mistake::at(error.line(), format!("not JSON: {error}"))),
    }
}

/// Names of numbers that JSON has not and Python's has.
const NUMBERS: [&str; 2] = ["NaN", "Infinity"];

/// A float.
pub(crate) fn number(number: f64) -> String {
    match number {
        _ if number.is_finite() => float_of_python(number),
        _ if number.is_nan() => "NaN".to_owned(),
        _ if number > 0.0 => "Infinity".to_owned(),
        _ => "-Infinity".to_owned(),
    }
}

fn write(value: &Value, json: &mut String) -> Result<(), String> {
    match value {
        Value::Nothing => json.push_str("null"),
        Value::Text(text) => json.push_str(&scalar(text)?),
        Value::List(items) => {
            json.push('[');
            separated(items, json, write)?;
            json.push(']');
        }
        Value::Mapping(entries) => {
            json.push('{');
            separated(entries, json, |Entry { key, value, .. }, json| {
                json.push_str(&quoted(key));
                json.push(':');
                write(value, json)
            })?;
            json.push('}');
        }
    }
    Ok(())
}

fn separated<T>(
    items: &[T],
    json: &mut String,
    each: impl Fn(&T, &mut String) -> Result<(), String>,
) -> Result<(), String> {
    items.iter().enumerate().try_for_each(|(at, item)| {
        if at > 0 {
            json.push(',');
        }
        each(item, json)
    })
}

fn scalar(Text { text, meaning }: &Text) -> Result<String, String> {
    Ok(match meaning.as_ref().map_err(Clone::clone)? {
        Scalar::Nothing => "null".to_owned(),
        Scalar::Truth(truth) => truth.to_string(),
        Scalar::Whole(digits) => digits.clone(),
        Scalar::Number(float) => number(*float),
        Scalar::Date => return Err(format!("`{}` is a date, which JSON has not: quote it", shown(text))),
        Scalar::Text => quoted(text),
    })
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
