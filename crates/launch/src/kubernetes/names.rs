//! How the objects of runs are called and marked.

use std::collections::BTreeMap;

use swifthook_core::RunKey;

/// The name of the Job and the Secret of a run. It has at most 57 characters, so that those of pods can be longer.
pub(super) fn name_of(key: &RunKey) -> String {
    format!("swifthook-{key}")
}

/// The labels of every object of a run.
pub(super) fn labels_of(key: &RunKey, owner: &str) -> BTreeMap<String, String> {
    [
        (MANAGED_BY.to_owned(), "swifthook".to_owned()),
        (OWNER.to_owned(), owner.to_owned()),
        (RUN.to_owned(), key.to_string()),
        (JOB.to_owned(), key.job.to_string()),
    ]
    .into()
}

/// The key of a run by the labels of one of its objects.
pub(super) fn key_in(labels: Option<&BTreeMap<String, String>>) -> Option<RunKey> {
    let labels = labels?;
    let job = labels.get(JOB)?;
    let attempt = labels.get(RUN)?.strip_prefix(job.as_str())?.strip_prefix('-')?.parse().ok()?;
    Some(RunKey { job: job.parse().ok()?, attempt })
}

/// What chooses the objects of all runs of an owner.
pub(super) fn all_of(owner: &str) -> String {
    format!("{OWNER}={owner}")
}

/// What chooses the objects of one run.
pub(super) fn one_of(key: &RunKey, owner: &str) -> String {
    format!("{OWNER}={owner},{RUN}={key}")
}

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const OWNER: &str = "swifthook/owner";
const RUN: &str = "swifthook/run";
const JOB: &str = "swifthook/job";
/// On a Job that keeps a name taken, with why.
pub(super) const SPENT: &str = "swifthook/spent";
/// On such a Job, the identity of the Job that was there before it.
pub(super) const INSTEAD_OF: &str = "swifthook/instead-of";
/// <https://kueue.sigs.k8s.io/docs/tasks/run/jobs/>
pub(super) const QUEUE: &str = "kueue.x-k8s.io/queue-name";
/// Annotation for the size that the copy of the log of a run may have, in bytes.
pub(super) const MAX_LOG: &str = "swifthook/max-log";
/// The container of a pod that is the run.
pub(super) const TRAIN: &str = "train";
/// The container of a pod that checks the commit of its run out.
pub(super) const CHECKOUT: &str = "checkout";
/// How launchers of this kind are called in handles, unless they have another name.
pub(super) const KIND: &str = "kubernetes";

#[cfg(test)]
mod tests {
    use swifthook_core::JobId;

    use super::*;

    #[test]
    fn a_key_is_read_back_from_the_labels_of_its_objects() {
        for attempt in [1, 12, u32::MAX] {
            let key = RunKey { job: JobId([7; 16]), attempt };
            let labels = labels_of(&key, "one");
            assert_eq!(key_in(Some(&labels)), Some(key));
            assert!(name_of(&key).len() <= 57 && labels.values().all(|value| value.len() <= 63));
        }
        assert_eq!(key_in(None), None);
        assert_eq!(key_in(Some(&BTreeMap::new())), None);
    }
}
