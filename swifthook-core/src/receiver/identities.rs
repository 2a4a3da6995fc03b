use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::id::RepoName;

/// A repository as a hook has told of it: its number at the server, which stays when it is renamed or transferred, and a
/// name that it had.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The hook's configured name: two servers may give one number to two repositories.
    pub hook: Arc<str>,
    /// `repository.id`.
    pub id: u64,
    /// The repository, by its configured name.
    pub name: RepoName,
}

/// The names under which repositories were pushed to, by hook and number. Shared with the receivers of later reloads.
#[derive(Clone, Default)]
pub(super) struct Identities(Arc<Mutex<Names>>);

type Names = HashMap<(Arc<str>, u64), Vec<RepoName>>;

impl Identities {
    pub(super) fn learn(&self, hook: &Arc<str>, id: u64, name: &RepoName) {
        let mut known = self.known();
        let names = known.entry((hook.clone(), id)).or_default();
        if !names.contains(name) && names.len() < MOST_NAMES {
            names.push(name.clone());
        }
    }

    /// The names that it had, the last first.
    pub(super) fn names(&self, hook: &Arc<str>, id: u64) -> Vec<RepoName> {
        let known = self.known();
        known.get(&(hook.clone(), id)).map_or_else(Vec::new, |names| names.iter().rev().cloned().collect())
    }

    fn known(&self) -> MutexGuard<'_, Names> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

/// A repository has one name, and a few if it was renamed. All of them were in the configuration.
const MOST_NAMES: usize = 64;
