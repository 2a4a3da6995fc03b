//! Recipes as core has them, from recipes as the configuration has them.

use swifthook_core::condition::{self, InvalidPattern, PathFilter};
use swifthook_core::{Each, Recipe};

use crate::config::{self, Refs, Trigger};

pub(super) fn recipe(from: &config::Recipe) -> Result<Recipe, InvalidPattern> {
    let queueing = from.queueing.clone();
    Ok(Recipe {
        each: from.trigger.each.as_ref().map(|each| files(each, &from.trigger.paths)).transpose()?,
        merge_queue: from.trigger.merge_queue,
        command: from.run.command.clone(),
        file: from.run.file.clone(),
        group: queueing.group,
        launcher: from.run.launcher.clone(),
        labels: queueing.labels,
        priority: queueing.priority,
        superseded: queueing.superseded,
        debounce: queueing.debounce,
        retry: queueing.retry,
        ..Recipe::new(&from.name, from.repository.clone(), policy(&from.trigger)?)
    })
}

/// The rules, in the order in which the first that fails is told.
fn policy(trigger: &Trigger) -> Result<condition::Rule, InvalidPattern> {
    let mut rules = vec![match &trigger.refs {
        Refs::Branches(patterns) => condition::branches(patterns)?,
        Refs::Tags(patterns) => condition::tags(patterns)?,
    }];
    if !trigger.senders.is_empty() {
        rules.push(condition::senders(&trigger.senders));
    }
    if !trigger.paths.is_empty() {
        rules.push(condition::paths(&trigger.paths)?);
    }
    Ok(condition::all(rules))
}

fn files(each: &str, paths: &[String]) -> Result<Each, InvalidPattern> {
    let paths = if paths.is_empty() { None } else { Some(PathFilter::new(paths)?) };
    Ok(Each { paths, ..Each::new([each])? })
}
