//! What every launcher promises, on a cluster that is *simulated*.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

#[expect(dead_code, reason = "other tests need the rest of it")]
mod cluster;
#[expect(dead_code, reason = "other tests need the rest of it")]
mod support;

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cluster::{Cluster, Kind};
use swifthook_conformance::launcher::{Ground, Plan};
use swifthook_core::{RunKey, RunSpec, TrainingLauncher};
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

    fn runs(&self) -> PathBuf {
        self.disk.path().join("runs")
    }
}

impl Ground for Simulated {
    fn launcher(&self) -> Arc<dyn TrainingLauncher> {
        let settings = KubernetesSettings {
            claim: Some("runs".into()),
            image: Some(format!("simulated@sha256:{}", "0".repeat(64))),
            tools: Tools {
                image: "simulated".into(),
                program: env!("CARGO_BIN_EXE_swifthook-supervise").into(),
            },
            ..KubernetesSettings::default()
        };
        Arc::new(KubernetesLauncher::new(self.cluster().client(), self.runs(), settings).unwrap())
    }

    fn run(&self, key: &RunKey, plan: Plan) -> RunSpec {
        fs::create_dir_all(self.runs()).unwrap();
        let begun = self.disk.path().join("begun");
        let then = match plan {
            Plan::Exits(code) => format!("exit {code}"),
            Plan::Killed(signal) => format!("kill -{signal} $$"),
            Plan::Lasts => "exec sleep 600".to_owned(),
        };
        support::script(&self.runs(), key, &format!("echo {key} | tee -a '{}'; {then}", begun.display()))
    }

    fn begun(&self, key: &RunKey) -> usize {
        let lines = fs::read_to_string(self.disk.path().join("begun")).unwrap_or_default();
        let count = lines.lines().filter(|line| **line == key.to_string()).count();
        // One that is stopped while it starts may not have come to its first line.
        let is_of_a_run = |job: &serde_json::Value| job["metadata"]["labels"]["swifthook/spent"].is_null();
        let jobs = self.cluster().ever_made(Kind::Job, &format!("swifthook-{key}"), is_of_a_run);
        count.max(jobs)
    }

    fn log(&self, key: &RunKey) -> Option<String> {
        Some(fs::read_to_string(self.runs().join(key.to_string()).join("log")).unwrap_or_default())
    }

    /// Returns when every launcher has noticed: until then what it knew a moment ago is as good as true.
    fn cut_off(&self) {
        self.cluster().cut_off();
        while self.cluster().watches() > 0 {
            std::thread::yield_now();
        }
    }

    fn reconnect(&self) {
        self.cluster().reconnect();
    }

    async fn pass(&self, time: Duration) {
        // Nothing here takes a minute to find out.
        tokio::time::sleep(time.min(Duration::from_millis(5))).await;
    }
}

swifthook_conformance::launcher_contract!(Simulated::new());
