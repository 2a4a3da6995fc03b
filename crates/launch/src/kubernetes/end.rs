//! How a run ended, by what is left of its pod.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use swifthook_core::{Exit, StopKind, Timestamp};

use super::names::{CHECKOUT, TRAIN};
use crate::local::{Ended, VERSION};
use crate::supervisor::{FAILED, REFUSED};

/// The end of a pod of which nothing runs any more.
pub(super) fn of_pod(pod: &Pod) -> Exit {
    let train = container(pod, TRAIN).and_then(terminated);
    let exit = match train {
        Some(end) => of_container(end),
        None => unprepared(pod),
    };
    of_cluster(pod, exit)
}

/// The container of a pod that has begun, running or not.
pub(super) fn container<'p>(pod: &'p Pod, name: &str) -> Option<&'p ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.iter().find(|status| status.name == name)
}

/// A container of a pod that comes before the run.
pub(super) fn before<'p>(pod: &'p Pod, name: &str) -> Option<&'p ContainerStatus> {
    let statuses = pod.status.as_ref()?.init_container_statuses.as_ref()?;
    statuses.iter().find(|status| status.name == name)
}

pub(super) fn terminated(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    status.state.as_ref()?.terminated.as_ref()
}

/// As its keeper told it; else as the container runtime has it.
fn of_container(end: &ContainerStateTerminated) -> Exit {
    let told = end.message.as_deref().unwrap_or_default();
    let is_out_of_memory = end.reason.as_deref() == Some("OOMKilled");
    let mut exit = match serde_json::from_str::<Ended>(told).ok().filter(|ended| ended.version == VERSION) {
        Some(ended) => Exit::from(ended),
        // The keeper was killed before it could tell. It never exits with these by itself without telling.
        None if end.exit_code == 137 || is_out_of_memory => Exit { signal: Some(9), ..Exit::default() },
        None => Exit { code: Some(end.exit_code), message: Some(unexplained(end).into()), ..Exit::default() },
    };
    exit.at = exit.at.or_else(|| end.finished_at.as_ref().map(time));
    if is_out_of_memory {
        exit.message =
            Some("it used more memory than its container may have, and was killed (OOMKilled)".into());
    }
    exit
}

/// What the cluster did to the pod explains more than how its process took it.
fn of_cluster(pod: &Pod, exit: Exit) -> Exit {
    let Some(status) = &pod.status else { return exit };
    let detail = status.message.as_deref().unwrap_or_default();
    let conditions = status.conditions.iter().flatten();
    let disruption = conditions
        .clone()
        .find(|condition| condition.type_ == "DisruptionTarget" && condition.status == "True");
    let message = match status.reason.as_deref() {
        // Not before the keeper's own timeout, unless it hangs.
        Some("DeadlineExceeded") => {
            let stopped = exit.stopped.or(Some(StopKind::Timeout));
            return Exit { stopped, message: Some("its time was up".into()), ..exit };
        }
        Some("Evicted") => format!("its node had too little left and evicted it: {detail}"),
        Some("Preempting" | "Preempted") => format!("it made way for a pod of higher priority: {detail}"),
        Some("NodeLost") => "its node was lost".to_owned(),
        Some("Terminated" | "Shutdown" | "NodeShutdown") => format!("its node was shut down: {detail}"),
        Some("NodeAffinity" | "OutOfcpu" | "OutOfmemory" | "UnexpectedAdmissionError") => {
            format!("its node did not take it: {detail}")
        }
        Some(other) if disruption.is_none() => format!("{other}: {detail}"),
        _ => match disruption {
            Some(condition) => {
                let why = condition.reason.as_deref().unwrap_or_default();
                format!("{}: {}", disrupted(why), condition.message.as_deref().unwrap_or_default())
            }
            None => return exit,
        },
    };
    let message = message.trim_end_matches([' ', ':']).to_owned();
    Exit { message: Some(message.into()), ..exit }
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions>
fn disrupted(reason: &str) -> String {
    match reason {
        "PreemptionByScheduler" => "it made way for a pod of higher priority".to_owned(),
        "DeletionByTaintManager" => "its node got a taint that it does not tolerate".to_owned(),
        "EvictionByEvictionAPI" => "it was evicted, as when a node is drained".to_owned(),
        "DeletionByPodGC" => "its node is gone".to_owned(),
        "TerminationByKubelet" => "its node ended it".to_owned(),
        other => format!("the cluster ended it ({other})"),
    }
}

/// Why the run itself never began. The machine is to blame, unless its commit cannot be had.
fn unprepared(pod: &Pod) -> Exit {
    let statuses = pod.status.iter().flat_map(|status| status.init_container_statuses.iter().flatten());
    let mut ended = statuses.filter_map(|status| Some((&status.name, terminated(status)?)));
    let Some((name, end)) = ended.find(|(_, end)| end.exit_code != 0) else { return Exit::default() };
    let at = end.finished_at.as_ref().map(time);
    // One that was killed may have said something else before.
    let has_told = name == CHECKOUT && matches!(end.exit_code, REFUSED | FAILED);
    let message = match words(end).filter(|_| has_told) {
        Some(words) => format!("it never began: {words}"),
        None => format!("it never began: its container `{name}` {}", unexplained(end)),
    };
    let refused = name == CHECKOUT && end.exit_code == REFUSED;
    Exit { message: Some(message.into()), refused, at, ..Exit::default() }
}

fn unexplained(end: &ContainerStateTerminated) -> String {
    let reason = end.reason.as_deref().unwrap_or("no reason given");
    match words(end) {
        Some(words) => format!("ended with code {} ({reason}): {words}", end.exit_code),
        None => format!("ended with code {} ({reason})", end.exit_code),
    }
}

fn words(end: &ContainerStateTerminated) -> Option<&str> {
    end.message.as_deref().map(str::trim).filter(|message| !message.is_empty())
}

pub(super) fn time(time: &Time) -> Timestamp {
    Timestamp(time.0.as_millisecond())
}
