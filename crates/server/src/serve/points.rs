//! Points at which a build with the feature `failpoints` dies or stands still, once, when it is asked to: for
//! `swifthook-kill`, which is to hit what random moments hardly ever do. Any other build has nothing of it.

use std::sync::Arc;

use swifthook_core::TrainingLauncher;

#[cfg(feature = "failpoints")]
pub(super) use armed::{near, reach};

/// Passes by.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub(super) fn reach(_point: &str) {}

/// Passes by.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub(super) fn near(_point: &str) {}

/// The launcher itself.
#[cfg(not(feature = "failpoints"))]
pub(super) fn around(launcher: Arc<dyn TrainingLauncher>) -> Arc<dyn TrainingLauncher> {
    launcher
}

/// The same launcher, with points before and after what it does.
#[cfg(feature = "failpoints")]
pub(super) fn around(launcher: Arc<dyn TrainingLauncher>) -> Arc<dyn TrainingLauncher> {
    Arc::new(launcher::Pointed(launcher))
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::path::PathBuf;
    use std::sync::LazyLock;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};
    use std::{env, fs, process, thread};

    use rustix::process::{Signal, getpid, kill_process};

    /// Dies or stops here if the point is armed, which it then is no more: a file of its name in the folder that
    /// `SWIFTHOOK_FAILPOINTS` names, which says `kill` or `stop`. What was taken has our number behind its name.
    pub(in super::super) fn reach(point: &str) {
        if let Some(signal) = taken(point) {
            // Nothing can be done about a kernel that refuses it, and the harness sees that it did.
            let _ = kill_process(getpid(), signal);
        }
    }

    /// The same, some milliseconds later, in the middle of what comes next.
    pub(in super::super) fn near(point: &str) {
        let Some(signal) = taken(point) else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.subsec_nanos());
        let delay = Duration::from_micros(u64::from(now / 1_000 % 8_000));
        thread::spawn(move || {
            thread::sleep(delay);
            let _ = kill_process(getpid(), signal);
        });
    }

    fn taken(point: &str) -> Option<Signal> {
        static FOLDER: LazyLock<Option<PathBuf>> =
            LazyLock::new(|| env::var_os("SWIFTHOOK_FAILPOINTS").map(PathBuf::from));
        let folder = FOLDER.as_ref()?;
        let taken = folder.join(format!("{point}.{}", process::id()));
        fs::rename(folder.join(point), &taken).ok()?;
        match &*fs::read(&taken).ok()? {
            b"stop" => Some(Signal::STOP),
            _ => Some(Signal::KILL),
        }
    }
}

#[cfg(feature = "failpoints")]
mod launcher {
    use std::path::PathBuf;
    use std::sync::Arc;

    use async_trait::async_trait;
    use swifthook_core::{
        Capabilities, Checkpoint, LaunchError, Progress, Pulse, Reason, RunHandle, RunKey, RunSpec,
        RunStatus, Stop, TrainingLauncher,
    };

    use super::reach;

    pub(super) struct Pointed(pub(super) Arc<dyn TrainingLauncher>);

    #[async_trait]
    impl TrainingLauncher for Pointed {
        fn capabilities(&self) -> Capabilities {
            self.0.capabilities()
        }

        async fn submit(&self, key: &RunKey, run: &RunSpec) -> Result<RunHandle, LaunchError> {
            reach("submitting");
            let answer = self.0.submit(key, run).await;
            reach("submitted");
            answer
        }

        async fn find(&self, key: &RunKey) -> Result<Option<RunHandle>, LaunchError> {
            self.0.find(key).await
        }

        async fn forbid(&self, key: &RunKey) -> Result<Option<RunHandle>, LaunchError> {
            self.0.forbid(key).await
        }

        async fn poll(&self, run: &RunHandle) -> Result<RunStatus, LaunchError> {
            let answer = self.0.poll(run).await;
            if matches!(answer, Ok(RunStatus::Ended(_) | RunStatus::Vanished)) {
                reach("run_ended");
            }
            answer
        }

        async fn stop(&self, run: &RunHandle, how: Stop) -> Result<(), LaunchError> {
            self.0.stop(run, how).await
        }

        async fn progress(&self, run: &RunHandle) -> Result<Progress, LaunchError> {
            self.0.progress(run).await
        }

        async fn pulse(&self, run: &RunHandle) -> Result<Pulse, LaunchError> {
            self.0.pulse(run).await
        }

        async fn examine(&self, run: &RunHandle, why: &Reason) -> Result<Option<PathBuf>, LaunchError> {
            self.0.examine(run, why).await
        }

        async fn checkpoint(&self, run: &RunHandle) -> Result<Option<Checkpoint>, LaunchError> {
            self.0.checkpoint(run).await
        }

        async fn holds(&self, checkpoint: &Checkpoint) -> Result<bool, LaunchError> {
            self.0.holds(checkpoint).await
        }
    }
}
