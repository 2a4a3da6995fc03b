//! What goes wrong on a real cluster: one of a single node, which `scripts/kubernetes-single-node.sh` has started in the
//! folder `SWIFTHOOK_TEST_SINGLE_NODE`. The launcher has the rights of `contrib/kubernetes/rbac.yaml`, and people have all.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

#[expect(dead_code, reason = "other tests need the rest of it")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::json;
use swifthook_core::{
    Exit, JobId, Reason, RunHandle, RunKey, RunSpec, RunStatus, Stop, StopKind, TrainingLauncher,
};
use swifthook_launch::{KubernetesLauncher, KubernetesSettings, Tools};

/// The cluster, and where one test has its runs on it.
struct World {
    folder: PathBuf,
    people: Client,
    launcher: KubernetesLauncher,
    owner: String,
}

impl World {
    async fn new(name: &str, change: impl FnOnce(&mut KubernetesSettings)) -> Self {
        let folder =
            PathBuf::from(std::env::var_os("SWIFTHOOK_TEST_SINGLE_NODE").expect("the folder of a cluster"));
        let image = std::env::var("SWIFTHOOK_TEST_IMAGE").expect("SWIFTHOOK_TEST_IMAGE names an image");
        let mut settings = KubernetesSettings {
            owner: format!("swifthook-{name}"),
            claim: Some("swifthook-runs".into()),
            service_account: Some("swifthook-runs".into()),
            image: Some(image.clone()),
            tools: Tools { image: image.clone(), program: "swifthook-supervise".into() },
            ..KubernetesSettings::default()
        };
        change(&mut settings);
        let owner = settings.owner.clone();
        let client = client(&folder.join("swifthook.conf")).await;
        let launcher = KubernetesLauncher::new(client, folder.join("volumes/runs"), settings).unwrap();
        Self { people: client_of(&folder, "admin").await, folder, launcher, owner }
    }

    fn run(&self, text: &str) -> (RunKey, RunSpec) {
        let key = new_key();
        let mut run = support::script(&self.folder.join("volumes/runs"), &key, text);
        run.env.remove("PATH");
        fs::create_dir_all(&run.output_dir).unwrap();
        // As whom pods run.
        chown(&run.run_dir, Some(1000), Some(1000)).unwrap();
        chown(&run.output_dir, Some(1000), Some(1000)).unwrap();
        (key, run)
    }

    async fn submit(&self, text: &str) -> (RunKey, RunHandle) {
        let (key, run) = self.run(text);
        let handle = self.launcher.submit(&key, &run).await.unwrap();
        (key, handle)
    }

