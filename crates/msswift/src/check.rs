use std::collections::{BTreeMap, HashMap};

use crate::allowed::{Allowed, data_of};
use crate::class::Class;
use crate::config::{Config, Entry, Value};
use crate::flags::{Flag, Flags, LocalKind};
use crate::mistake::{Mistake, shown};
use crate::names::{self, Name};
use crate::table::{Argument, Kind, Table};
use crate::verb::Verb;

mod value;

/// What a config is checked against.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'r> {
    /// The flags of the installed version.
    pub table: &'r Table,
    /// The verb.
    pub verb: Verb,
    /// What the repository may do.
    pub trust: Trust,
    /// The models that it may name, under [`Trust::Data`].
    pub models: &'r Allowed,
    /// The data sets that it may name, under [`Trust::Data`].
    pub data: &'r Allowed,
}

/// What a repository may do on the machine that trains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Say what is trained, and how: keys on a list, with values of their class.
    #[default]
    Data,
    /// Run code.
    Code,
}

/// Makes flags of a config.
///
/// Under either trust, a key has to be one of the verb in the installed version and its value of the key's type: what
/// ms-swift would refuse after a minute of imports is refused here. Keys that the run sets itself are refused under
/// [`Trust::Data`], and dropped under [`Trust::Code`].
///
/// # Errors
///
/// Everything that is wrong, in the order of the file.
pub fn check(config: &Config, rules: Rules<'_>) -> Result<Flags, Vec<Mistake>> {
    let (flags, mistakes) = look(config, rules);
    if mistakes.is_empty() { Ok(flags) } else { Err(mistakes) }
}

/// The same for whoever has more to look at before he tells what is wrong: the flags in which nothing is wrong, and
/// everything that is, in the order of the file. No run is made of them while there is a mistake.
#[must_use]
pub fn look(config: &Config, rules: Rules<'_>) -> (Flags, Vec<Mistake>) {
    let (mut flags, mut mistakes) = (Flags::default(), Vec::new());
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for entry in &config.entries {
        let checked = match &*entry.key {
            "ENV" => environment(entry, rules).map(|env| {
                flags.env = env;
                None
            }),
            _ => flag(entry, rules),
        };
        match checked {
            Ok(Some(flag)) => match seen.insert(flag.name, entry.line) {
                Some(first) => mistakes.push(Mistake::at(
                    entry.line,
                    format!("`{}` is set twice; the first time in line {first}", flag.name),
                )),
                None => flags.list.push(flag),
            },
            Ok(None) => {}
            Err(what) => mistakes.push(Mistake::at(entry.line, what)),
        }
    }
    (flags, mistakes)
}

/// Whether the run sets a flag itself, so that neither a config nor a recipe can.
#[must_use]
pub fn is_ours(name: &str) -> bool {
    Class::of(&name.replace('-', "_")) == Some(Class::Ours)
}

/// The variables of `ENV`: for those alone who may run code, and never what steers processes, which is ours.
fn environment(entry: &Entry, rules: Rules<'_>) -> Result<BTreeMap<String, String>, String> {
    if rules.trust == Trust::Data {
        return Err("`ENV`: it sets variables of the environment; the recipe's `env` may".to_owned());
    }
    let Value::Mapping(entries) = &entry.value else {
        return Err("`ENV` has to be a mapping".to_owned());
    };
    let variable = |entry: &Entry| {
        let name = &entry.key;
        let is_name = !name.is_empty() && !name.contains(['=', '\0']) && !name.starts_with("SWIFTHOOK_");
        match &entry.value {
            Value::Text(text) if is_name && !text.text.contains('\0') => {
                Ok((name.clone(), text.text.clone()))
            }
            _ => Err(format!("`ENV` cannot set `{}` so", shown(name))),
        }
    };
    entries.iter().map(variable).collect()
}

/// The flag of a key; `None` if the run sets it itself.
fn flag(entry: &Entry, rules: Rules<'_>) -> Result<Option<Flag>, String> {
    let Rules { table, verb, trust, .. } = rules;
    // argparse takes both spellings.
    let key = entry.key.replace('-', "_");
    let name = match names::resolve(table, verb, &key) {
        Name::Is(name) => name,
        Name::Unknown(instead) => {
            let instead = instead.map(|instead| format!(": {instead}")).unwrap_or_default();
            let key = shown(&entry.key);
            return Err(format!("`{verb}` of ms-swift {} has no `{key}`{instead}", table.version()));
        }
    };
    let argument = table.argument(verb, name).expect("it was just found");
    let name = argument.name;
    let class = Class::of(name);
    match (trust, class) {
        (Trust::Data, Some(Class::Ours)) => {
            return Err(format!("`{name}`: every run sets it itself"));
        }
        (Trust::Code, Some(Class::Ours)) => return Ok(None),
        (Trust::Data, Some(Class::Refused(why))) => {
            return Err(format!("`{name}`: {why}, which `trust = \"data\"` refuses"));
        }
        (Trust::Data, None) => {
            return Err(format!(
                "`{name}` is not among the keys that `trust = \"data\"` lets pass; the recipe's `args` may set it"
            ));
        }
        _ => {}
    }
    let is_structured = match class {
        Some(Class::Model | Class::Data | Class::Text | Class::Word | Class::Value) => false,
        _ => argument.kind == Kind::Text && !argument.is_list,
    };
    let values =
        value::arguments(argument, is_structured, &entry.value).map_err(|why| format!("`{name}`: {why}"))?;
    if let (Trust::Data, Some(class)) = (trust, class) {
        admit(argument, class, &values, &entry.value, rules)?;
    }
    let locals = match class {
        Some(Class::Model) => local(&values, model_kind(name), Some),
        Some(Class::Data) => local(&values, LocalKind::Data, data_of),
        _ => Vec::new(),
    };
    Ok(Some(Flag { name, values, line: (entry.line > 0).then_some(entry.line), locals }))
}

/// What a key of the class model names.
fn model_kind(name: &str) -> LocalKind {
    match name {
        _ if name.starts_with("mcore") => LocalKind::Megatron,
        _ if name.ends_with("adapters") => LocalKind::Adapter,
        _ => LocalKind::Model,
    }
}

fn local<'v>(
    values: &'v [String],
    kind: LocalKind,
    of: impl Fn(&'v str) -> Option<&'v str>,
) -> Vec<(LocalKind, String)> {
    let parts = values.iter().filter_map(|value| of(value));
    parts.filter(|part| part.starts_with('/')).map(|part| (kind, part.to_owned())).collect()
}

/// Whether the values are of the class.
fn admit(
    argument: &Argument,
    class: Class,
    values: &[String],
    raw: &Value,
    rules: Rules<'_>,
) -> Result<(), String> {
    let name = argument.name;
    for value in values {
        let odd = |why: &str| Err(format!("`{name}`: `{}` is refused: {why}", shown(value)));
        match class {
            Class::Value | Class::Ours | Class::Refused(_) => {}
            Class::Only(words) => {
                if !words.split(' ').any(|word| word == value) {
                    return odd(&format!("one of {words}"));
                }
            }
            Class::Word => {
                if !value::is_word(value) {
                    return odd("only a plain name, without `/`, is allowed here");
                }
            }
            Class::Text => {
                if value::looks_like_a_path(value) {
                    return odd("ms-swift could take it for a file of this machine");
                }
            }
            Class::Mapping => value::structure(value, raw).or_else(|why| odd(&why))?,
            Class::Model => rules.models.model(value).or_else(|why| odd(&why))?,
            Class::Data => rules.data.data(value).or_else(|why| odd(&why))?,
        }
    }
    Ok(())
}
