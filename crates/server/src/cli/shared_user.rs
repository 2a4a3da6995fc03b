//! The warning of `swifthook check` about recipes whose runs are one user's.

use crate::config::{Isolation, Recipe};

/// Limits that a run shares with the server, where it is of the server's own user; `None` where it is not.
pub(super) fn warning_of_the_servers(recipe: &Recipe, is_root: bool) -> Option<&'static str> {
    let is_sandbox = matches!(recipe.run.isolation.as_ref()?, Isolation::Bubblewrap(_));
    (is_sandbox && !is_root).then_some(
        "its runs are the server's own user in their sandbox: they share that user's limits (watches, keys, namespaces), and see \
         that user's files outside of home directories; a server that root starts has other users for them",
    )
}

/// The recipes that have the user of this one, and what they share with it; `None` where it has its user to itself.
pub(super) fn warning(recipe: &Recipe, all: &[Recipe]) -> Option<String> {
    let isolation = recipe.run.isolation.as_ref()?;
    let user = isolation.user()?;
    let user_of = |other: &Recipe| other.run.isolation.as_ref().and_then(Isolation::user).map(str::to_owned);
    let others: Vec<_> = all
        .iter()
        .filter(|other| other.name != recipe.name && user_of(other).as_deref() == Some(user))
        .map(|other| format!("`{}`", other.name))
        .collect();
    if others.is_empty() {
        return None;
    }
    let what = match isolation {
        Isolation::Bubblewrap(_) => "their runs read and write each other's caches",
        _ => "their runs read each other's environment and write to each other's output",
    };
    Some(format!(
        "`{user}` is also the user of {}: {what}; a user for each recipe keeps them apart",
        others.join(", ")
    ))
}
