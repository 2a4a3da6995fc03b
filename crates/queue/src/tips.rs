//! Where refs stood when somebody last looked, and what a look that finds something brings along.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use swifthook_core::{
    CommitSha, Decided, DeliveryId, IntakeError, QueueError, Receipt, RefName, RepoName, Timestamp,
};

use crate::chain::Place;
use crate::codec::{self, Corrupt};
use crate::rules::Submission;

/// The tips of a repository's refs as they were last recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tips {
    /// When git was asked: what is known to have been pushed later may be newer than these.
    pub asked_at: Timestamp,
    /// The commit that each ref was at.
    pub refs: BTreeMap<RefName, CommitSha>,
}

/// A move of a ref that a receipt tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Where the ref was before; `None` if it was new.
    pub before: Option<CommitSha>,
    /// Where it was then.
    pub head: CommitSha,
    /// When it was pushed, or received where the push does not say.
    pub at: Timestamp,
}

/// What is known of the tip that a ref has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A receipt of this ref tells of it, or it was recorded.
    Known,
    /// Nobody told of it: the ref was last known to be at this commit, or not known at all.
    Unknown(Option<CommitSha>),
}

/// A look at a repository that differs from what was recorded.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The repository.
    pub repository: RepoName,
    /// What it was compared with; `None` if nothing was recorded.
    pub known: Option<Tips>,
    /// What is to be recorded.
    pub tips: Tips,
    /// Pushes that nobody told of.
    pub found: Vec<Decided>,
}

/// A store that keeps where refs stood.
#[async_trait]
pub trait TipStore: Send + Sync {
    /// The tips of a repository; `None` if nobody has looked at it yet.
    ///
    /// # Errors
    ///
    /// If the store cannot answer.
    async fn tips(&self, repository: &RepoName) -> Result<Option<Tips>, QueueError>;

    /// The last moves of refs of a repository that receipts tell of, the newest first.
    ///
    /// # Errors
    ///
    /// If the store cannot answer.
    async fn moves(&self, repository: &RepoName, refs: &[RefName]) -> Result<Vec<Vec<Move>>, QueueError>;

    /// Records a look and takes the pushes that it found, in one transaction: answers a receipt for each, and `None` for
    /// one that another receipt tells of meanwhile. `None` altogether, and nothing is done, where somebody else has
    /// recorded a look since this one was compared.
    ///
    /// # Errors
    ///
    /// If nothing of it was recorded.
    async fn compared(&self, compared: &Compared) -> Result<Option<Vec<Option<Receipt>>>, QueueError>;
}

impl Tips {
    /// How a tip stands to what is recorded and to the moves that receipts tell of, the newest first.
    ///
    /// Receipts come late and out of order, so where a ref was last is told by the newest of those pushed since the
    /// tips were recorded that no other of them leads on from.
    #[must_use]
    pub fn standing(&self, ref_name: &RefName, tip: &CommitSha, moves: &[Move]) -> Standing {
        let recorded = self.refs.get(ref_name);
        if recorded == Some(tip) || moves.iter().any(|step| step.head == *tip) {
            return Standing::Known;
        }
        let since: Vec<_> = moves.iter().filter(|step| step.at >= self.asked_at).collect();
        let is_left = |step: &Move| since.iter().any(|next| next.before.as_ref() == Some(&step.head));
        let last = since.iter().find(|step| !is_left(step)).or(since.first());
        Standing::Unknown(last.map(|step| &step.head).or(recorded).cloned())
    }
}

/// A look as a store takes it.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) repository: RepoName,
    pub(crate) known: Option<Tips>,
    pub(crate) tips: Tips,
    pub(crate) found: Vec<Submission>,
}

impl Look {
    pub(crate) fn new(compared: &Compared) -> Result<Self, IntakeError> {
        let found = compared.found.iter().map(|decided| Submission::new(decided, NOT_YET));
        Ok(Self {
            repository: compared.repository.clone(),
            known: compared.known.clone(),
            tips: compared.tips.clone(),
            found: found.collect::<Result<_, _>>()?,
        })
    }
}

pub(crate) fn place_of(delivery: &swifthook_core::Delivery) -> Place {
    (delivery.repository.clone(), delivery.ref_name.clone())
}

