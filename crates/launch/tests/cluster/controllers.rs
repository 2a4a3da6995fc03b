//! What the controller manager does about Jobs and their pods, and about what belongs to something that is gone.

use std::sync::Weak;

use serde_json::{Value, json};

use super::Inner;
use super::now;
use super::store::{FOREGROUND, Kind, Store, push_finalizer};

/// Goes on for as long as the cluster is there.
pub(super) async fn run(cluster: Weak<Inner>) {
    let Some(mut changed) = cluster.upgrade().map(|cluster| cluster.changed.subscribe()) else { return };
    while changed.changed().await.is_ok() {
        let Some(cluster) = cluster.upgrade() else { return };
        cluster.change(step);
    }
}

/// One round over all objects.
pub(super) fn step(store: &mut Store) {
    for job in copied(store, Kind::Job) {
        of_job(store, &job);
    }
    collect(store);
}

fn of_job(store: &mut Store, job: &Value) {
    let name = name_of(job).to_owned();
    let pods: Vec<Value> = copied(store, Kind::Pod)
        .into_iter()
        .filter(|pod| owner_of(pod) == job["metadata"]["uid"].as_str())
        .collect();
    for pod in pods.iter().filter(|pod| is_unscheduled_and_deleted(pod)) {
        // As the collector of pods does.
        let _ = store.merge(Kind::Pod, name_of(pod), &json!({ "status": { "phase": "Failed" } }));
    }
    let mut changed = job.clone();
    for pod in pods.iter().filter(|pod| is_over(pod) && is_tracked(pod)) {
        let count = if pod["status"]["phase"] == "Succeeded" { "succeeded" } else { "failed" };
        changed["status"][count] = json!(changed["status"][count].as_u64().unwrap_or(0) + 1);
        let _ = store.merge(Kind::Pod, name_of(pod), &json!({ "metadata": { "finalizers": null } }));
    }
    if store.is_forgetful {
        // It counts what is there.
        for (count, phase) in [("succeeded", "Succeeded"), ("failed", "Failed")] {
            changed["status"][count] =
                json!(pods.iter().filter(|pod| pod["status"]["phase"] == phase).count());
        }
    }
    let goes = |pod: &Value| !pod["metadata"]["deletionTimestamp"].is_null();
    let counts = |pod: &&Value| !store.is_forgetful || !goes(pod);
    let active: Vec<&Value> = pods.iter().filter(|pod| !is_over(pod)).filter(counts).collect();
    changed["status"]["active"] = json!(active.len());
    let count = |count: &str| changed["status"][count].as_u64().unwrap_or(0);
    let wants_none = job["spec"]["suspend"] == true || job["spec"]["parallelism"] == 0;
    if !is_finished(job) && job["metadata"]["deletionTimestamp"].is_null() {
        if count("failed") > job["spec"]["backoffLimit"].as_u64().unwrap_or(6) {
            finish(&mut changed, "Failed", "BackoffLimitExceeded");
        } else if count("succeeded") >= job["spec"]["completions"].as_u64().unwrap_or(1) {
            changed["status"]["completionTime"] = json!(now());
            finish(&mut changed, "Complete", "CompletionsReached");
        } else if wants_none {
            for pod in active.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()) {
                let _ = store.delete(Kind::Pod, name_of(pod), &json!({}));
            }
        } else if active.is_empty() && pods.iter().all(|pod| !is_tracked(pod)) {
            let mut pod = pod_of(job, store.version());
            if store.is_forgetful {
                pod["metadata"]["finalizers"] = Value::Null;
            }
            let _ = store.create(Kind::Pod, pod);
        }
    }
    if changed["status"] != job["status"] {
        let _ = store.merge(Kind::Job, &name, &json!({ "status": changed["status"] }));
    }
}

fn pod_of(job: &Value, suffix: u64) -> Value {
    let mut pod = job["spec"]["template"].clone();
    pod["metadata"]["name"] = json!(format!("{}-{suffix:x}", name_of(job)));
    pod["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "batch/v1", "kind": "Job", "name": name_of(job), "uid": job["metadata"]["uid"], "controller": true,
    }]);
    pod["status"] = json!({ "phase": "Pending" });
    push_finalizer(&mut pod, TRACKED);
    pod
}

/// Removes what belongs to something that is gone, or is to go first.
fn collect(store: &mut Store) {
    let jobs = copied(store, Kind::Job);
    for kind in [Kind::Pod, Kind::Secret] {
        for object in copied(store, kind) {
            let Some(owner) = owner_of(&object) else { continue };
            let owner = jobs.iter().find(|job| job["metadata"]["uid"] == owner);
            if owner.is_none() && kind == Kind::Pod && is_tracked(&object) {
                // Its Job's controller does so for pods whose Job is gone.
                let _ = store.merge(kind, name_of(&object), &json!({ "metadata": { "finalizers": null } }));
            }
            let is_to_go = owner.is_none_or(goes_last);
            if is_to_go && object["metadata"]["deletionTimestamp"].is_null() {
                let _ = store.delete(kind, name_of(&object), &json!({}));
            }
        }
    }
    for job in jobs.iter().filter(|job| goes_last(job)) {
        let uid = job["metadata"]["uid"].as_str();
        let has_dependents = [Kind::Pod, Kind::Secret]
            .into_iter()
            .any(|kind| store.all(kind).any(|object| owner_of(object) == uid));
        if !has_dependents {
            let _ = store.merge(Kind::Job, name_of(job), &json!({ "metadata": { "finalizers": null } }));
        }
    }
}

fn finish(job: &mut Value, kind: &str, reason: &str) {
    job["status"]["conditions"] =
        json!([{ "type": kind, "status": "True", "reason": reason, "lastTransitionTime": now() }]);
}

fn is_finished(job: &Value) -> bool {
    let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == "Failed" || condition["type"] == "Complete")
}

fn is_over(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

fn is_unscheduled_and_deleted(pod: &Value) -> bool {
    !is_over(pod) && pod["spec"]["nodeName"].is_null() && !pod["metadata"]["deletionTimestamp"].is_null()
}

fn is_tracked(pod: &Value) -> bool {
    pod["metadata"]["finalizers"].as_array().is_some_and(|all| all.iter().any(|one| one == TRACKED))
}

fn goes_last(job: &Value) -> bool {
    !job["metadata"]["deletionTimestamp"].is_null()
        && job["metadata"]["finalizers"].as_array().is_some_and(|all| all.iter().any(|one| one == FOREGROUND))
}

fn owner_of(object: &Value) -> Option<&str> {
    object["metadata"]["ownerReferences"][0]["uid"].as_str()
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn copied(store: &Store, kind: Kind) -> Vec<Value> {
    store.all(kind).cloned().collect()
}

const TRACKED: &str = "batch.kubernetes.io/job-tracking";
