use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes of bodies that are in memory, of every request of a receiver.
#[derive(Clone, Debug, Default)]
pub(super) struct Budget(Arc<AtomicUsize>);

/// What one request has taken; given back when it is dropped.
pub(super) struct Share {
    budget: Budget,
    taken: usize,
}

impl Budget {
    pub(super) fn share(&self) -> Share {
        Share { budget: self.clone(), taken: 0 }
    }
}

impl Share {
    /// Takes `more` bytes if all shares together then stay within `ceiling`.
    pub(super) fn take(&mut self, more: usize, ceiling: usize) -> bool {
        let fits = |used: usize| used.checked_add(more).filter(|sum| *sum <= ceiling);
        let is_taken = self.budget.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        if is_taken {
            self.taken += more;
        }
        is_taken
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back_on_drop() {
        let budget = Budget::default();
        let (mut one, mut two) = (budget.share(), budget.share());
        assert!(one.take(60, 100) && !two.take(41, 100) && two.take(40, 100) && !one.take(1, 100));
        drop(one);
        assert!(two.take(60, 100) && !two.take(usize::MAX, usize::MAX));
        drop(two);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }
}
