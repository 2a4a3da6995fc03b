use super::{Condition, Rule, Truth};
use crate::git::RefName;
use crate::policy::Reason;
use crate::push::Push;

/// Holds where the push is not one of a merge queue, which pushes `gh-readonly-queue/<base>/pr-N-<sha>`.
///
/// A [`Recipe`](crate::Recipe) passes over a merge queue by itself, unless it is told not to; this is for policies
/// that combine it with something else.
pub fn merge_queue() -> Rule {
    Rule::new(MergeQueue)
}

struct MergeQueue;

impl Condition for MergeQueue {
    fn holds(&self, push: &Push) -> Truth {
        match is_merge_queue(push) {
            true => Truth::False(queued(push)),
            false => Truth::True,
        }
    }

    fn why(&self, push: &Push) -> Reason {
        Reason::new("merge_queue", format!("`{}` is no merge queue's", push.ref_name.name()))
    }
}

pub(crate) fn is_merge_queue(push: &Push) -> bool {
    matches!(&push.ref_name, RefName::Branch(name) if name.starts_with(QUEUE_PREFIX))
}

/// The reason of a push that a merge queue made.
pub(crate) fn queued(push: &Push) -> Reason {
    Reason::new("merge_queue", format!("`{}` is a merge queue's", push.ref_name.name()))
}

const QUEUE_PREFIX: &str = "gh-readonly-queue/";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::push;

    #[test]
    fn only_branches_below_the_queues_prefix_are_a_merge_queues() {
        for (full_ref, holds) in [
            ("refs/heads/gh-readonly-queue/main/pr-7-ffff", false),
            ("refs/heads/gh-readonly-queue", true),
            ("refs/heads/x/gh-readonly-queue/main", true),
            ("refs/tags/gh-readonly-queue/main/pr-7-ffff", true),
        ] {
            assert_eq!(merge_queue().holds(&push(full_ref, &[])) == Truth::True, holds, "{full_ref}");
        }
    }
}
