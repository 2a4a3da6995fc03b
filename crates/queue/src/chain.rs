use std::collections::{HashMap, HashSet, VecDeque};

use swifthook_core::{CommitSha, RefName, RepoName};

/// How refs moved, as far as receipts tell: which commit followed which.
///
/// Holds the last [`MOVES_KEPT`] moves of all refs together; a change whose predecessors are older than that is
/// compared by its time alone.
#[derive(Debug, Default)]
pub(crate) struct Chains {
    places: HashMap<Place, Chain>,
    moves: VecDeque<(Place, Option<Mark>, Mark)>,
}

/// A ref of a repository.
pub(crate) type Place = (RepoName, RefName);

/// The first 128 bits of a commit's hash.
type Mark = u128;

/// Both ways from each commit, the oldest move first: that is the one which is forgotten first.
#[derive(Debug, Default)]
struct Chain {
    after: Edges,
    before: Edges,
}

type Edges = HashMap<Mark, VecDeque<Mark>>;

/// What the chain says of a change: which commits its ref was at before it, and which after.
#[derive(Debug, Default)]
pub(crate) struct Kin {
    older: HashSet<Mark>,
    newer: HashSet<Mark>,
}

impl Chains {
    /// Records that a ref moved.
    pub(crate) fn record(&mut self, place: &Place, before: Option<&CommitSha>, head: &CommitSha) {
        let (before, head) = (before.map(mark), mark(head));
        if self.places.entry(place.clone()).or_default().record(before, head) {
            self.moves.push_back((place.clone(), before, head));
        }
        if self.moves.len() > MOVES_KEPT {
            self.forget_oldest();
        }
    }

    /// What is known of a change that moves `place` from `before` to `head`.
    pub(crate) fn kin(&self, place: &Place, before: Option<&CommitSha>, head: &CommitSha) -> Kin {
        let Some(chain) = self.places.get(place) else { return Kin::default() };
        let newer = reachable(&chain.after, mark(head));
        let older = match before.map(mark).filter(|before| chain.before.contains_key(before)) {
            Some(before) => {
                let mut older = reachable(&chain.before, before);
                older.insert(before);
                older
            }
            None => HashSet::new(),
        };
        // A ref that was set back passes the same commit twice: the chain contradicts itself there.
        let both: Vec<_> = older.intersection(&newer).copied().collect();
        let without = |set: HashSet<Mark>| set.into_iter().filter(|mark| !both.contains(mark)).collect();
        Kin { older: without(older), newer: without(newer) }
    }

    fn forget_oldest(&mut self) {
        let Some((place, before, head)) = self.moves.pop_front() else { return };
        let Some(chain) = self.places.get_mut(&place) else { return };
        if let Some(before) = before {
            forget(&mut chain.after, before, head);
            forget(&mut chain.before, head, before);
        } else if chain.before.get(&head).is_some_and(VecDeque::is_empty) {
            chain.before.remove(&head);
        }
        if chain.before.is_empty() {
            self.places.remove(&place);
        }
    }
}

impl Chain {
    /// Whether the move was not known yet.
    fn record(&mut self, before: Option<Mark>, head: Mark) -> bool {
        let is_new_head = !self.before.contains_key(&head);
        let known = self.before.entry(head).or_default();
        let Some(before) = before else { return is_new_head };
        let is_new = !known.contains(&before);
        if is_new {
            known.push_back(before);
            self.after.entry(before).or_default().push_back(head);
        }
        is_new
    }
}

impl Kin {
    /// Whether the chain knows any other commit of the same ref.
    pub(crate) fn is_known(&self) -> bool {
        !self.older.is_empty() || !self.newer.is_empty()
    }

    pub(crate) fn is_older(&self, head: &CommitSha) -> bool {
        self.older.contains(&mark(head))
    }

    pub(crate) fn is_newer(&self, head: &CommitSha) -> bool {
        self.newer.contains(&mark(head))
    }
}

fn reachable(edges: &Edges, from: Mark) -> HashSet<Mark> {
    let mut found = HashSet::new();
    let mut ahead = VecDeque::from([from]);
    while let Some(mark) = ahead.pop_front()
        && found.len() < STEPS
    {
        let next = edges.get(&mark).into_iter().flatten();
        ahead.extend(next.filter(|mark| **mark != from && found.insert(**mark)));
    }
    found
}

fn forget(edges: &mut Edges, from: Mark, to: Mark) {
    if let Some(marks) = edges.get_mut(&from) {
        if let Some(place) = marks.iter().position(|mark| *mark == to) {
            marks.remove(place);
        }
        if marks.is_empty() {
            edges.remove(&from);
        }
    }
}

fn mark(commit: &CommitSha) -> Mark {
    u128::from_str_radix(&commit.as_str()[..32], 16).expect("a commit hash is at least 40 hexadecimal digits")
}

/// How many moves are remembered, of all refs together: a few MiB.
pub(crate) const MOVES_KEPT: usize = 16_384;
/// How far a chain is followed.
const STEPS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_tells_older_from_newer_through_changes_that_made_no_job() {
        let chains = chains(&[(None, 1), (Some(1), 2), (Some(2), 3)]);
        let kin = chains.kin(&place(), Some(&sha(3)), &sha(4));
        assert!(kin.is_older(&sha(1)) && kin.is_older(&sha(3)) && !kin.is_newer(&sha(1)));
        let late = chains.kin(&place(), None, &sha(1));
        assert!(late.is_newer(&sha(3)) && !late.is_older(&sha(3)));
    }

    #[test]
    fn a_change_from_a_commit_that_nobody_saw_is_not_known() {
        let chains = chains(&[(Some(1), 2)]);
        assert!(!chains.kin(&place(), Some(&sha(8)), &sha(9)).is_known());
        let elsewhere = (place().0, RefName::Tag("main".into()));
        assert!(!chains.kin(&elsewhere, Some(&sha(2)), &sha(3)).is_known());
    }

    #[test]
    fn a_ref_that_was_set_back_contradicts_itself_and_says_nothing() {
        let chains = chains(&[(None, 1), (Some(1), 2), (Some(2), 1)]);
        let kin = chains.kin(&place(), Some(&sha(1)), &sha(2));
        assert!(!kin.is_older(&sha(1)) && !kin.is_newer(&sha(1)));
    }

    #[test]
    fn the_oldest_moves_are_forgotten_without_a_trace() {
        let mut chains = Chains::default();
        let count = u32::try_from(MOVES_KEPT).unwrap();
        for i in 1..=count + 10 {
            let other = (RepoName::new(&format!("acme/{}", i % 7)).unwrap(), RefName::Branch("main".into()));
            chains.record(&other, Some(&sha(i)), &sha(i + 1));
        }
        assert_eq!(chains.moves.len(), MOVES_KEPT);
        let kept: usize = chains.places.values().map(|chain| chain.after.len()).sum();
        assert_eq!(kept, MOVES_KEPT);
    }

    fn chains(moves: &[(Option<u32>, u32)]) -> Chains {
        let mut chains = Chains::default();
        for (before, head) in moves {
            chains.record(&place(), before.map(sha).as_ref(), &sha(*head));
        }
        chains
    }

    fn place() -> Place {
        (RepoName::new("acme/models").unwrap(), RefName::Branch("main".into()))
    }

    fn sha(number: u32) -> CommitSha {
        CommitSha::parse(&format!("{number:08x}").repeat(5)).unwrap().unwrap()
    }
}
