use super::Receiver;
use crate::git::{CommitSha, RefName};
use crate::id::RepoName;
use crate::intake::{Decided, RecipeVerdict};
use crate::policy::{HoldReason, Verdict};
use crate::push::{ChangeSet, Gap, Origin, Paths, Push, Source};
use crate::time::Timestamp;

/// A move of a ref that no delivery told of: where the ref is now, by the word of the server that keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundTip {
    /// The repository, by its configured name.
    pub repository: RepoName,
    /// The ref.
    pub ref_name: RefName,
    /// Where it was known to be; `None` if nobody knew of it.
    pub before: Option<CommitSha>,
    /// Where it is.
    pub tip: CommitSha,
    /// Who found it: [`Source::Reconcile`] or [`Source::Pull`].
    pub source: Source,
}

impl Receiver {
    /// The repositories of its recipes, by their names.
    #[must_use]
    pub fn repositories(&self) -> Vec<RepoName> {
        let mut names: Vec<_> = self.repositories.values().map(|known| known.name.clone()).collect();
        names.sort();
        names
    }

    /// Decides a push that was found by looking at a ref; `None` where no recipe names this ref.
    ///
    /// The same recipes decide as of a delivery, with what a tip tells: neither who pushed nor what changed, nor whether
    /// the commit asks to be skipped. So what would launch is held for a diff, where git tells the rest and the recipe
    /// is asked again. It is not held for its age, and nothing of it counts as verified.
    #[must_use]
    pub fn found(&self, found: FoundTip, now: Timestamp) -> Option<Decided> {
        let name = found.repository.as_str().to_ascii_lowercase();
        let known = self.repositories.get(name.as_str())?;
        let gap = if found.before.is_some() { Gap::NotListed } else { Gap::NewBranch };
        let push = Push {
            repository: known.name.clone(),
            ref_name: found.ref_name,
            before: found.before,
            head: Some(found.tip),
            skip_marker: false,
            sender: None,
            pushed_at: None,
            changes: ChangeSet::Incomplete(Paths::empty(), gap),
            source: found.source,
            origin: Origin::default(),
        };
        let decide = |recipe: &crate::Recipe| held_for_git(recipe.decide(&push, now), gap);
        let verdicts: Vec<_> = known.recipes.iter().map(decide).collect();
        verdicts.iter().any(names_the_ref).then(|| Decided {
            version: Decided::VERSION,
            verdicts,
            config: self.config,
            received_at: now,
            is_redeliverable: false,
            push,
        })
    }
}

fn held_for_git(decided: RecipeVerdict, gap: Gap) -> RecipeVerdict {
    match decided.verdict {
        Verdict::Launch { .. } => {
            RecipeVerdict { verdict: Verdict::Hold(HoldReason::NeedsDiff(gap)), ..decided }
        }
        _ => decided,
    }
}

/// Tells whether a recipe is about this ref, whatever it says of the push.
fn names_the_ref(decided: &RecipeVerdict) -> bool {
    match &decided.verdict {
        Verdict::Skip(reason) => !OTHER_REFS.contains(&&*reason.word),
        _ => true,
    }
}

/// By which a recipe says that a ref is none of its.
const OTHER_REFS: [&str; 3] = ["branch", "tag", "merge_queue"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::{all, branches, paths, senders};
    use crate::{Secret, SecretSet};

    #[test]
    fn what_a_tip_cannot_tell_is_left_to_git() {
        let decided = receiver().found(found("main", Some("a")), Timestamp(9)).unwrap();
        let words: Vec<_> = decided.verdicts.iter().map(|said| said.verdict.word()).collect();
        assert_eq!(words, ["hold", "hold", "skip", "skip"], "{:?}", decided.verdicts);
        assert_eq!(decided.verdicts[0].verdict, Verdict::Hold(HoldReason::NeedsDiff(Gap::NotListed)));
        assert_eq!(decided.verdicts[0].jobs.len(), 1);
        assert_eq!((decided.push.source, decided.is_redeliverable), (Source::Reconcile, false));
    }

    #[test]
    fn a_ref_that_nobody_knew_is_a_new_one() {
        let decided = receiver().found(found("main", None), Timestamp(9)).unwrap();
        assert_eq!(decided.verdicts[0].verdict, Verdict::Hold(HoldReason::NeedsDiff(Gap::NewBranch)));
    }

    #[test]
    fn a_ref_that_no_recipe_names_is_nobodys_business() {
        assert!(receiver().found(found("topic", Some("a")), Timestamp(9)).is_none());
        let queue = found("gh-readonly-queue/main/pr-1-abc", Some("a"));
        assert!(receiver().found(queue, Timestamp(9)).is_none());
        let elsewhere = FoundTip { repository: RepoName::new("acme/gone").unwrap(), ..found("main", None) };
        assert!(receiver().found(elsewhere, Timestamp(9)).is_none());
    }

    fn found(branch: &str, before: Option<&str>) -> FoundTip {
        let sha = |digit: &str| CommitSha::parse(&digit.repeat(40)).unwrap().unwrap();
        FoundTip {
            repository: RepoName::new("Acme/Models").unwrap(),
            ref_name: RefName::Branch(branch.into()),
            before: before.map(sha),
            tip: sha("b"),
            source: Source::Reconcile,
        }
    }

    fn receiver() -> Receiver {
        let secret = Secret::new("one", "correct horse battery staple").unwrap();
        let main = || branches(["main"]).unwrap();
        Receiver::builder()
            .hook("github", "/webhook", SecretSet::new(vec![secret]).unwrap(), &["acme/*"])
            .recipe("all", "acme/models", main())
            .recipe("some", "acme/models", all([main(), paths(["configs/**"]).unwrap()]))
            .recipe("ours", "acme/models", all([main(), senders(["dev"])]))
            .recipe("release", "acme/models", branches(["release/*"]).unwrap())
            .build()
            .unwrap()
    }
}
