//! `[[recipe]]`.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use swifthook_core::RepoName;
use toml::de::DeTable;

use super::launcher::{self, Launcher};
use super::model::{Hook, Recipe, Repository, Run, Worker};
use super::reader::{Fields, Node, Unique, Wrong};
use super::secret::Outside;
use super::{gpus, queueing, run, sections, trigger, watchdog};

/// What a recipe may refer to.
pub(super) struct Known<'k> {
    pub(super) folder: &'k Path,
    pub(super) variable: &'k dyn Fn(&str) -> Option<String>,
    pub(super) repositories: &'k Unique,
    /// The repositories in which nothing is wrong.
    pub(super) remotes: &'k [Repository],
    pub(super) launchers: &'k [Launcher],
    pub(super) worker: &'k Worker,
    /// Whether workers elsewhere may have labels that this one has not.
    pub(super) has_other_workers: bool,
    /// The hooks, if nothing is wrong with them and they are needed.
    pub(super) hooks: Option<&'k [Hook]>,
    /// Variables from which recipes take secrets for their runs.
    pub(super) run_secrets: &'k HashSet<String>,
    /// Where secrets of the server stand, which no run may see.
    pub(super) own_secrets: &'k [Outside],
}

pub(super) fn recipes(tables: Vec<Fields<'_>>, known: &Known<'_>) -> Vec<Recipe> {
    let mut names = Unique::new("recipes");
    tables.into_iter().filter_map(|fields| recipe(fields, known, &mut names)).collect()
}

fn recipe(fields: Fields<'_>, known: &Known<'_>, names: &mut Unique) -> Option<Recipe> {
    let name = fields
        .need("name", "`name = \"sft-qwen3\"`")
        .and_then(|node| node.read(sections::word).inspect(|name: &Arc<str>| names.check(&node, name)));
    let repository =
        fields.need("repository", "`repository = \"acme/models\"`").and_then(|node| repository(&node, known));
    let trigger = trigger::trigger(&fields);
    let run = run::run(&fields, known);
    if run.has_tree() {
        check_fetching(&fields, &run, repository.as_ref(), known);
    }
    let gpus = gpus::request(&fields, &run, known);
    let queueing = queueing::queueing(&fields, known);
    let watch = watchdog::watchdog(&fields, run.swift.is_some());
    fields.not_yet(&LATER);
    fields.finish();
    Some(Recipe { name: name?, repository: repository?, trigger: trigger?, run, gpus, queueing, watch })
}

fn check_fetching(fields: &Fields<'_>, run: &Run, repository: Option<&RepoName>, known: &Known<'_>) {
    let launcher = known.launchers.iter().find(|launcher| launcher.name == run.launcher);
    let repository = known.remotes.iter().find(|one| Some(&one.name) == repository);
    if let Some((launcher, repository)) = launcher.zip(repository) {
        launcher::check_repository(fields, launcher, repository);
    }
}

/// The variables that the `env` of any recipe names.
pub(super) fn secret_variables(document: &DeTable<'_>) -> HashSet<String> {
    let recipes = document.get("recipe").and_then(|value| value.get_ref().as_array());
    let tables = recipes.into_iter().flat_map(|list| list.iter());
    let envs = tables.filter_map(|recipe| recipe.get_ref().get("env")?.get_ref().as_table());
    let values = envs.flat_map(|env| env.values().filter_map(|value| value.get_ref().as_str()));
    values.filter_map(|text| text.strip_prefix("env:")).map(str::to_owned).collect()
}

fn repository(node: &Node<'_>, known: &Known<'_>) -> Option<RepoName> {
    let name = node.read(RepoName::new)?;
    if !known.repositories.contains(name.as_str()) {
        node.wrong(sections::unknown("repository", name.as_str(), &known.repositories.names()));
        return None;
    }
    let is_mute = |hooks: &[Hook]| !hooks.iter().any(|hook| hook.hook.speaks_for(name.as_str()));
    let is_pulled = known.remotes.iter().any(|one| one.name.is_named(name.as_str()) && one.pull.is_some());
    if !is_pulled && known.hooks.is_some_and(is_mute) {
        node.wrong(
            Wrong::new(format!("no hook may speak for `{name}`, so that its pushes would be refused"))
                .instead("add it to the `repositories` of a [[hook]], or say `pull` in its [[repository]]"),
        );
    }
    Some(name)
}

const LATER: [&str; 2] = ["budget", "then"];
