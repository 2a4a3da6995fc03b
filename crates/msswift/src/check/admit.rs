//! The values of a key against its class, for a repository that may not run code.

use std::collections::HashMap;

use crate::class::Class;
use crate::config::Value;
use crate::data_set::DataSet;
use crate::fetches::Fetch;
use crate::hub::Hub;
use crate::mistake::shown;
use crate::permissions::Permissions;
use crate::range::Range;
use crate::table::{Argument, Kind};

use super::{Rules, value};

/// Checks that the values are of the class; the error says which is not, and why.
pub(super) fn admit(
    argument: &Argument,
    class: Class,
    values: &[String],
    raw: &Value,
    rules: Rules<'_>,
    hub: Hub,
) -> Result<(), String> {
    if values.len() > MOST_ITEMS {
        return Err(format!(
            "`{}`: a list of {} is too long: {MOST_ITEMS} at most",
            argument.name,
            values.len()
        ));
    }
    if class == Class::Data {
        repeated(values).map_err(|why| format!("`{}`: {why}", argument.name))?;
    }
    for value in values {
        let is_good = one(argument, class, value, raw, rules, hub);
        is_good.map_err(|why| format!("`{}`: `{}` is refused: {why}", argument.name, shown(value)))?;
    }
    Ok(())
}

fn one(
    argument: &Argument,
    class: Class,
    value: &str,
    raw: &Value,
    rules: Rules<'_>,
    hub: Hub,
) -> Result<(), String> {
    let Rules { table, verb, permissions, .. } = rules;
    let refused = |is_refused: bool, why: &str| if is_refused { Err(why.to_owned()) } else { Ok(()) };
    match class {
        Class::Ours | Class::Refused(_) => Ok(()),
        Class::Value => {
            let asks_elsewhere = argument.name == "check_model" && value == "true" && hub != Hub::ModelScope;
            refused(
                asks_elsewhere,
                &format!("it asks ModelScope, and the run's hub is {hub}: leave the key out"),
            )?;
            number(argument, value)
        }
        Class::Only(words) => {
            refused(!words.split(' ').any(|word| word == value), &format!("one of {words}"))
        }
        Class::Word => {
            refused(!value::is_word(value), "only a plain name, without `/`, is allowed here")?;
            fetched(table.fetches().of(verb, argument.name, value), permissions, hub)
        }
        Class::Text => {
            refused(value.len() > LONGEST_TEXT, "longer than 32 KiB")?;
            refused(value::looks_like_a_path(value), "ms-swift could take it for a file of this machine")
        }
        Class::Prompt => {
            refused(value.len() > LONGEST_TEXT, "longer than 32 KiB")?;
            refused(value.trim_end().ends_with(".txt"), "ms-swift reads a file where text ends so")
        }
        Class::Mapping => {
            refused(value.len() > LONGEST_TEXT, "longer than 32 KiB")?;
            value::structure(value, raw)
        }
        Class::Model => {
            permissions.model(value, hub)?;
            fetched(table.fetches().of_model(value), permissions, hub)
        }
        Class::Data => {
            permissions.data_set(value, hub, table.fetches())?;
            if permissions.names_literally(value, hub) {
                return Ok(());
            }
            let name = DataSet::read(value).map_or(crate::data_set::path(value), |one| one.name);
            table.fetches().media(name).map_or(Ok(()), |name| {
                Err(format!(
                    "ms-swift takes it for its own `{name}`, and fetches media from ModelScope for that, whatever the \
                     recipe allows; a folder may have another name, and the recipe's `hub_data` may name exactly this one"
                ))
            })
        }
        Class::File => permissions.file(value),
        Class::Revision => permissions.revisions.check(value),
        Class::Hub => permissions.hub(Hub::of_use_hf(value)),
    }
}

/// Checks that nothing is named over and over, which makes as many copies of its rows.
fn repeated(values: &[String]) -> Result<(), String> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for name in values.iter().filter_map(|value| Some(DataSet::read(value).ok()?.name)) {
        let count = counts.entry(name).or_default();
        *count += 1;
        if *count > MOST_REPEATS {
            return Err(format!(
                "`{}` is named more than {MOST_REPEATS} times: name it once, with a number of rows after `#`",
                shown(name)
            ));
        }
    }
    Ok(())
}

/// Checks that a number is within the range of its key.
fn number(argument: &Argument, value: &str) -> Result<(), String> {
    if !matches!(argument.kind, Kind::Whole | Kind::Number) {
        return Ok(());
    }
    match Range::of(argument.name) {
        Some(range) if range.has(value) => Ok(()),
        Some(range) => Err(format!("its range is {range}; the recipe's `args` may go beyond it")),
        None => Err("nobody has said its range; the recipe's `args` may set it".to_owned()),
    }
}

/// Checks that everything that comes along with a value is allowed as well.
fn fetched(fetch: Option<&Fetch>, permissions: &Permissions, hub: Hub) -> Result<(), String> {
    let Some(fetch) = fetch else { return Ok(()) };
    if let [first, ..] = &*fetch.clones {
        return Err(format!(
            "ms-swift clones {first} for it and runs what is in it; the recipe's `args` may name it instead"
        ));
    }
    let fetched = |id: &&str| {
        permissions.model(id, hub).map_err(|why| {
            format!("ms-swift loads `{id}` from {hub} for it besides, which the recipe's `models` do not let pass: {why}")
        })
    };
    fetch.models.iter().try_for_each(fetched)
}

/// Modules of each layer of a large model are named in hundreds.
const MOST_ITEMS: usize = 2_000;
const LONGEST_TEXT: usize = 32 * 1024;
/// Somebody weighs a small data set, or takes several subsets of a large one.
const MOST_REPEATS: usize = 100;
