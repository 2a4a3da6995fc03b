//! What a configuration becomes: what receives, and what runs.

use std::sync::Arc;
use std::time::SystemTime;

use ipnet::IpNet;
use swifthook_core::{Limits, Receiver, Recipe, Timestamp};

use super::catalog::Recipes;
use super::recipes::recipe;
use crate::config::Config;

/// The receiver and the recipes of a configuration; `github` are the addresses of GitHub's hooks.
pub(super) fn of(config: &Config, github: &[IpNet]) -> Result<(Receiver, Recipes), Error> {
    let recipes = recipes(config)?;
    let mut receiver = Receiver::builder()
        .config(config.digest)
        .started_at(Timestamp::from(SystemTime::now()))
        .limits(Limits { in_flight: config.limits.body_memory, ..Limits::default() })
        .trusted_proxies(config.server.trusted_proxies.clone());
    for repository in config.repositories.iter().filter(|repository| repository.pull.is_some()) {
        receiver = receiver.pulled(repository.name.clone());
    }
    for hook in &config.hooks {
        let mut with_github = hook.hook.clone();
        if hook.from_github {
            with_github.allow_from.extend(github);
        }
        receiver = receiver.add_hook(with_github);
    }
    for from in &config.recipes {
        receiver = receiver.add_recipe(Recipe::clone(&recipes.by_name[&from.name].0));
    }
    Ok((receiver.build()?, recipes))
}

/// The recipes alone: all that whoever takes no pushes needs.
pub(super) fn recipes(config: &Config) -> Result<Recipes, Error> {
    let (free_disk, private) = (config.limits.free_disk, config.private.clone().into());
    let mut recipes = Recipes { free_disk, private, ..Recipes::default() };
    for hook in &config.hooks {
        recipes.max_ages.insert(hook.hook.id().clone(), hook.hook.max_age);
    }
    for from in &config.recipes {
        recipes.by_name.insert(from.name.clone(), (Arc::new(recipe(from)?), from.clone()));
    }
    Ok(recipes)
}

/// A configuration that reads well and yet cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the configuration cannot be used")]
pub enum Error {
    /// A pattern is none.
    Pattern(#[from] swifthook_core::InvalidPattern),
    /// Hooks and recipes do not fit together.
    Receiver(#[from] swifthook_core::ConfigError),
}
