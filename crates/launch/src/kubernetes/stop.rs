//! How a run is asked to end: by annotations, one for each way of asking, so that none undoes another.

use std::collections::BTreeMap;

use serde_json::json;
use swifthook_core::{Stop, StopKind};

use crate::local::{StopRequest, VERSION};

/// The annotation by which a run is asked so, and what it says.
pub(super) fn annotation(how: Stop) -> (&'static str, String) {
    let request = StopRequest { version: VERSION, how };
    (name(how), serde_json::to_string(&request).expect("a request is always JSON"))
}

/// What the annotations of an object ask for, as the end of a run is told: a cancel replaces a yield.
pub(super) fn asked(annotations: &BTreeMap<String, String>) -> Option<StopKind> {
    let has = |name: &str| annotations.contains_key(name);
    if has(GRACE) || has(KILL) {
        return Some(StopKind::Cancel);
    }
    has(YIELD).then_some(StopKind::Yield)
}

/// The change of a Job that asks its run to end. One without a process gets none.
pub(super) fn of_job(how: Stop, has_process: bool) -> serde_json::Value {
    let mut change = of_pod(how);
    if !has_process {
        change["spec"] = json!({ "parallelism": 0 });
    }
    change
}

/// The same of a pod, from where its keeper has it.
pub(super) fn of_pod(how: Stop) -> serde_json::Value {
    let (name, text) = annotation(how);
    json!({ "metadata": { "annotations": { name: text } } })
}

fn name(how: Stop) -> &'static str {
    match how {
        Stop::Yield => YIELD,
        Stop::Grace(_) => GRACE,
        Stop::Kill => KILL,
    }
}

/// Each, and the file in which the keeper finds it.
pub(super) const FILES: [(&str, &str); 3] = [(YIELD, "yield"), (GRACE, "grace"), (KILL, "kill")];
const YIELD: &str = "swifthook/stop-yield";
const GRACE: &str = "swifthook/stop-grace";
const KILL: &str = "swifthook/stop-kill";
