//! What waits for what: messages of one ref are stored one after the other, in the order in which they came.

use std::collections::{HashMap, VecDeque};

use swifthook_core::{RefName, RepoName};

pub(super) type Place = (RepoName, RefName);

/// Messages by what moved. Of each place one is under way, which is not in here.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    waiting: HashMap<Place, VecDeque<T>>,
}

impl<T> Lanes<T> {
    pub(super) fn new() -> Self {
        Self { waiting: HashMap::new() }
    }

    /// Takes one in; gives it back if it can get under way at once.
    pub(super) fn enter(&mut self, place: &Place, item: T) -> Option<T> {
        if let Some(waiting) = self.waiting.get_mut(place) {
            waiting.push_back(item);
            return None;
        }
        self.waiting.insert(place.clone(), VecDeque::new());
        Some(item)
    }

    /// The one that was under way is done: gives the next of its place.
    pub(super) fn leave(&mut self, place: &Place) -> Option<T> {
        let next = self.waiting.get_mut(place)?.pop_front();
        if next.is_none() {
            self.waiting.remove(place);
        }
        next
    }

    /// The one that was under way did not get through: the next of its place may try, and it comes after it. Gives it
    /// back if there is none.
    pub(super) fn let_pass(&mut self, place: &Place, item: T) -> T {
        let waiting = self.waiting.entry(place.clone()).or_default();
        match waiting.pop_front() {
            Some(next) => {
                waiting.push_front(item);
                next
            }
            None => item,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_one_under_way_and_keeps_its_order() {
        let place = |name: &str| (RepoName::new("acme/models").unwrap(), RefName::Branch(name.into()));
        let (main, next) = (place("main"), place("next"));
        let mut lanes = Lanes::new();
        assert_eq!(lanes.enter(&main, 1), Some(1));
        assert_eq!(lanes.enter(&main, 2), None);
        assert_eq!(lanes.enter(&main, 3), None);
        assert_eq!(lanes.enter(&next, 4), Some(4));
        assert_eq!(lanes.let_pass(&main, 1), 2);
        assert_eq!(lanes.leave(&main), Some(1));
        assert_eq!(lanes.leave(&main), Some(3));
        assert_eq!(lanes.let_pass(&main, 3), 3);
        assert_eq!(lanes.leave(&main), None);
        assert_eq!(lanes.leave(&next), None);
        assert_eq!(lanes.enter(&main, 5), Some(5));
    }
}
