//! Worlds that follow from a seed: a cluster that is *simulated*, whose pods are told by the world how they go, requests that
//! fail or are done without an answer, watches that break, end and forget, launchers that are restarted, people who delete Jobs.
//!
//! Whatever happens, a key has one run, nobody is told an end that was none, and in the end everybody learns the real one.
//! `SWIFTHOOK_TEST_SEEDS=10000` says how many worlds there are; a failure names its seed, and `SWIFTHOOK_TEST_SEED=7` runs it
//! alone.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

#[expect(dead_code, reason = "other tests need the rest of it")]
mod cluster;
#[expect(dead_code, reason = "other tests need the rest of it")]
mod support;

use std::path::Path;
use std::time::Duration;

use cluster::{Cluster, Fault, Kind};
use serde_json::{Value, json};
use swifthook_conformance::world::Random;
use swifthook_core::{
    Exit, JobId, Problem, RunHandle, RunKey, RunSpec, RunStatus, Stop, StopKind, TrainingLauncher,
};
use swifthook_launch::{KubernetesLauncher, KubernetesSettings};

#[test]
fn whatever_fails_each_key_has_one_run_and_nobody_is_told_a_false_end() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = number("SWIFTHOOK_TEST_SEED") {
        return live(seed);
    }
    for seed in 0..number("SWIFTHOOK_TEST_SEEDS").unwrap_or(40) {
        let lived = std::panic::catch_unwind(|| live(seed));
        assert!(lived.is_ok(), "SWIFTHOOK_TEST_SEED={seed}");
    }
}

fn live(seed: u64) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let disk = tempfile::tempdir().unwrap();
        let mut world = World::new(seed, disk.path());
        for _ in 0..60 {
            world.step().await;
            world.check();
        }
        world.settle().await;
    });
}

struct World {
    random: Random,
    cluster: Cluster,
    disk: std::path::PathBuf,
    launchers: Vec<KubernetesLauncher>,
    runs: Vec<Run>,
}

/// What really became of a key, and what was said of it.
struct Run {
    key: RunKey,
    spec: RunSpec,
    handle: Option<RunHandle>,
    /// Pods of it whose process began.
    began: Vec<String>,
    /// How its process ended, if it has.
    end: Option<Exit>,
    /// Somebody asked that it has no run, and may not have learned whether that is so.
    is_unwanted: bool,
    is_forbidden: bool,
    is_refused: bool,
    is_deleted: bool,
    is_stopped: bool,
    told: Option<RunStatus>,
}

impl World {
    fn new(seed: u64, disk: &Path) -> Self {
        let mut random = Random::new(seed);
        let cluster = Cluster::idle(disk);
        let runs = (0..3).map(|number| {
            let key = RunKey { job: JobId([number; 16]), attempt: 1 };
            Run {
                key,
                spec: support::script(&disk.join("runs"), &key, "train"),
                handle: None,
                began: Vec::new(),
                end: None,
                is_unwanted: false,
                is_forbidden: false,
                is_refused: false,
                is_deleted: false,
                is_stopped: false,
                told: None,
            }
        });
        let runs = runs.collect();
        let mut faults = random.fork();
        let often = 2 + faults.below(12);
        cluster.plan_faults(move |_, _| match faults.below(often * 4) {
            0 => Fault::Lost,
            1 => Fault::Unanswered,
            2 => Fault::Refused(429, u32::from(faults.once_in(2))),
            3 => Fault::Refused(500, 0),
            _ => Fault::None,
        });
        let mut world = Self { random, cluster, disk: disk.to_owned(), launchers: Vec::new(), runs };
        world.launchers = vec![world.launcher(), world.launcher()];
        world
    }

    fn launcher(&self) -> KubernetesLauncher {
        let settings = KubernetesSettings {
            claim: Some("runs".into()),
            image: Some(format!("simulated@sha256:{}", "0".repeat(64))),
            ..KubernetesSettings::default()
        };
        KubernetesLauncher::new(self.cluster.client(), self.disk.join("runs"), settings).unwrap()
    }

