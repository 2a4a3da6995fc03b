use sha2::{Digest, Sha256};
use swifthook_core::ConfigDigest;
use toml::de::{DeTable, DeValue};

/// The SHA-256 of what a document says: comments, spacing and the order of keys make no difference.
pub(super) fn of(document: &DeTable<'_>) -> ConfigDigest {
    let mut text = String::new();
    write_table(document, &mut text);
    ConfigDigest(Sha256::digest(text).into())
}

fn write_table(table: &DeTable<'_>, text: &mut String) {
    let mut entries: Vec<_> = table.iter().map(|(key, value)| (key.get_ref(), value.get_ref())).collect();
    entries.sort_by_key(|(key, _)| *key);
    text.push('{');
    for (key, value) in entries {
        *text += &format!("{key:?}=");
        write_value(value, text);
        text.push(',');
    }
    text.push('}');
}

fn write_value(value: &DeValue<'_>, text: &mut String) {
    match value {
        DeValue::String(string) => *text += &format!("{string:?}"),
        DeValue::Integer(number) => *text += &number.to_string(),
        DeValue::Float(number) => *text += &number.to_string(),
        DeValue::Boolean(flag) => *text += &flag.to_string(),
        DeValue::Datetime(date) => *text += &date.to_string(),
        DeValue::Array(items) => {
            text.push('[');
            for item in items.iter() {
                write_value(item.get_ref(), text);
                text.push(',');
            }
            text.push(']');
        }
        DeValue::Table(table) => write_table(table, text),
    }
}
