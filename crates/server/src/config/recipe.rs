//! `[[recipe]]`.

use std::path::Path;
use std::sync::Arc;

use swifthook_core::RepoName;

use super::model::{Hook, Recipe, Worker};
use super::reader::{Fields, Node, Unique, Wrong};
use super::secret::Outside;
use super::{queueing, run, sections, trigger};

/// What a recipe may refer to.
pub(super) struct Known<'k> {
    pub(super) folder: &'k Path,
    pub(super) variable: &'k dyn Fn(&str) -> Option<String>,
    pub(super) repositories: &'k Unique,
    pub(super) launchers: &'k Unique,
    pub(super) worker: &'k Worker,
    /// The hooks, if nothing is wrong with them.
    pub(super) hooks: Option<&'k [Hook]>,
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
    let queueing = queueing::queueing(&fields, known);
    fields.not_yet(&LATER);
    fields.finish();
    Some(Recipe { name: name?, repository: repository?, trigger: trigger?, run, queueing })
}

fn repository(node: &Node<'_>, known: &Known<'_>) -> Option<RepoName> {
    let name = node.read(RepoName::new)?;
    if !known.repositories.contains(name.as_str()) {
        node.wrong(sections::unknown("repository", name.as_str(), &known.repositories.names()));
        return None;
    }
    let is_mute = |hooks: &[Hook]| !hooks.iter().any(|hook| hook.hook.speaks_for(name.as_str()));
    if known.hooks.is_some_and(is_mute) {
        node.wrong(
            Wrong::new(format!("no hook may speak for `{name}`, so that its pushes would be refused"))
                .instead("add it to the `repositories` of a [[hook]]"),
        );
    }
    Some(name)
}

const LATER: [&str; 7] = ["gpus", "budget", "limits", "isolation", "watchdog", "then", "nproc"];
