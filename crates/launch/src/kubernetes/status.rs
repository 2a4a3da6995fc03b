//! How a run is, by its Job and its pods.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStateWaiting, Pod};
use kube::ResourceExt;
use swifthook_core::{Exit, Reason, StopKind};

use super::end;
use super::names::{CHECKOUT, TRAIN};
use super::stop;

/// What can be seen of a run.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Seen {
    Pending(Reason),
    Running,
    Ended(Exit),
    /// There is no pod. What that means is asked of the server.
    NoPod,
}

/// How a run is. `pods` are all that its Job has.
pub(super) fn look(job: &Job, pods: &[Pod]) -> Seen {
    let Some(pod) = pods.iter().max_by_key(|pod| (is_over(pod), pod.creation_timestamp().map(|time| time.0)))
    else {
        return Seen::NoPod;
    };
    if let Some(alive) = pods.iter().find(|pod| !is_over(pod)) {
        return of_alive(alive);
    }
    // A pod that is over and a Job that could start another one are no end yet.
    if !is_settled(job) {
        return Seen::Running;
    }
    Seen::Ended(with_who_asked(job, end::of_pod(pod)))
}

/// How a run is that has no pod, which was asked of the server; `None` if nobody can tell how it ended.
pub(super) fn without_pod(job: &Job) -> Option<Seen> {
    let status = job.status.as_ref();
    let stopped = stop::asked(job.annotations());
    if condition(job, "Complete") {
        // The pod was removed before anybody saw how it ended; of a success the Job tells enough.
        let at = status.and_then(|status| status.completion_time.as_ref()).map(end::time);
        return Some(Seen::Ended(Exit { code: Some(0), stopped, at, ..Exit::default() }));
    }
    let will_have_none = job.spec.as_ref().and_then(|spec| spec.parallelism) == Some(0);
    if let Some(stopped) = stopped.filter(|_| will_have_none) {
        let has_failed = status.and_then(|status| status.failed).unwrap_or(0) > 0;
        let message = match has_failed {
            true => "it was stopped while it began, and its pod was removed before its end was seen",
            false => "it was stopped before it began",
        };
        let message = Some(message.into());
        return Some(Seen::Ended(Exit { stopped: Some(stopped), message, ..Exit::default() }));
    }
    if condition(job, "Failed") {
        return None;
    }
    if job.metadata.deletion_timestamp.is_some() {
        return Some(Seen::Running);
    }
    let is_suspended = job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true);
    let reason = if is_suspended {
        Reason::new("queued", "the cluster's queue has not admitted it yet")
    } else {
        Reason::new("starting", "its pod is being made")
    };
    Some(Seen::Pending(reason))
}

/// Whether the run has a process, or had one.
pub(super) fn has_begun(pod: &Pod) -> bool {
    let state = end::container(pod, TRAIN).and_then(|status| status.state.as_ref());
    state.is_some_and(|state| state.running.is_some() || state.terminated.is_some())
}

