use std::collections::{BTreeMap, HashMap};

use crate::class::Class;
use crate::config::{Config, Entry, Text, Value};
use crate::data_set::{DataSet, MOST_ROWS};
use crate::flags::{Flag, Flags, LocalKind};
use crate::hub::Hub;
use crate::kernels;
use crate::mistake::{Mistake, shown};
use crate::names::{self, Name};
use crate::permissions::Permissions;
use crate::scalar::Scalar;
use crate::table::{Kind, Table};
use crate::verb::Verb;

mod admit;
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
    /// Names that it may use, under [`Trust::Data`].
    pub permissions: &'r Permissions,
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
/// ms-swift would refuse after a minute of imports is refused here. Keys that the run sets itself are set aside, with a
/// [note](Flags::notes).
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
    let hub = hub(config, rules);
    let (mut flags, mut mistakes) = (Flags::default(), Vec::new());
    flags.hub = (rules.trust == Trust::Data).then_some(hub);
    flags.may_take_kernels = kernels::may_be_taken(rules.permissions);
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for entry in &config.entries {
        let checked = match &*entry.key {
            "ENV" => environment(entry, rules).map(|env| {
                flags.env = env;
                None
            }),
            // A comparison with each flag, which costs time.
            _ => flag(entry, rules, hub, mistakes.len() < MOST_SUGGESTIONS),
        };
        match checked {
            Ok(Some(flag)) => match seen.insert(flag.name, entry.line) {
                Some(first) => mistakes.push(Mistake::at(
                    entry.line,
                    format!("`{}` is set twice; the first time in line {first}", flag.name),
                )),
                None => {
                    flags.notes.extend(value::read_otherwise(&flag, entry, rules));
                    flags.list.push(flag);
                }
            },
            Ok(None) if entry.key == "ENV" => {}
            Ok(None) => flags.notes.extend(set_aside(entry)),
            Err(what) => mistakes.push(Mistake::at(entry.line, what)),
        }
    }
    if rules.trust == Trust::Data {
        mistakes.extend(too_many_rows(&flags));
    }
    (flags, mistakes)
}

/// The mistake of counts that are each within bounds, and not together.
fn too_many_rows(flags: &Flags) -> Option<Mistake> {
    let mut all: u64 = 0;
    let data = flags.iter().filter(|flag| Class::of(flag.name) == Some(Class::Data));
    let mut named = data.flat_map(|flag| flag.values.iter().map(move |value| (flag, value)));
    let (flag, _) = named.find(|(_, value)| {
        all += DataSet::read(value).ok().and_then(|one| one.rows).unwrap_or(0);
        all > MOST_ROWS
    })?;
    let what = format!("`{}`: the numbers of rows after `#` add up to more than {MOST_ROWS}", flag.name);
    Some(Mistake { line: flag.line, what })
}

/// The mistake of a config that chooses a hub for what its recipe names: the recipe's ids are of the recipe's hub.
#[must_use]
pub fn look_together(config: &Flags, recipe: &Flags, rules: Rules<'_>) -> Option<Mistake> {
    let bare = rules.permissions.bare();
    config.hub.filter(|hub| *hub != bare)?;
    let id = recipe.iter().find_map(|flag| {
        let is_bare = |value: &&String| match Class::of(flag.name) {
            Some(Class::Model) => !value.starts_with('/'),
            Some(Class::Data) => !value.starts_with('/') && !value.contains("::"),
            _ => false,
        };
        flag.values.iter().find(is_bare)
    })?;
    let line = config.iter().find(|flag| flag.name == "use_hf").and_then(|flag| flag.line);
    let what = format!("`use_hf`: the recipe's args name `{}` of {bare}, and a run has one hub", shown(id));
    Some(Mistake { line, what })
}

/// Whether the run sets a flag itself, so that neither a config nor a recipe can.
#[must_use]
pub fn is_ours(name: &str) -> bool {
    let name = name.replace('-', "_");
    Class::of(&name) == Some(Class::Ours) || name == RESUME
}