    async fn step(&mut self) {
        match self.random.below(20) {
            0..6 => self.ask().await,
            6..9 => self.cluster.control(),
            9..14 => self.move_a_pod(),
            14 => {
                let pause = self.random.within(Duration::from_millis(1)..Duration::from_secs(40));
                tokio::time::sleep(pause).await;
            }
            15 => self.cluster.change(|store| store.bookmark()),
            16 => match self.random.below(3) {
                0 => self.cluster.change(|store| store.end_watches()),
                1 => self.cluster.change(|store| store.break_streams()),
                _ => self.cluster.forget_history(),
            },
            17 => {
                let which = self.random.below(2);
                self.launchers[which] = self.launcher();
            }
            18 if self.random.once_in(3) => self.delete_a_job(),
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }

    /// A worker asks a launcher something about a key, as workers do: who knows of a run does not submit it again.
    async fn ask(&mut self) {
        let launcher = self.launchers[self.random.below(2)].clone();
        let other = self.launchers[self.random.below(2)].clone();
        let (which, what) = (self.random.below(self.runs.len()), self.random.below(8));
        let how = [Stop::Yield, Stop::Grace(Duration::from_secs(5)), Stop::Kill][self.random.below(3)];
        let existed = self.exists(which);
        let run = &mut self.runs[which];
        let key = run.key;
        match (run.handle.clone(), what) {
            (None, 0..4) if !run.is_deleted => {
                let (first, second) = tokio::join!(launcher.submit(&key, &run.spec), async {
                    match what {
                        0 => Some(other.submit(&key, &run.spec).await),
                        _ => None,
                    }
                });
                for answer in [Some(first), second].into_iter().flatten() {
                    match answer {
                        Ok(handle) => {
                            assert!(!run.is_forbidden, "a forbidden key was submitted");
                            assert!(run.handle.as_ref().is_none_or(|known| *known == handle));
                            run.handle = Some(handle);
                        }
                        Err(error) if error.is_permanent() => {
                            assert!(run.is_unwanted, "{error}");
                            run.is_refused = true;
                        }
                        Err(_) => {}
                    }
                }
            }
            (None, 4 | 5) => match launcher.find(&key).await {
                Ok(Some(handle)) => run.handle = Some(handle),
                Ok(None) => assert!(!existed || run.is_deleted, "a run was not found"),
                Err(error) => assert!(!error.is_permanent(), "{error}"),
            },
            (None, 6) => {
                run.is_unwanted = true;
                match launcher.forbid(&key).await {
                    Ok(Some(handle)) => run.handle = Some(handle),
                    Ok(None) => run.is_forbidden = true,
                    Err(error) => assert!(!error.is_permanent(), "{error}"),
                }
            }
            (Some(handle), 0..6) => {
                let status = launcher.poll(&handle).await;
                self.hear(which, status);
            }
            (Some(handle), 6) => {
                if launcher.stop(&handle, how).await.is_ok() {
                    self.runs[which].is_stopped = true;
                }
                // It may have been done without an answer.
                self.runs[which].is_stopped |= self.is_asked_to_stop(which);
            }
            (Some(handle), _) => {
                // One that was asleep submits what is known by now.
                let run = &mut self.runs[which];
                if let Ok(again) = other.submit(&key, &run.spec).await
                    && !run.is_deleted
                {
                    assert_eq!(again, handle);
                }
            }
            _ => {}
        }
    }

    /// Compares what was said of a run with what is.
    fn hear(&mut self, which: usize, status: Result<RunStatus, swifthook_core::LaunchError>) {
        let is_alive = self.alive(which) > 0;
        let run = &mut self.runs[which];
        let status = match status {
            Ok(status @ (RunStatus::Ended(_) | RunStatus::Vanished)) => status,
            Ok(_) => {
                // A launcher that was restarted may know less for a while, and must not know otherwise.
                return;
            }
            Err(error) => return assert!(!error.is_permanent(), "{error}"),
        };
        assert!(!is_alive, "{status:?}, and it runs");
        match (&status, &run.end) {
            // It was stopped while it began, and the cluster removed its pod with what was to be seen of it.
            (RunStatus::Ended(Exit { code: None, signal: None, stopped: Some(_), .. }), Some(end)) => {
                assert!(run.is_stopped && end.code != Some(0));
            }
            (RunStatus::Ended(told), Some(end)) => {
                assert_eq!((told.code, told.signal), (end.code, end.signal), "of {:?}", run.began);
            }
            (RunStatus::Ended(told), None) => {
                assert!(run.began.is_empty() && run.is_stopped, "an end was made up: {told:?}");
                assert!(told.stopped.is_some());
            }
            _ => assert!(run.is_deleted, "it has not vanished"),
        }
        if let Some(before) = &run.told {
            assert_eq!(*before, status, "an end changed");
        }
        run.told = Some(status);
    }

    /// Some pod goes on.
    fn move_a_pod(&mut self) {
        let pods = self.cluster.objects(Kind::Pod);
        let Some(pod) = self.random.pick(&pods).cloned() else { return };
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        let which =
            self.runs.iter().position(|run| name.starts_with(&format!("swifthook-{}", run.key))).unwrap();
        let is_deleted = !pod["metadata"]["deletionTimestamp"].is_null();
        match (pod["spec"]["nodeName"].is_null(), pod["status"]["phase"].as_str().unwrap()) {
            (true, _) if !is_deleted => {
                self.cluster.change(|store| {
                    store.merge(Kind::Pod, &name, &json!({ "spec": { "nodeName": "one" } })).unwrap()
                });
            }
            (false, "Pending") if is_deleted => self.end_pod(&name, json!({ "phase": "Failed" })),
            (false, "Pending") => {
                let run = &mut self.runs[which];
                run.began.push(name.clone());
                let uid = pod["metadata"]["uid"].as_str().unwrap();
                self.cluster.say(uid, &format!("begun as {name}\n"));
                let state = json!({ "running": { "startedAt": "2026-11-28T13:21:09Z" } });
                self.update(&name, json!({ "phase": "Running", "containerStatuses": [container(&state)] }));
            }
            (false, "Running") => {
                let exit = self.some_end(which, &pod);
                let (code, reason) = match exit.signal {
                    Some(signal) => (128 + signal, "Error"),
                    None => (exit.code.unwrap(), "Error"),
                };
                let told = json!({
                    "version": 1, "code": exit.code, "signal": exit.signal, "stopped": exit.stopped, "message": null,
                    "began_at": 1, "ended_at": 2,
                });
                // Sometimes the keeper could not tell any more.
                let message = if code == 137 { String::new() } else { told.to_string() };
                let uid = pod["metadata"]["uid"].as_str().unwrap();
                self.cluster.say(uid, "ended");
                self.cluster.hush(uid);
                self.runs[which].end = Some(exit);
                let state = json!({ "terminated": {
                    "exitCode": code, "reason": reason, "message": message, "finishedAt": "2026-11-28T13:21:10Z",
                } });
                let phase = if code == 0 { "Succeeded" } else { "Failed" };
                self.end_pod(&name, json!({ "phase": phase, "containerStatuses": [container(&state)] }));
            }
            _ => {}
        }
    }

    fn some_end(&mut self, _which: usize, pod: &Value) -> Exit {
        let annotations = &pod["metadata"]["annotations"];
        let is_asked = |name: &str| !annotations[format!("swifthook/stop-{name}")].is_null();
        let stopped = match (is_asked("grace") || is_asked("kill"), is_asked("yield")) {
            (true, _) => Some(StopKind::Cancel),
            (false, true) => Some(StopKind::Yield),
            _ => None,
        };
        match self.random.below(4) {
            0 => Exit { code: Some(1), stopped, ..Exit::default() },
            1 => Exit { signal: Some(9), stopped, ..Exit::default() },
            2 => Exit { signal: Some(15), stopped, ..Exit::default() },
            _ => Exit { code: Some(0), stopped, ..Exit::default() },
        }
    }

    fn delete_a_job(&mut self) {
        let which = self.random.below(self.runs.len());
        let run = &mut self.runs[which];
        // Only of a run that somebody knows: nobody submits that again who was not asleep.
        if run.handle.is_none() || run.is_deleted {
            return;
        }
        run.is_deleted = true;
        let name = format!("swifthook-{}", run.key);
        let policy = if self.random.once_in(2) { "Foreground" } else { "Background" };
        self.cluster
            .change(|store| drop(store.delete(Kind::Job, &name, &json!({ "propagationPolicy": policy }))));
    }

    fn update(&self, pod: &str, status: Value) {
        self.cluster.change(|store| store.merge(Kind::Pod, pod, &json!({ "status": status })).unwrap());
    }

    fn end_pod(&self, pod: &str, status: Value) {
        self.cluster.change(|store| {
            store.merge(Kind::Pod, pod, &json!({ "status": status })).unwrap();
        });
    }

    /// How many processes of a run there are.
    fn alive(&self, which: usize) -> usize {
        let prefix = format!("swifthook-{}", self.runs[which].key);
        let is_alive = |pod: &&Value| {
            pod["metadata"]["name"].as_str().unwrap().starts_with(&prefix)
                && pod["status"]["phase"] == "Running"
        };
        self.cluster.objects(Kind::Pod).iter().filter(is_alive).count()
    }

    fn exists(&self, which: usize) -> bool {
        let job = self.cluster.object(Kind::Job, &format!("swifthook-{}", self.runs[which].key));
        job.is_some_and(|job| job["metadata"]["labels"]["swifthook/spent"].is_null())
    }

    fn is_asked_to_stop(&self, which: usize) -> bool {
        let job = self.cluster.object(Kind::Job, &format!("swifthook-{}", self.runs[which].key));
        let annotations = job.map(|job| job["metadata"]["annotations"].to_string()).unwrap_or_default();
        annotations.contains("swifthook/stop-")
    }

    fn check(&mut self) {
        for which in 0..self.runs.len() {
            let is_asked_to_stop = self.is_asked_to_stop(which);
            let run = &mut self.runs[which];
            run.is_stopped |= is_asked_to_stop;
            assert!(run.began.len() <= 1, "two runs of one key: {:?}", run.began);
            assert!(!(run.is_forbidden || run.is_refused) || run.began.is_empty(), "a forbidden run began");
        }
    }

    /// Nothing fails any more: everybody learns how it was.
    async fn settle(&mut self) {
        self.cluster.plan_faults(|_, _| Fault::None);
        let mut quiet = 0;
        for _ in 0..40 {
            if self.runs.iter().all(|run| run.handle.is_none() || run.told.is_some()) {
                quiet += 1;
            }
            if quiet == 3 {
                break;
            }
            for _ in 0..8 {
                self.move_a_pod();
                self.cluster.control();
                self.check();
            }
            tokio::time::sleep(Duration::from_secs(15)).await;
            for which in 0..self.runs.len() {
                if let Some(handle) = self.runs[which].handle.clone() {
                    let status = self.launchers[which % 2].poll(&handle).await;
                    self.hear(which, status);
                }
            }
        }
        for run in &self.runs {
            let Some(_) = &run.handle else { continue };
            let told = run.told.as_ref().unwrap_or_else(|| panic!("nobody knows how {} ended", run.key));
            // Of a pod that was removed the log may have been gone before it was copied.
            let pod = run.began.first().filter(|pod| self.cluster.object(Kind::Pod, pod).is_some());
            if let (RunStatus::Ended(_), Some(pod), false) = (told, pod, run.is_deleted) {
                let log = std::fs::read_to_string(run.spec.run_dir.join("log")).unwrap_or_default();
                assert_eq!(log, format!("begun as {pod}\nended"));
            }
        }
    }
}

fn container(state: &Value) -> Value {
    json!({ "name": "train", "state": state, "image": "x", "imageID": "", "ready": false, "restartCount": 0 })
}
