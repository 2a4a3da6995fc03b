//! What every launcher promises, by jobs of a real Slurm.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use swifthook_conformance::launcher::{Ground, Plan};
use swifthook_core::{RunKey, RunSpec, TrainingLauncher};

use crate::cluster::Cluster;
use crate::support;

struct Slurm(Cluster);

impl Slurm {
    fn control(&self) -> PathBuf {
        self.0.runs().with_file_name("control")
    }

    /// The folders of the shared file system, and where they are while it is away.
    fn shared(&self) -> [(PathBuf, PathBuf); 2] {
        let away = |name| self.0.path().join(name);
        [(self.0.runs(), away("runs-away")), (self.control(), away("control-away"))]
    }
}

impl Ground for Slurm {
    fn launcher(&self) -> Arc<dyn TrainingLauncher> {
        Arc::new(self.0.launcher())
    }

    fn run(&self, key: &RunKey, plan: Plan) -> RunSpec {
        let begun = self.0.path().join("begun");
        let then = match plan {
            Plan::Exits(code) => format!("exit {code}"),
            Plan::Killed(signal) => format!("kill -{signal} $$"),
            Plan::Lasts => "exec sleep 600".to_owned(),
        };
        support::script(&self.0.runs(), key, &format!("echo {key} | tee -a '{}'; {then}", begun.display()))
    }

    fn begun(&self, key: &RunKey) -> usize {
        let lines = fs::read_to_string(self.0.path().join("begun")).unwrap_or_default();
        let count = lines.lines().filter(|line| **line == key.to_string()).count();
        // One that is stopped while it waits in the queue does not come to its first line.
        let was_submitted = self.control().join(key.to_string()).join("submitted.json").exists();
        count.max(usize::from(was_submitted))
    }

    fn log(&self, key: &RunKey) -> Option<String> {
        Some(fs::read_to_string(self.0.runs().join(key.to_string()).join("log")).unwrap_or_default())
    }

    /// The cluster and the shared file system.
    fn cut_off(&self) {
        self.0.cut_off();
        self.shared().iter().for_each(|(folder, away)| fs::rename(folder, away).unwrap());
    }

    fn reconnect(&self) {
        for (folder, away) in self.shared() {
            // A launcher makes it where it is not there.
            let _ = fs::remove_dir(&folder);
            fs::rename(away, folder).unwrap();
        }
        self.0.connect();
    }

    async fn pass(&self, time: Duration) {
        // Nothing here takes a minute to find out.
        tokio::time::sleep(time.min(Duration::from_millis(20))).await;
    }
}

swifthook_conformance::launcher_contract!(Slurm(Cluster::start()));