/// The note of a key that the run sets itself; none of one that says the same.
fn set_aside(entry: &Entry) -> Option<Mistake> {
    let key = shown(&entry.key);
    let said = match &entry.value {
        Value::Text(Text { text, meaning }) if key.replace('-', "_") == "add_version" => {
            if *meaning == Ok(Scalar::Truth(false)) {
                return None;
            }
            format!(": `{}` is set aside", shown(text))
        }
        Value::Text(Text { text, .. }) => format!(": `{}` is set aside", shown(text)),
        _ => ", and what is said of it here is set aside".to_owned(),
    };
    let what = match &*entry.key.replace('-', "_") {
        "add_version" => format!("`{key}`: each run has a folder of its own, without versions{said}"),
        "logging_dir" => format!("`{key}`: each run logs into its own output{said}"),
        _ => format!("`{key}`: each run has an output of its own{said}"),
    };
    Some(Mistake::at(entry.line, what))
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
            Value::Text(Text { text, meaning }) if is_name && !text.contains('\0') => {
                let meaning = meaning.as_ref().map_err(|why| format!("`ENV`: `{}`: {why}", shown(name)))?;
                Ok((name.clone(), meaning.told_by_python().unwrap_or_else(|| text.clone())))
            }
            _ => Err(format!("`ENV` cannot set `{}` so", shown(name))),
        }
    };
    entries.iter().map(variable).collect()
}

/// The hub that a config asks: its own `use_hf` says so where the recipe lets it. Where it does not, the flag is refused
/// anyway.
fn hub(config: &Config, rules: Rules<'_>) -> Hub {
    let bare = rules.permissions.bare();
    let Some(argument) = rules.table.argument(rules.verb, "use_hf") else { return bare };
    let mut said = config.entries.iter().filter(|entry| entry.key.replace('-', "_") == argument.name);
    let value = said.next().and_then(|entry| value::arguments(argument, false, None, &entry.value).ok());
    let hub = value.and_then(|values| values.first().map(|value| Hub::of_use_hf(value)));
    hub.filter(|hub| rules.permissions.hub(*hub).is_ok()).unwrap_or(bare)
}

/// The flag of a key; `None` if the run sets it itself.
fn flag(entry: &Entry, rules: Rules<'_>, hub: Hub, may_suggest: bool) -> Result<Option<Flag>, String> {
    let Rules { table, verb, trust, .. } = rules;
    // argparse takes both spellings.
    let key = entry.key.replace('-', "_");
    let name = match names::resolve(table, verb, &key, may_suggest) {
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
        // Whoever may run code writes where the run may.
        (Trust::Code, Some(Class::Ours)) if name == "logging_dir" => {}
        (_, Some(Class::Ours)) => return Ok(None),
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
        Some(
            Class::Model
            | Class::Data
            | Class::File
            | Class::Revision
            | Class::Hub
            | Class::Text
            | Class::Prompt
            | Class::Word
            | Class::Value,
        ) => false,
        _ => argument.kind == Kind::Text && !argument.is_list,
    };
    let words = match class {
        Some(Class::Only(words)) => Some(words),
        _ => None,
    };
    let values = value::arguments(argument, is_structured, words, &entry.value)
        .map_err(|why| format!("`{name}`: {why}"))?;
    if let (Trust::Data, Some(class)) = (trust, class) {
        admit::admit(argument, class, &values, &entry.value, rules, hub)?;
    }
    let locals = match class {
        Some(Class::Model) => local(&values, model_kind(name), Some),
        Some(Class::Data) => local(&values, LocalKind::Data, Some),
        Some(Class::File) => local(&values, LocalKind::Data, Some),
        _ => Vec::new(),
    };
    Ok(Some(Flag { name, values, line: (entry.line > 0).then_some(entry.line), locals }))
}

/// The checkpoint that a run goes on from is its job's own, unless a config that may run code says another.
const RESUME: &str = "resume_from_checkpoint";
/// Mistakes after which no name is suggested any more.
const MOST_SUGGESTIONS: usize = 32;

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
