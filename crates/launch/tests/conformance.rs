//! The list that every launcher passes, on real processes under real supervisors.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

mod lines;
mod supervisor;

use std::path::PathBuf;
use std::sync::Arc;

use lines::Lines;
use swifthook_conformance::launcher::{Harness, alive_with};
use swifthook_core::{RunKey, TrainingLauncher};

struct Local {
    runs: tempfile::TempDir,
}

impl Local {
    fn new() -> Self {
        Self { runs: tempfile::tempdir().unwrap() }
    }
}

impl Harness for Local {
    fn launcher(&self) -> Arc<dyn TrainingLauncher> {
        Arc::new(supervisor::launcher(&self.runs.path().join("runs")).reading(Arc::new(Lines)))
    }

    fn run_dir(&self, key: &RunKey) -> PathBuf {
        self.runs.path().join("runs").join(key.to_string())
    }

    fn alive(&self, key: &RunKey) -> Vec<String> {
        alive_with(&format!("SWIFTHOOK_RUN={key}"))
    }

    fn log(&self, key: &RunKey) -> String {
        std::fs::read_to_string(self.run_dir(key).join("log")).unwrap()
    }

    fn kill_keeper(&self, key: &RunKey) -> bool {
        let control = self.runs.path().join("control").join(key.to_string());
        let begun = std::fs::read_to_string(control.join("begun.json")).unwrap();
        let begun: serde_json::Value = serde_json::from_str(&begun).unwrap();
        let pid = i32::try_from(begun["supervisor"].as_i64().unwrap()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        true
    }
}

swifthook_conformance::launcher_tests!(Local::new());
