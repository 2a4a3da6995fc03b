//! Pushes as they come out of the receiver.

use std::sync::atomic::{AtomicU64, Ordering};

use swifthook_core::{
    ChangeSet, CommitSha, ConfigDigest, Decided, JobSpec, PathChange, Push, Reason, RecipeVerdict, RefName,
    RepoName, Retry, Source, Superseding, Timestamp, Verdict,
};

/// A small push, as it comes out of the receiver.
#[must_use]
pub fn decided(verdict: RecipeVerdict) -> Decided {
    let paths = ["configs/sft_qwen3.yaml", "data/prep.py", "README.md"];
    Decided {
        version: Decided::VERSION,
        push: Push {
            repository: RepoName::new("acme/models").expect("a name"),
            ref_name: RefName::Branch("main".into()),
            before: Some(commit(u64::MAX)),
            head: None,
            skip_marker: false,
            sender: Some("octocat".into()),
            pushed_at: Some(Timestamp(1_795_514_400_000)),
            changes: ChangeSet::Complete(paths.into_iter().map(|path| (path, PathChange::Present)).collect()),
            source: Source::Hook {
                hook: "github".into(),
                guid: "2f1d0c3e-1e5b-11ef-9f0a-0242ac120002".into(),
            },
            origin: Default::default(),
        },
        verdicts: vec![verdict],
        config: ConfigDigest([7; 32]),
        received_at: Timestamp(1_795_514_400_000),
        is_redeliverable: true,
    }
}

/// One recipe launches it.
#[must_use]
pub fn trains() -> RecipeVerdict {
    let spec = JobSpec {
        recipe: "sft-qwen3".into(),
        config: None,
        group: "acme/models/refs/heads/main/sft-qwen3/".into(),
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
    RecipeVerdict { recipe: spec.recipe.clone(), verdict: Verdict::launch(), jobs: vec![spec] }
}

/// Nothing is to run.
#[must_use]
pub fn skips() -> RecipeVerdict {
    let verdict = Verdict::Skip(Reason::new("branch", "`main` matches none of `release/**`"));
    RecipeVerdict { recipe: "sft-qwen3".into(), verdict, jobs: Vec::new() }
}

/// A commit that was not there yet.
#[must_use]
pub fn new_commit() -> CommitSha {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    commit(COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Commits are as good as random, so their keys are spread like those of real ones.
fn commit(number: u64) -> CommitSha {
    let mixed = |salt: u64| number.wrapping_add(salt).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let digits = format!("{:016x}{:016x}{:08x}", mixed(1), mixed(2), mixed(3) >> 32);
    CommitSha::parse(&digits).expect("40 digits").expect("not all zeros")
}
