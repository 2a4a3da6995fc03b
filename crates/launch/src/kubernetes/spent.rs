//! Jobs that run nothing, and keep a name from being used.

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use serde_json::json;
use swifthook_core::RunKey;

use super::names::{INSTEAD_OF, SPENT, labels_of, name_of};

/// Why a name is taken by a Job that runs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spent {
    /// Nobody wants the run any more.
    Forbidden,
    /// The Job of the run was deleted by somebody else.
    Vanished,
}

impl Spent {
    /// Why the name of this Job is taken; `None` for the Job of a run.
    pub(super) fn of(job: &Job) -> Option<Self> {
        match job.labels().get(SPENT)?.as_str() {
            "forbidden" => Some(Self::Forbidden),
            // Also what a later version may write: it runs nothing.
            _ => Some(Self::Vanished),
        }
    }

    /// The Job that takes the name. `instead_of` is the identity of the one that was there.
    pub(super) fn job(self, key: &RunKey, owner: &str, instead_of: Option<&str>) -> Job {
        let mut labels = labels_of(key, owner);
        let why = match self {
            Self::Forbidden => "forbidden",
            Self::Vanished => "vanished",
        };
        labels.insert(SPENT.to_owned(), why.to_owned());
        let annotations = instead_of.map(|uid| json!({ INSTEAD_OF: uid }));
        let job = json!({
            "metadata": { "name": name_of(key), "labels": labels, "annotations": annotations },
            "spec": {
                // With neither pods to start nor leave to, whoever resumes it.
                "parallelism": 0,
                "suspend": true,
                "backoffLimit": 0,
                "template": { "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": false,
                    "containers": [{ "name": "none", "image": "none" }],
                } },
            },
        });
        serde_json::from_value(job).expect("it has the fields of a Job")
    }
}

/// The identity of the Job of the run, also where another keeps its name by now.
pub(super) fn identity(job: &Job) -> String {
    match Spent::of(job) {
        Some(_) => job.annotations().get(INSTEAD_OF).cloned().unwrap_or_default(),
        None => job.uid().unwrap_or_default(),
    }
}