    fn jobs(&self) -> Api<Job> {
        Api::namespaced(self.people.clone(), "default")
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.people.clone(), "default")
    }

    async fn pods_of(&self, key: &RunKey) -> Vec<Pod> {
        self.pods().list(&ListParams::default().labels(&format!("swifthook/run={key}"))).await.unwrap().items
    }

    fn file(&self, key: &RunKey, name: &str) -> String {
        let dir = self.folder.join("volumes/runs").join(key.to_string());
        fs::read_to_string(dir.join(name)).unwrap_or_default()
    }

    /// Waits until the script has written this to its file `said`.
    async fn says(&self, key: &RunKey, text: &str) {
        until("the script says so", || self.file(key, "said").contains(text)).await;
    }

    async fn waits_for(&self, run: &RunHandle, word: &str) -> Reason {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let status = self.launcher.poll(run).await.unwrap();
            match status {
                RunStatus::Pending(reason) if reason.word == word => return reason,
                other => assert!(Instant::now() < deadline, "it should wait for `{word}`, and is {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn end(&self, run: &RunHandle) -> RunStatus {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let status = self.launcher.poll(run).await.unwrap();
            if matches!(status, RunStatus::Ended(_) | RunStatus::Vanished) {
                eprintln!("{status:?}");
                return status;
            }
            assert!(Instant::now() < deadline, "the run does not end: {status:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn ended(&self, run: &RunHandle) -> Exit {
        match self.end(run).await {
            RunStatus::Ended(exit) => exit,
            other => panic!("the run should have ended, and is {other:?}"),
        }
    }

    fn cluster(&self, arguments: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/kubernetes-single-node.sh");
        let mut command = Command::new(script);
        command.arg(arguments[0]).arg(&self.folder).args(&arguments[1..]);
        assert!(command.status().unwrap().success());
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("kubectl");
        let output =
            command.arg("--kubeconfig").arg(self.folder.join("admin.conf")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn new_key() -> RunKey {
    use std::hash::{BuildHasher, RandomState};
    let random = |number: u64| RandomState::new().hash_one(number).to_be_bytes();
    let mut id = [0; 16];
    id[..8].copy_from_slice(&random(0));
    id[8..].copy_from_slice(&random(1));
    RunKey { job: JobId(id), attempt: 1 }
}

async fn client_of(folder: &Path, who: &str) -> Client {
    client(&folder.join(format!("{who}.conf"))).await
}

async fn client(file: &Path) -> Client {
    let config = Kubeconfig::read_from(file).unwrap();
    Client::try_from(Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap())
        .unwrap()
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// As a run ends that saves when its cluster wants its place.
fn has_yielded(end: &RunStatus) {
    match end {
        RunStatus::Ended(exit) => {
            assert_eq!((exit.code, exit.stopped), (Some(5), Some(StopKind::Yield)), "{exit:?}")
        }
        other => panic!("it should have ended, and is {other:?}"),
    }
}

fn message(exit: &Exit) -> &str {
    exit.message.as_deref().unwrap_or_default()
}

#[tokio::test]
async fn a_run_writes_to_the_claim_and_its_end_and_log_are_told() {
    let world = World::new("claim", |_| {}).await;
    let (key, handle) = world.submit("echo to the log; echo saved >$RUN_DIR/output/model; exit 7").await;
    let exit = world.ended(&handle).await;
    assert_eq!((exit.code, exit.signal, exit.stopped), (Some(7), None, None));
    assert_eq!(world.file(&key, "log"), "to the log\n");
    assert_eq!(world.file(&key, "output/model"), "saved\n");
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_told_and_the_run_can_be_cancelled() {
    let nowhere = format!("localhost:1/none@sha256:{}", "0".repeat(64));
    let world = World::new("image", |settings| settings.image = Some(nowhere)).await;
    let (_, handle) = world.submit("true").await;
    eprintln!("{}", world.waits_for(&handle, "image").await);
    world.launcher.stop(&handle, Stop::Grace(Duration::from_secs(5))).await.unwrap();
    assert_eq!(world.ended(&handle).await.stopped, Some(StopKind::Cancel));
}

#[tokio::test]
async fn a_run_for_which_there_is_no_gpu_waits_and_can_be_cancelled() {
    let world = World::new("gpu", |_| {}).await;
    let (key, mut run) = world.run("true");
    run.shape.gpus = 1;
    let handle = world.launcher.submit(&key, &run).await.unwrap();
    let reason = world.waits_for(&handle, "unschedulable").await;
    assert!(reason.to_string().contains("Insufficient nvidia.com/gpu"), "{reason}");
    world.launcher.stop(&handle, Stop::Kill).await.unwrap();
    assert_eq!(world.ended(&handle).await.stopped, Some(StopKind::Cancel));
}

#[tokio::test]
async fn a_claim_that_is_not_there_is_told() {
    let world = World::new("claimless", |settings| settings.claim = Some("none".into())).await;
    let (_, handle) = world.submit("true").await;
    let reason = world.waits_for(&handle, "unschedulable").await;
    assert!(reason.to_string().contains("persistentvolumeclaim \"none\" not found"), "{reason}");
    world.launcher.stop(&handle, Stop::Kill).await.unwrap();
    assert_eq!(world.ended(&handle).await.stopped, Some(StopKind::Cancel));
}

#[tokio::test]
async fn a_run_that_needs_more_memory_than_it_may_have_is_told_so() {
    let memory = BTreeMap::from([("memory".to_owned(), "64Mi".to_owned())]);
    let world = World::new("memory", |settings| settings.resources = memory).await;
    let (_, handle) = world.submit("dd if=/dev/zero of=/dev/null bs=256M count=1; exit 3").await;
    let exit = world.ended(&handle).await;
    assert!(message(&exit).contains("more memory than its container may have"), "{exit:?}");
}

#[tokio::test]
async fn a_run_that_fills_the_disk_of_its_node_is_evicted() {
    let disk = BTreeMap::from([("ephemeral-storage".to_owned(), "1Mi".to_owned())]);
    let world = World::new("disk", |settings| settings.resources = disk).await;
    let (_, handle) = world.submit("dd if=/dev/zero of=/tmp/much bs=1M count=20; sleep 300").await;
    let exit = world.ended(&handle).await;
    assert!(message(&exit).contains("had too little left and evicted it"), "{exit:?}");
    assert!(!exit.is_success());
}

#[tokio::test]
async fn a_run_whose_time_is_up_ends_by_its_keeper() {
    let world = World::new("timeout", |_| {}).await;
    let (key, mut run) = world.run("trap 'echo saving >$RUN_DIR/said; exit 4' TERM; sleep 300 & wait");
    run.timeout = Some(Duration::from_secs(3));
    let handle = world.launcher.submit(&key, &run).await.unwrap();
    let exit = world.ended(&handle).await;
    assert_eq!((exit.code, exit.stopped), (Some(4), Some(StopKind::Timeout)), "{exit:?}");
    assert_eq!(world.file(&key, "said"), "saving\n");
}

#[tokio::test]
async fn a_deadline_of_the_pod_counts_as_a_timeout() {
    let world = World::new("deadline", |_| {}).await;
    let (key, handle) =
        world.submit("trap '' TERM; echo begun >$RUN_DIR/said; while :; do sleep 1; done").await;
    world.says(&key, "begun").await;
    let pod = world.pods_of(&key).await[0].name_any();
    let soon = json!({ "spec": { "activeDeadlineSeconds": 1 } });
    world.pods().patch(&pod, &PatchParams::default(), &Patch::Merge(soon)).await.unwrap();
    let exit = world.ended(&handle).await;
    assert_eq!((exit.stopped, message(&exit)), (Some(StopKind::Timeout), "its time was up"), "{exit:?}");
}

#[tokio::test]
async fn a_cancel_gives_a_run_its_grace() {
    let world = World::new("grace", |_| {}).await;
    let text = "trap 'sleep 2; echo saved >>$RUN_DIR/said; exit 5' TERM; echo begun >$RUN_DIR/said; sleep 300 & wait";
    let (key, handle) = world.submit(text).await;
    world.says(&key, "begun").await;
    let asked_at = Instant::now();
    world.launcher.stop(&handle, Stop::Grace(Duration::from_secs(20))).await.unwrap();
    let exit = world.ended(&handle).await;
    eprintln!("ended {:?} after it was asked to, of which it took 2 s", asked_at.elapsed());
    assert_eq!((exit.code, exit.stopped), (Some(5), Some(StopKind::Cancel)), "{exit:?}");
    assert_eq!(world.file(&key, "said"), "begun\nsaved\n");
}

#[tokio::test]
async fn a_run_whose_pod_somebody_deletes_saves_and_begins_once() {
    let world = World::new("deleted", |_| {}).await;
    let text = "trap 'echo saved >>$RUN_DIR/said; exit 5' TERM; echo begun >>$RUN_DIR/said; sleep 300 & wait";
    let (key, handle) = world.submit(text).await;
    world.says(&key, "begun").await;
    let pod = world.pods_of(&key).await[0].name_any();
    world.pods().delete(&pod, &DeleteParams::default()).await.unwrap();
    let end = world.end(&handle).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.file(&key, "said"), "begun\nsaved\n", "{end:?}");
    has_yielded(&end);
}

#[tokio::test]
async fn a_run_whose_pod_is_evicted_through_the_api_saves_and_begins_once() {
    let world = World::new("evicted", |_| {}).await;
    let text = "trap 'echo saved >>$RUN_DIR/said; exit 5' TERM; echo begun >>$RUN_DIR/said; sleep 300 & wait";
    let (key, handle) = world.submit(text).await;
    world.says(&key, "begun").await;
    let pod = world.pods_of(&key).await[0].name_any();
    // As `kubectl drain` does. Before 1.22 there was no other version.
    let is_new = world.kubectl(&["api-versions"]).lines().any(|version| version == "policy/v1");
    let version = if is_new { "policy/v1" } else { "policy/v1beta1" };
    let eviction = json!({ "apiVersion": version, "kind": "Eviction", "metadata": { "name": pod } });
    let request = http::Request::post(format!("/api/v1/namespaces/default/pods/{pod}/eviction"));
    let request = request.header("content-type", "application/json");
    let request = request.body(serde_json::to_vec(&eviction).unwrap()).unwrap();
    world.people.request::<serde_json::Value>(request).await.unwrap();
    let end = world.end(&handle).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.file(&key, "said"), "begun\nsaved\n", "{end:?}");
    has_yielded(&end);
}

#[tokio::test]
async fn a_run_whose_job_somebody_deletes_ends_as_it_did_once_its_pod_is_gone() {
    let world = World::new("vanished", |_| {}).await;
    let text = "trap 'sleep 1; echo saved >>$RUN_DIR/said; exit 5' TERM; echo begun >>$RUN_DIR/said; sleep 300 & wait";
    let (key, handle) = world.submit(text).await;
    world.says(&key, "begun").await;
    world.jobs().delete(&format!("swifthook-{key}"), &DeleteParams::background()).await.unwrap();
    let end = world.end(&handle).await;
    assert_eq!(world.file(&key, "said"), "begun\nsaved\n");
    has_yielded(&end);
    // Its key is spent, and its secret is gone with its Job.
    let (_, run) = world.run("true");
    let again = RunSpec { run_dir: world.folder.join("volumes/runs").join(key.to_string()), ..run };
    assert_eq!(world.launcher.submit(&key, &again).await.unwrap(), handle);
    assert_eq!(world.end(&handle).await, end);
    let secrets: Api<Secret> = Api::namespaced(world.people.clone(), "default");
    assert_eq!(secrets.get_opt(&format!("swifthook-{key}")).await.unwrap(), None);
}

#[tokio::test]
async fn a_run_that_makes_way_for_another_is_told_so() {
    let world = World::new("preempted", |settings| {
        settings.resources = BTreeMap::from([("example.org/test".to_owned(), "1".to_owned())]);
        settings.priority_class = Some("swifthook-low".into());
    });
    let world = world.await;
    for (name, value) in [("low", "1"), ("high", "1000")] {
        let made = Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(world.folder.join("admin.conf"))
            .args(["create", "priorityclass", &format!("swifthook-{name}"), &format!("--value={value}")])
            .output()
            .unwrap();
        assert!(made.status.success() || String::from_utf8_lossy(&made.stderr).contains("already exists"));
    }
    let node = world.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    let has_one = r#"[{"op": "add", "path": "/status/capacity/example.org~1test", "value": "1"}]"#;
    world.kubectl(&["patch", "node", &node, "--subresource=status", "--type=json", "-p", has_one]);
    let text = "trap 'echo saved >>$RUN_DIR/said; exit 5' TERM; echo begun >>$RUN_DIR/said; sleep 300 & wait";
    let (key, handle) = world.submit(text).await;
    world.says(&key, "begun").await;
    let other = World::new("preempting", |settings| {
        settings.resources = BTreeMap::from([("example.org/test".to_owned(), "1".to_owned())]);
        settings.priority_class = Some("swifthook-high".into());
    });
    let other = other.await;
    let (_, first) = other.submit("sleep 3").await;
    let end = world.end(&handle).await;
    assert_eq!(world.file(&key, "said"), "begun\nsaved\n", "{end:?}");
    has_yielded(&end);
    assert!(other.ended(&first).await.is_success());
}

#[tokio::test]
async fn runs_of_which_nobody_knows_are_listed_and_removed() {
    let world = World::new("orphans", |_| {}).await;
    let (key, handle) = world.submit("echo begun >$RUN_DIR/said; exec sleep 300").await;
    world.says(&key, "begun").await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while world.launcher.known_runs().await.is_none_or(|known| !known.iter().any(|run| run.key == key)) {
        assert!(Instant::now() < deadline, "it is not listed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.launcher.remove(&key).await.unwrap();
    let end = world.end(&handle).await;
    assert!(matches!(&end, RunStatus::Ended(exit) if exit.signal == Some(15)), "{end:?}");
    // A secret whose submission was interrupted.
    world.kubectl(&["create", "secret", "generic", &format!("left-{key}")]);
    world.kubectl(&["label", "secret", &format!("left-{key}"), &format!("swifthook/owner={}", world.owner)]);
    assert_eq!(world.launcher.tidy(std::time::SystemTime::now()).await.unwrap(), 0);
    let later = std::time::SystemTime::now() + Duration::from_secs(3700);
    assert_eq!(world.launcher.tidy(later).await.unwrap(), 1);
}

/// What it missed is told when it is back, also where the server has forgotten what a watch was to go on from.
#[tokio::test]
async fn an_api_server_that_is_killed_and_comes_back_loses_no_run() {
    let world = World::new("killed", |_| {}).await;
    let (key, handle) =
        world.submit("echo begun >$RUN_DIR/said; sleep 8; echo over >>$RUN_DIR/said; exit 9").await;
    world.says(&key, "begun").await;
    while !matches!(world.launcher.poll(&handle).await.unwrap(), RunStatus::Running(_)) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let server = fs::read_to_string(world.folder.join("run/kube-apiserver.pid")).unwrap();
    assert!(Command::new("kill").args(["-KILL", server.trim()]).status().unwrap().success());
    let deadline = Instant::now() + Duration::from_secs(20);
    while !matches!(world.launcher.poll(&handle).await.unwrap(), RunStatus::Unreachable { .. }) {
        assert!(Instant::now() < deadline, "it should be out of reach");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    world.says(&key, "over").await;
    world.cluster(&["start"]);
    let exit = world.ended(&handle).await;
    assert_eq!(exit.code, Some(9), "{exit:?}");
}
