//! What every launcher promises, by runs that are processes.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

mod control;
mod supervisor;
#[expect(dead_code, reason = "other tests need the rest of it")]
mod support;

use control::control;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use swifthook_conformance::launcher::{Ground, Plan};
use swifthook_core::{RunKey, RunSpec, TrainingLauncher};

struct Local {
    dir: tempfile::TempDir,
}

impl Local {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("runs")).unwrap();
        Self { dir }
    }

    fn runs(&self) -> PathBuf {
        self.dir.path().join("runs")
    }

    /// As a disk that is away.
    fn elsewhere(&self) -> PathBuf {
        self.dir.path().join("elsewhere")
    }
}

impl Ground for Local {
    fn launcher(&self) -> Arc<dyn TrainingLauncher> {
        Arc::new(supervisor::launcher(&self.runs()))
    }

    fn run(&self, key: &RunKey, plan: Plan) -> RunSpec {
        let begun = self.dir.path().join("begun");
        let then = match plan {
            Plan::Exits(code) => format!("exit {code}"),
            Plan::Killed(signal) => format!("kill -{signal} $$"),
            Plan::Lasts => "exec sleep 600".to_owned(),
        };
        support::script(&self.runs(), key, &format!("echo {key} | tee -a '{}'; {then}", begun.display()))
    }

    fn begun(&self, key: &RunKey) -> usize {
        let lines = fs::read_to_string(self.dir.path().join("begun")).unwrap_or_default();
        let count = lines.lines().filter(|line| **line == key.to_string()).count();
        // One that is stopped while it starts may not have come to its first line.
        let has_begun = control(&self.runs(), key).join("begun.json").exists();
        count.max(usize::from(has_begun))
    }

    fn log(&self, key: &RunKey) -> Option<String> {
        Some(fs::read_to_string(self.runs().join(key.to_string()).join("log")).unwrap_or_default())
    }

    fn cut_off(&self) {
        fs::rename(self.runs(), self.elsewhere()).unwrap();
    }

    fn reconnect(&self) {
        assert!(!self.runs().exists(), "somebody has made it anew");
        fs::rename(self.elsewhere(), self.runs()).unwrap();
    }

    async fn pass(&self, time: Duration) {
        // Nothing here takes a minute to find out.
        tokio::time::sleep(time.min(Duration::from_millis(5))).await;
    }
}

swifthook_conformance::launcher_contract!(Local::new());