/// How tips are kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: u16,
    asked_at: Timestamp,
    refs: BTreeMap<String, CommitSha>,
}

pub(crate) fn encode(tips: &Tips) -> Vec<u8> {
    let refs = tips.refs.iter().map(|(name, tip)| (name.to_string(), tip.clone())).collect();
    codec::json(&Kept { version: VERSION, asked_at: tips.asked_at, refs })
}

pub(crate) fn decode(blob: &[u8]) -> Result<Tips, Corrupt> {
    let Kept { version, asked_at, refs } = codec::read("tips", blob)?;
    if version != VERSION {
        return Err(Corrupt::new("version of tips"));
    }
    let read = |(name, tip): (String, CommitSha)| Ok((RefName::parse(&name)?, tip));
    let refs = refs.into_iter().map(read).collect::<Result<_, swifthook_core::NotARef>>();
    Ok(Tips { asked_at, refs: refs.map_err(|_| Corrupt::new("ref of a tip"))? })
}

/// How many moves of a ref are looked at: as many as a chain is followed.
pub(crate) const MOVES: usize = 256;
const VERSION: u16 = 1;
/// The transaction gives it.
const NOT_YET: DeliveryId = DeliveryId([0; 16]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tip_is_known_by_the_record_or_by_any_receipt() {
        let tips = tips(Some(1));
        assert_eq!(tips.standing(&main(), &sha(1), &[]), Standing::Known);
        let delivered = [step(Some(1), 2, 200)];
        assert_eq!(tips.standing(&main(), &sha(2), &delivered), Standing::Known);
        let set_back = [step(Some(1), 2, 200), step(None, 7, 5)];
        assert_eq!(tips.standing(&main(), &sha(7), &set_back), Standing::Known);
    }

    #[test]
    fn what_nobody_told_of_comes_from_where_the_ref_was_known_last() {
        let unknown = |tips: &Tips, moves: &[Move]| match tips.standing(&main(), &sha(9), moves) {
            Standing::Unknown(before) => before,
            Standing::Known => panic!("nobody told of it"),
        };
        assert_eq!(unknown(&tips(Some(1)), &[]), Some(sha(1)));
        assert_eq!(unknown(&tips(None), &[]), None, "a new ref");
        assert_eq!(unknown(&tips(Some(1)), &[step(Some(1), 2, 200)]), Some(sha(2)));
        let out_of_order = [step(Some(1), 2, 200), step(Some(2), 3, 201)];
        assert_eq!(unknown(&tips(Some(1)), &out_of_order), Some(sha(3)), "the receipt of 2 came last");
        let late = [step(Some(0xa), 0xb, 50)];
        assert_eq!(unknown(&tips(Some(1)), &late), Some(sha(1)), "pushed before the tips were recorded");
        let round = [step(Some(3), 2, 201), step(Some(2), 3, 200)];
        assert_eq!(unknown(&tips(Some(1)), &round), Some(sha(2)), "a ref that was set back");
    }

    #[test]
    fn tips_are_kept_as_they_are_and_another_version_is_refused() {
        let tips = tips(Some(1));
        let blob = encode(&tips);
        assert_eq!(
            String::from_utf8(blob.clone()).unwrap(),
            format!(r#"{{"version":1,"asked_at":100,"refs":{{"refs/heads/main":"{}"}}}}"#, sha(1))
        );
        assert_eq!(decode(&blob).unwrap(), tips);
        let newer = String::from_utf8(blob).unwrap().replace("\"version\":1", "\"version\":2");
        assert!(decode(newer.as_bytes()).is_err());
    }

    fn tips(main_at: Option<u32>) -> Tips {
        let refs = main_at.map(|number| (main(), sha(number))).into_iter().collect();
        Tips { asked_at: Timestamp(100), refs }
    }

    fn step(before: Option<u32>, head: u32, at: i64) -> Move {
        Move { before: before.map(sha), head: sha(head), at: Timestamp(at) }
    }

    fn main() -> RefName {
        RefName::Branch("main".into())
    }

    fn sha(number: u32) -> CommitSha {
        CommitSha::parse(&format!("{number:08x}").repeat(5)).unwrap().unwrap()
    }
}
