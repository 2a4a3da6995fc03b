//! A push for tests.

use std::sync::Arc;

use swifthook_core::{
    ChangeSet, CommitSha, ConfigDigest, Decided, JobSpec, Paths, Push, RecipeVerdict, RefName, RepoName,
    Retry, Source, Superseding, Timestamp, Verdict,
};

/// A push of commit number `head` that one recipe launches, in a group of its own.
pub(crate) fn push(head: u32, guid: &str) -> Decided {
    let recipe: Arc<str> = "sft".into();
    let spec = JobSpec {
        recipe: recipe.clone(),
        config: None,
        group: format!("group {head}").into(),
        priority: 0,
        launcher: "local".into(),
        labels: Vec::new(),
        command: Default::default(),
        file: None,
        superseded: Superseding::CancelQueued,
        debounce: None,
        retry: Retry::default(),
        origin: Default::default(),
    };
    Decided {
        version: Decided::VERSION,
        push: Push {
            repository: RepoName::new("acme/models").unwrap(),
            ref_name: RefName::Branch("main".into()),
            before: None,
            head: CommitSha::parse(&format!("{head:08x}").repeat(5)).unwrap(),
            skip_marker: false,
            sender: Some("ada".into()),
            pushed_at: None,
            changes: ChangeSet::Complete(Paths::empty()),
            source: Source::Hook { hook: "github".into(), guid: guid.into() },
            origin: Default::default(),
        },
        verdicts: vec![RecipeVerdict { recipe, verdict: Verdict::launch(), jobs: vec![spec] }],
        config: ConfigDigest([7; 32]),
        received_at: Timestamp(1_795_514_400_000),
        is_redeliverable: true,
    }
}
