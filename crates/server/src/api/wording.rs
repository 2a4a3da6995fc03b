//! What is wrong with the body or the parameters of a call, for people: serde speaks to programmers.

use serde::de::DeserializeOwned;

/// The body of a call.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    let value: serde_json::Value = serde_json::from_slice(body)
        .map_err(|error| format!("not JSON from line {}, column {} on", error.line(), error.column()))?;
    serde_json::from_value(value).map_err(|error| of(&error.to_string()))
}

/// What is wrong with the parameters of a call.
pub(super) fn of_query(told: &str) -> String {
    let told = told.strip_prefix("Failed to deserialize query string: ").unwrap_or(told);
    match told.split_once(": ") {
        // Since it is known which parameter it is, its name comes first.
        Some((name, why)) if is_name(name) => format!("`{name}`: {}", of(why)),
        _ => of(told),
    }
}

/// The same as serde says it, in words.
fn of(told: &str) -> String {
    if let Some((name, there_are)) =
        told.strip_prefix("unknown field `").and_then(|rest| rest.split_once("`, "))
    {
        let there_are = there_are.strip_prefix("expected ").unwrap_or(there_are);
        let there_are = there_are.strip_prefix("one of ").unwrap_or(there_are).replace(" or ", ", ");
        return format!("nothing here is called `{name}`: there is {there_are}");
    }
    if let Some(name) = told.strip_prefix("missing field ") {
        return format!("{name} is missing");
    }
    if let Some(name) = told.strip_prefix("duplicate field ") {
        return format!("{name} is there twice");
    }
    let kinds = told
        .strip_prefix("invalid type: ")
        .or_else(|| told.strip_prefix("invalid value: "))
        .and_then(|rest| rest.split_once(", expected "));
    if let Some((found, expected)) = kinds {
        return format!("{} was expected, and {} was found", kind(expected), kind(found));
    }
    match told {
        "invalid digit found in string" => "a whole number was expected".to_owned(),
        "number too large to fit in target type" => "the number is too large".to_owned(),
        "cannot parse integer from empty string" => {
            "a whole number was expected, and nothing is there".to_owned()
        }
        "provided string was not `true` or `false`" => "`true` or `false` was expected".to_owned(),
        other => other.to_owned(),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// A kind of value as people call it.
fn kind(told: &str) -> String {
    let (word, rest) = told.split_once(' ').unwrap_or((told, ""));
    match (word, rest) {
        ("a", "boolean") => "true or false".to_owned(),
        ("boolean", value) => value.trim_matches('`').to_owned(),
        ("integer", value) => format!("the number {}", value.trim_matches('`')),
        ("floating", value) => format!("the number {}", value.trim_start_matches("point ").trim_matches('`')),
        ("string", value) => format!("the text {value}"),
        ("null", "") => "null".to_owned(),
        ("sequence", "") => "a list".to_owned(),
        ("map", "") => "an object".to_owned(),
        ("a", "string") => "a text".to_owned(),
        ("struct", _) => "an object".to_owned(),
        ("u64" | "u32" | "usize", "") => "a whole number from 0".to_owned(),
        _ => told.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "it is only read")]
    struct Body {
        #[serde(default)]
        save: bool,
        older_than: Option<u64>,
        confirm: Option<String>,
    }

    #[test]
    fn what_is_wrong_with_a_body_is_told_in_words() {
        for (body, expected) in [
            ("{", "not JSON from line 1, column 1 on"),
            ("{\"save\": tru}", "not JSON from line 1, column 13 on"),
            ("[]x", "not JSON from line 1, column 3 on"),
            ("{\"sav\": true}", "nothing here is called `sav`: there is `save`, `older_than`, `confirm`"),
            ("{\"save\": \"yes\"}", "true or false was expected, and the text \"yes\" was found"),
            ("{\"save\": 1}", "true or false was expected, and the number 1 was found"),
            ("{\"older_than\": -1}", "a whole number from 0 was expected, and the number -1 was found"),
            ("{\"older_than\": 1.5}", "a whole number from 0 was expected, and the number 1.5 was found"),
            ("{\"confirm\": []}", "a text was expected, and a list was found"),
            ("3", "an object was expected, and the number 3 was found"),
        ] {
            assert_eq!(read::<Body>(body.as_bytes()).unwrap_err(), expected, "{body}");
        }
    }

    #[test]
    fn what_is_wrong_with_parameters_is_told_in_words() {
        let told = |text: &str| of_query(&format!("Failed to deserialize query string: {text}"));
        assert_eq!(told("limit: invalid digit found in string"), "`limit`: a whole number was expected");
        assert_eq!(
            told("unknown field `stat`, expected one of `state`, `limit`"),
            "nothing here is called `stat`: there is `state`, `limit`"
        );
        assert_eq!(
            told("unknown field `stat`, expected `a` or `b`"),
            "nothing here is called `stat`: there is `a`, `b`"
        );
        assert_eq!(told("missing field `request`"), "`request` is missing");
    }
}
