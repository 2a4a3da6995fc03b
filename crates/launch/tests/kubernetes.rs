//! The list that every launcher passes, on a cluster that is *simulated*: its API server is in this process, and its pods are
//! processes of this machine.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

#[expect(dead_code, reason = "other tests need the rest of it")]
mod cluster;
mod lines;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use cluster::{Cluster, Kind};
use lines::Lines;
use serde_json::json;
use swifthook_conformance::launcher::{Harness, alive_with};
use swifthook_core::{RunKey, TrainingLauncher};
use swifthook_launch::{KubernetesLauncher, KubernetesSettings, Tools};

struct Simulated {
    disk: tempfile::TempDir,
    cluster: OnceLock<Cluster>,
}

impl Simulated {
    fn new() -> Self {
        Self { disk: tempfile::tempdir().unwrap(), cluster: OnceLock::new() }
    }

    fn cluster(&self) -> &Cluster {
        self.cluster.get_or_init(|| Cluster::with_a_node(&self.disk.path().join("pods")))
    }
}

impl Harness for Simulated {
    fn launcher(&self) -> Arc<dyn TrainingLauncher> {
        let client = self.cluster().client();
        let settings = KubernetesSettings {
            claim: Some("runs".into()),
            image: Some(format!("simulated@sha256:{}", "0".repeat(64))),
            tools: Tools {
                image: "simulated".into(),
                program: env!("CARGO_BIN_EXE_swifthook-supervise").into(),
            },
            ..KubernetesSettings::default()
        };
        let launcher = KubernetesLauncher::new(client, self.disk.path().join("runs"), settings).unwrap();
        Arc::new(launcher.reading(Arc::new(Lines)))
    }

    fn run_dir(&self, key: &RunKey) -> PathBuf {
        self.disk.path().join("runs").join(key.to_string())
    }

    fn alive(&self, key: &RunKey) -> Vec<String> {
        alive_with(&format!("SWIFTHOOK_RUN={key}"))
    }

    fn log(&self, key: &RunKey) -> String {
        std::fs::read_to_string(self.run_dir(key).join("log")).unwrap()
    }

    /// Somebody deletes the Job, and hurries its pod.
    fn kill_keeper(&self, key: &RunKey) -> bool {
        self.cluster().change(|store| {
            store.delete(Kind::Job, &format!("swifthook-{key}"), &json!({})).unwrap();
            let pods: Vec<_> = store.all(Kind::Pod).map(|pod| pod["metadata"]["name"].clone()).collect();
            for pod in pods {
                store.delete(Kind::Pod, pod.as_str().unwrap(), &json!({ "gracePeriodSeconds": 1 })).unwrap();
            }
        });
        true
    }
}

swifthook_conformance::launcher_tests!(Simulated::new());