/// Whether nothing of a pod runs, and nothing will.
pub(super) fn is_over(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether a Job will start no other pod.
pub(super) fn is_settled(job: &Job) -> bool {
    let decided = ["Complete", "Failed", "FailureTarget", "SuccessCriteriaMet"];
    let has_none_to_start = job.spec.as_ref().and_then(|spec| spec.parallelism) == Some(0);
    has_none_to_start || decided.iter().any(|kind| condition(job, kind))
}

/// A keeper that was ended together with its pod takes it for a request to save; who asked for more is known here.
fn with_who_asked(job: &Job, exit: Exit) -> Exit {
    let asked = stop::asked(job.annotations());
    let stopped = match (exit.stopped, asked) {
        (Some(StopKind::Yield), Some(asked)) => Some(asked),
        (None, Some(asked)) if exit.code.is_none() => Some(asked),
        (told, _) => told,
    };
    Exit { stopped, ..exit }
}

fn of_alive(pod: &Pod) -> Seen {
    if has_begun(pod) {
        return Seen::Running;
    }
    let status = pod.status.as_ref();
    let waiting = status.into_iter().flat_map(|status| {
        let all = [&status.init_container_statuses, &status.container_statuses];
        all.into_iter().flatten().flatten().filter_map(|status| status.state.as_ref()?.waiting.as_ref())
    });
    if let Some(reason) = waiting.filter_map(hindrance).next() {
        return Seen::Pending(reason);
    }
    let fetches = end::before(pod, CHECKOUT).and_then(|status| status.state.as_ref()?.running.as_ref());
    if fetches.is_some() {
        return Seen::Pending(Reason::new("checkout", "its commit is being fetched"));
    }
    let conditions = status.into_iter().flat_map(|status| status.conditions.iter().flatten());
    let unscheduled = conditions
        .filter(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
        .find(|condition| condition.reason.as_deref() == Some("Unschedulable"));
    if let Some(condition) = unscheduled {
        let why = condition.message.as_deref().unwrap_or("the cluster does not say why");
        return Seen::Pending(Reason::new("unschedulable", format!("no node can take it: {why}")));
    }
    let is_placed = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    Seen::Pending(match is_placed {
        true => Reason::new("preparing", "its node is getting it ready"),
        false => Reason::new("starting", "it waits for a node"),
    })
}

/// What keeps a container from starting; `None` where it is only on its way.
fn hindrance(waiting: &ContainerStateWaiting) -> Option<Reason> {
    let why = waiting.message.as_deref().unwrap_or_default();
    let (word, told) = match waiting.reason.as_deref()? {
        "ImagePullBackOff" | "ErrImagePull" | "ErrImageNeverPull" | "RegistryUnavailable" => {
            ("image", "its image cannot be had")
        }
        "InvalidImageName" | "ImageInspectError" => ("image", "its image has a wrong name"),
        "CreateContainerConfigError" => ("container", "its container cannot be made as it is described"),
        "CreateContainerError" | "RunContainerError" | "StartError" => {
            ("container", "its container does not start")
        }
        _ => return None,
    };
    Some(Reason::new(word, format!("{told}: {why}").trim_end_matches([' ', ':']).to_owned()))
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

fn condition(job: &Job, kind: &str) -> bool {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == kind && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn job(status: Value) -> Job {
        serde_json::from_value(json!({
            "metadata": { "name": "x" }, "spec": { "parallelism": 1, "template": {} }, "status": status,
        }))
        .unwrap()
    }

    fn failed() -> Job {
        job(json!({ "conditions": [{ "type": "Failed", "status": "True" }] }))
    }

    fn pod(status: Value) -> Pod {
        serde_json::from_value(
            json!({ "metadata": { "name": "x" }, "spec": { "containers": [] }, "status": status }),
        )
        .unwrap()
    }

    fn container(name: &str, state: Value) -> Value {
        json!([{
            "name": name, "state": state, "image": "x", "imageID": "", "ready": false, "restartCount": 0,
        }])
    }

    #[test]
    fn what_a_pod_waits_for_is_told_in_words() {
        let waiting = |reason: &str| json!({ "waiting": { "reason": reason, "message": "as told" } });
        let of_train =
            |reason| json!({ "phase": "Pending", "containerStatuses": container("train", waiting(reason)) });
        let unscheduled = json!({ "phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available",
        }] });
        for (status, word, told) in [
            (of_train("ImagePullBackOff"), "image", "its image cannot be had: as told"),
            (of_train("ErrImagePull"), "image", "its image cannot be had: as told"),
            (of_train("InvalidImageName"), "image", "its image has a wrong name: as told"),
            (of_train("CreateContainerConfigError"), "container", "its container cannot be made"),
            (of_train("RunContainerError"), "container", "its container does not start: as told"),
            (of_train("PodInitializing"), "starting", "it waits for a node"),
            (
                json!({ "phase": "Pending", "initContainerStatuses": container("prepare", waiting("ErrImagePull")) }),
                "image",
                "its image cannot be had",
            ),
            (unscheduled, "unschedulable", "no node can take it: 0/3 nodes are available"),
            (
                json!({ "phase": "Pending", "initContainerStatuses": container("checkout", json!({ "running": {} })) }),
                "checkout",
                "its commit is being fetched",
            ),
            (json!({ "phase": "Pending" }), "starting", "it waits for a node"),
        ] {
            match look(&job(json!({})), &[pod(status)]) {
                Seen::Pending(reason) => {
                    assert_eq!(reason.word, word);
                    assert!(reason.detail.starts_with(told), "{told} in {reason}");
                }
                other => panic!("{word}: {other:?}"),
            }
        }
    }

    #[test]
    fn every_way_to_end_is_told_in_words() {
        let ended = |code: i32, reason: &str, message: &str| {
            container(
                "train",
                json!({ "terminated": { "exitCode": code, "reason": reason, "message": message } }),
            )
        };
        let told = json!({
            "version": 1, "code": 3, "signal": null, "stopped": null, "message": null, "began_at": 1, "ended_at": 2,
        })
        .to_string();
        let of = |status: Value| match look(&failed(), &[pod(status)]) {
            Seen::Ended(exit) => {
                (exit.code, exit.signal, exit.stopped, exit.message.as_deref().map(str::to_owned))
            }
            other => panic!("{other:?}"),
        };
        let disrupted =
            |reason: &str| json!([{ "type": "DisruptionTarget", "status": "True", "reason": reason }]);
        let failed = |code, reason, message| json!({ "phase": "Failed", "containerStatuses": ended(code, reason, message) });
        assert_eq!(of(failed(3, "Error", &told)), (Some(3), None, None, None));
        let with = |pairs: Value| {
            let mut status = failed(137, "Error", "");
            pairs.as_object().unwrap().iter().for_each(|(key, value)| status[key] = value.clone());
            of(status)
        };
        for ((code, signal, stopped, message), expected) in [
            (of(failed(137, "OOMKilled", "")), "more memory than its container may have"),
            (of(failed(3, "OOMKilled", &told)), "more memory than its container may have"),
            (with(json!({ "reason": "Evicted", "message": "low on memory" })), "evicted it: low on memory"),
            (
                with(json!({ "conditions": disrupted("PreemptionByScheduler") })),
                "made way for a pod of higher",
            ),
            (with(json!({ "conditions": disrupted("EvictionByEvictionAPI") })), "a node is drained"),
            (with(json!({ "conditions": disrupted("DeletionByPodGC") })), "its node is gone"),
            (with(json!({ "conditions": disrupted("DeletionByTaintManager") })), "a taint"),
            (with(json!({ "reason": "NodeLost" })), "its node was lost"),
            (with(json!({ "reason": "Terminated", "message": "shutting down" })), "shut down: shutting down"),
        ] {
            assert!(code == Some(3) || (code, signal, stopped) == (None, Some(9), None), "{expected}");
            assert!(message.as_deref().unwrap_or_default().contains(expected), "{expected} in {message:?}");
        }
        let (_, _, stopped, message) = with(json!({ "reason": "DeadlineExceeded" }));
        assert_eq!((stopped, message.as_deref()), (Some(StopKind::Timeout), Some("its time was up")));
        let unprepared = container("prepare", json!({ "terminated": { "exitCode": 1, "reason": "Error" } }));
        let (code, signal, _, message) =
            of(json!({ "phase": "Failed", "initContainerStatuses": unprepared }));
        assert_eq!((code, signal), (None, None), "the machine's failure");
        assert!(message.unwrap().contains("never began: its container `prepare` ended with code 1"));
    }

    #[test]
    fn a_commit_that_cannot_be_had_is_the_machines_failure_or_refused() {
        let of = |name: &str, code: i32, reason: &str, message: &str| {
            let end = json!({ "terminated": { "exitCode": code, "reason": reason, "message": message } });
            let status = json!({ "phase": "Failed", "initContainerStatuses": container(name, end) });
            match look(&failed(), &[pod(status)]) {
                Seen::Ended(exit) => {
                    assert_eq!((exit.code, exit.signal), (None, None));
                    (exit.refused, exit.message.unwrap().to_string())
                }
                other => panic!("{other:?}"),
            }
        };
        let away = "cannot fetch: fatal: unable to access";
        assert_eq!(of("checkout", 1, "Error", away), (false, format!("it never began: {away}")));
        let gone = "commit a1 is gone";
        assert_eq!(of("checkout", 78, "Error", gone), (true, format!("it never began: {gone}")));
        let (refused, told) = of("checkout", 137, "OOMKilled", "x");
        assert!(
            !refused && told.contains("its container `checkout` ended with code 137 (OOMKilled)"),
            "{told}"
        );
        // No other container says by its code what this one says.
        assert!(!of("prepare", 78, "Error", "x").0);
    }

    #[test]
    fn a_pod_that_is_over_is_no_end_while_its_job_could_start_another() {
        let over = pod(json!({ "phase": "Failed" }));
        assert_eq!(look(&job(json!({})), std::slice::from_ref(&over)), Seen::Running);
        assert!(matches!(look(&failed(), &[over]), Seen::Ended(_)));
        assert_eq!(look(&failed(), &[]), Seen::NoPod);
    }

    #[test]
    fn a_job_without_a_pod_has_ended_only_where_that_is_known() {
        let waits = |job: &Job| matches!(without_pod(job), Some(Seen::Pending(_)));
        assert!(waits(&job(json!({}))));
        assert_eq!(without_pod(&failed()), None, "nobody knows how");
        let complete = job(json!({ "conditions": [{ "type": "Complete", "status": "True" }] }));
        assert!(matches!(without_pod(&complete), Some(Seen::Ended(exit)) if exit.is_success()));
        let mut stopped = job(json!({}));
        let (name, text) = stop::annotation(swifthook_core::Stop::Kill);
        stopped.annotations_mut().insert(name.to_owned(), text);
        assert!(waits(&stopped), "it may still begin");
        stopped.spec.as_mut().unwrap().parallelism = Some(0);
        let end = without_pod(&stopped);
        assert!(matches!(&end, Some(Seen::Ended(exit)) if exit.stopped == Some(StopKind::Cancel)), "{end:?}");
    }
}
