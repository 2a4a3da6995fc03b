//! Pods and Jobs that somebody deletes while their run saves, and programs that do not start, on a cluster that is
//! *simulated*: as it is now, and as a real one of 1.20 was seen to be.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

#[expect(dead_code, reason = "other tests need the rest of it")]
mod cluster;
mod support;

use std::fs;

use cluster::{Age, Cluster, Kind};
use serde_json::json;
use swifthook_core::{JobId, RunKey, RunStatus, StopKind, TrainingLauncher};
use swifthook_launch::{KubernetesLauncher, KubernetesSettings, Tools};

fn settings(program: &str) -> KubernetesSettings {
    KubernetesSettings {
        claim: Some("runs".into()),
        image: Some(format!("simulated@sha256:{}", "0".repeat(64))),
        tools: Tools { image: "simulated".into(), program: program.into() },
        ..KubernetesSettings::default()
    }
}

/// Begins a run that saves when it is asked to end, has somebody delete something of it, and tells how it ended.
async fn end_after(age: Age, delete: impl FnOnce(&Cluster, &RunKey)) -> RunStatus {
    let disk = tempfile::tempdir().unwrap();
    let (runs, cluster) = (disk.path().join("runs"), Cluster::of(age, &disk.path().join("pods")));
    let launcher =
        KubernetesLauncher::new(cluster.client(), &runs, settings(env!("CARGO_BIN_EXE_swifthook-supervise")))
            .unwrap();
    let key = RunKey { job: JobId([3; 16]), attempt: 1 };
    let text = "trap 'sleep 0.3; echo saved >>$RUN_DIR/said; exit 5' TERM; echo begun >>$RUN_DIR/said; sleep 300 & wait";
    let run = support::script(&runs, &key, text);
    let said = || fs::read_to_string(run.run_dir.join("said")).unwrap_or_default();
    let handle = launcher.submit(&key, &run).await.unwrap();
    support::until("it has begun", || said() == "begun\n").await;
    delete(&cluster, &key);
    let end = support::end(&launcher, &handle).await;
    assert_eq!(said(), "begun\nsaved\n", "it begins once");
    assert_eq!(launcher.poll(&handle).await.unwrap(), end);
    end
}

fn delete_pod(cluster: &Cluster, _: &RunKey) {
    let pods = cluster.objects(Kind::Pod);
    let name = pods[0]["metadata"]["name"].as_str().unwrap();
    cluster.change(|store| store.delete(Kind::Pod, name, &json!({})).map(drop)).unwrap();
}

fn delete_job(cluster: &Cluster, key: &RunKey) {
    let options = json!({ "propagationPolicy": "Background" });
    cluster.change(|store| store.delete(Kind::Job, &format!("swifthook-{key}"), &options).map(drop)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_pod_somebody_deletes_ends_as_it_did_and_begins_once() {
    for age in [Age::Counting, Age::Forgetful] {
        match end_after(age, delete_pod).await {
            RunStatus::Ended(exit) => {
                assert_eq!(
                    (exit.code, exit.stopped, exit.message),
                    (Some(5), Some(StopKind::Yield), None),
                    "{age:?}"
                );
            }
            other => panic!("{age:?}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_job_somebody_deletes_ends_as_it_did() {
    match end_after(Age::Counting, delete_job).await {
        RunStatus::Ended(exit) => assert_eq!((exit.code, exit.stopped), (Some(5), Some(StopKind::Yield))),
        other => panic!("{other:?}"),
    }
}

/// As one without `kubernetes`, or one whose libraries are not there.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_program_of_the_tools_says_is_told_when_it_cannot_prepare_a_pod() {
    let disk = tempfile::tempdir().unwrap();
    let (runs, cluster) = (disk.path().join("runs"), Cluster::with_a_node(&disk.path().join("pods")));
    let launcher = KubernetesLauncher::new(cluster.client(), &runs, settings("/bin/sh")).unwrap();
    let key = RunKey { job: JobId([4; 16]), attempt: 1 };
    let handle = launcher.submit(&key, &support::script(&runs, &key, "true")).await.unwrap();
    let exit = support::ended(&launcher, &handle).await;
    let message = exit.message.unwrap_or_default();
    assert!(message.contains("never began") && message.contains("__swifthook_install"), "{message}");
}
