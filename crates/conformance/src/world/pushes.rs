use std::sync::Arc;

use swifthook_core::{
    ChangeSet, CommitSha, ConfigDigest, Decided, Paths, Push, Recipe, RefName, RepoName, Source, Timestamp,
};

/// A push of the `number`th commit to a branch of `acme/models`, right after the one before.
#[must_use]
pub fn push(branch: &str, number: u64) -> Push {
    Push {
        repository: repository(),
        ref_name: RefName::Branch(branch.into()),
        before: number.checked_sub(1).and_then(commit),
        head: commit(number),
        skip_marker: false,
        sender: Some("mona".into()),
        pushed_at: Some(Timestamp(0)),
        changes: ChangeSet::Complete(Paths::empty()),
        source: Source::Hook { hook: "github".into(), guid: format!("{branch}-{number}").into() },
        origin: Default::default(),
    }
}

/// What `recipes` say of `push`, received at `at`; a person's redelivery of it counts.
#[must_use]
pub fn decided(push: &Push, recipes: &[Arc<Recipe>], at: Timestamp) -> Decided {
    Decided {
        version: Decided::VERSION,
        push: Push { pushed_at: push.pushed_at.map(|_| at), ..push.clone() },
        verdicts: recipes.iter().map(|recipe| recipe.decide(push, at)).collect(),
        config: ConfigDigest::default(),
        received_at: at,
        is_redeliverable: true,
    }
}

/// The repository of these pushes.
#[must_use]
pub fn repository() -> RepoName {
    RepoName::new("acme/models").expect("it has an owner and a name")
}

pub(super) fn commit(number: u64) -> Option<CommitSha> {
    CommitSha::parse(&format!("{number:012x}{number:028x}")).expect("forty digits")
}
