use super::Receiver;
use crate::intake::Decided;
use crate::push::{ChangeSet, Gap, Origin, Push, Source};
use crate::queue::Delivery;
use crate::time::Timestamp;

/// A recorded delivery cannot be decided again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotReplay {
    /// It was recorded before all that is asked of a push was kept.
    #[error("it was recorded by a version that did not keep all that the recipes ask of a push")]
    NotKept,
    /// The configuration does not have its repository any more.
    #[error("`{0}` is not in the configuration")]
    Repository(String),
}

impl Receiver {
    /// Decides a recorded delivery again, by the recipes of this receiver, because a person asks for it.
    ///
    /// Accepting what it answers enqueues what the rules allow: a change that is known, whatever became of it, is a
    /// duplicate, and one that nobody knew before, since a recipe is new or was another, is enqueued. It is not held
    /// for its age, which guards against those who have a body and its signature. Where more paths changed than are
    /// kept, the rest is not known, so that no recipe says no for what it did not see.
    ///
    /// # Errors
    ///
    /// When not enough of it was kept, or its repository is not in the configuration.
    pub fn replay(&self, delivery: &Delivery, now: Timestamp) -> Result<Decided, CannotReplay> {
        let facts = delivery.facts.ok_or(CannotReplay::NotKept)?;
        let name = delivery.repository.as_str().to_ascii_lowercase();
        let unknown = || CannotReplay::Repository(delivery.repository.to_string());
        let known = self.repositories.get(name.as_str()).ok_or_else(unknown)?;
        let is_cut = delivery.path_count > delivery.paths.len() as u64;
        let paths = delivery.paths.clone();
        let push = Push {
            repository: known.name.clone(),
            ref_name: delivery.ref_name.clone(),
            before: delivery.before.clone(),
            head: delivery.head.clone(),
            skip_marker: facts.skip_marker,
            sender: delivery.sender.clone(),
            pushed_at: facts.pushed_at,
            changes: match facts.gap.or(is_cut.then_some(Gap::Truncated)) {
                Some(gap) => ChangeSet::Incomplete(paths, gap),
                None => ChangeSet::Complete(paths),
            },
            source: Source::Person,
            origin: Origin::default(),
        };
        Ok(Decided {
            version: Decided::VERSION,
            verdicts: known.recipes.iter().map(|recipe| recipe.decide(&push, now)).collect(),
            config: self.config,
            received_at: now,
            is_redeliverable: false,
            push,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::{all, branches, paths};
    use crate::queue::PushFacts;
    use crate::{ConfigDigest, DeliveryId, PathChange, Paths, RefName, RepoName, Secret, SecretSet, Verdict};

    #[test]
    fn a_recorded_delivery_is_decided_by_the_recipes_of_the_moment() {
        let decided = receiver().replay(&delivery(), Timestamp(9)).unwrap();
        assert_eq!(words(&decided), ["launch", "skip"]);
        assert_eq!((decided.push.source, decided.is_redeliverable), (Source::Person, false));
    }

    #[test]
    fn what_was_not_kept_is_unknown_and_never_no() {
        let cut = Delivery { path_count: 5_000, ..delivery() };
        assert_eq!(words(&receiver().replay(&cut, Timestamp(9)).unwrap()), ["launch", "hold"]);
        let facts = PushFacts { gap: Some(Gap::Forced), ..delivery().facts.unwrap() };
        let forced = Delivery { facts: Some(facts), ..delivery() };
        assert_eq!(words(&receiver().replay(&forced, Timestamp(9)).unwrap()), ["hold", "hold"]);
    }

    #[test]
    fn a_push_that_asked_to_be_skipped_still_does() {
        let facts = PushFacts { skip_marker: true, ..delivery().facts.unwrap() };
        let skipped = Delivery { facts: Some(facts), ..delivery() };
        assert_eq!(words(&receiver().replay(&skipped, Timestamp(9)).unwrap()), ["skip", "skip"]);
    }

    #[test]
    fn what_cannot_be_decided_again_says_why() {
        let old = Delivery { facts: None, ..delivery() };
        assert_eq!(receiver().replay(&old, Timestamp(9)).unwrap_err(), CannotReplay::NotKept);
        let gone = Delivery { repository: RepoName::new("acme/gone").unwrap(), ..delivery() };
        let refused = receiver().replay(&gone, Timestamp(9)).unwrap_err();
        assert_eq!(refused, CannotReplay::Repository("acme/gone".to_owned()));
    }

    fn words(decided: &Decided) -> Vec<&'static str> {
        decided.verdicts.iter().map(|said| Verdict::word(&said.verdict)).collect()
    }

    fn receiver() -> Receiver {
        let secret = Secret::new("one", "correct horse battery staple").unwrap();
        let of = |pattern: &str| all([branches(["main"]).unwrap(), paths([pattern]).unwrap()]);
        Receiver::builder()
            .hook("github", "/webhook", SecretSet::new(vec![secret]).unwrap(), &["acme/*"])
            .recipe("sft", "acme/models", of("configs/**"))
            .recipe("dpo", "acme/models", of("dpo/**"))
            .build()
            .unwrap()
    }

    fn delivery() -> Delivery {
        let sha = |digit: &str| crate::CommitSha::parse(&digit.repeat(40)).unwrap();
        Delivery {
            id: DeliveryId([1; 16]),
            received_at: Timestamp(1),
            source: Source::Reconcile,
            repository: RepoName::new("acme/models").unwrap(),
            ref_name: RefName::Branch("main".into()),
            before: sha("a"),
            head: sha("b"),
            sender: None,
            facts: Some(PushFacts { pushed_at: None, skip_marker: false, gap: None }),
            verdicts: Vec::new(),
            paths: Paths::from_iter([("configs/a.yaml", PathChange::Present)]),
            path_count: 1,
            config: ConfigDigest::default(),
            jobs: Vec::new(),
            known: Vec::new(),
        }
    }
}
