//! What is created for a run.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use swifthook_core::{LaunchError, RunKey, RunSpec};

use super::config::{KubernetesSettings, PodVolume, VolumeSource};
use super::names::{MAX_LOG, QUEUE, TRAIN, labels_of, name_of};
use super::stop::FILES;
use crate::local::Order;
use crate::supervisor::{INSTALL, KEEP, Kept, RUN_VARIABLE};

/// The environment of a run. It is kept from the Job, which more people can read, and from every argument.
pub(super) fn secret(
    key: &RunKey,
    run: &RunSpec,
    settings: &KubernetesSettings,
) -> Result<Secret, LaunchError> {
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && name.chars().all(|character| character.is_ascii_alphanumeric() || "_-.".contains(character))
    };
    if let Some(wrong) = run.env.keys().find(|name| !is_name(name)) {
        return Err(LaunchError::permanent(format!(
            "the environment variable `{wrong}` has a name that Kubernetes does not take: letters, digits, `_`, `-`, `.`"
        )));
    }
    let size: usize = run.env.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > MOST_ENVIRONMENT {
        return Err(LaunchError::permanent(format!(
            "the environment has {size} bytes, and Kubernetes takes {MOST_ENVIRONMENT}"
        )));
    }
    let secret = json!({
        "metadata": { "name": name_of(key), "labels": labels_of(key, &settings.owner) },
        "stringData": run.env,
    });
    Ok(typed(secret))
}

/// The Job of a run.
pub(super) fn job(key: &RunKey, run: &RunSpec, settings: &KubernetesSettings) -> Result<Job, LaunchError> {
    described(key, run, settings).map(typed)
}

fn described(key: &RunKey, run: &RunSpec, settings: &KubernetesSettings) -> Result<Value, LaunchError> {
    if run.argv.is_empty() {
        return Err(LaunchError::permanent("the command is empty"));
    }
    if run.shape.nodes.get() > 1 {
        return Err(LaunchError::permanent(
            "runs that span several nodes are not supported on Kubernetes yet",
        ));
    }
    let mut labels = labels_of(key, &settings.owner);
    let pod_labels = labels.clone();
    labels.extend(settings.queue.iter().map(|queue| (QUEUE.to_owned(), queue.clone())));
    let change = &run.job.change;
    let mut annotations = json!({
        "swifthook/recipe": &*change.recipe,
        "swifthook/repository": change.repository.to_string(),
        "swifthook/commit": change.head.to_string(),
    });
    // For whoever copies the log: that may be another process than this.
    if let Some(most) = run.limits.log {
        annotations[MAX_LOG] = json!(most.to_string());
    }
    Ok(json!({
        "metadata": { "name": name_of(key), "labels": labels, "annotations": annotations },
        "spec": {
            "parallelism": 1,
            "completions": 1,
            // One pod, ever: another attempt is another Job.
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "suspend": settings.queue.is_some(),
            "template": {
                "metadata": { "labels": pod_labels, "annotations": annotations },
                "spec": pod(key, run, settings)?,
            },
        },
    }))
}

fn pod(key: &RunKey, run: &RunSpec, settings: &KubernetesSettings) -> Result<Value, LaunchError> {
    let place = text(&settings.place)?;
    let grace = run.grace.as_secs().saturating_add(LAST_BREATH).min(LONGEST);
    // The keeper ends a run whose time is up. This is for one that cannot, and counts from when a node takes the pod.
    let deadline = run
        .timeout
        .map(|timeout| timeout.as_secs().saturating_add(grace).saturating_add(PREPARATION).min(LONGEST));
    let (user, group) = settings.user;
    let mut volumes = vec![
        json!({ "name": "swifthook", "emptyDir": {} }),
        json!({ "name": "asked", "downwardAPI": { "items": FILES.map(|(annotation, file)| json!({
            "path": file,
            "fieldRef": { "fieldPath": format!("metadata.annotations['{annotation}']") },
        })) } }),
        match &settings.claim {
            Some(claim) => json!({ "name": "runs", "persistentVolumeClaim": { "claimName": claim } }),
            None => json!({ "name": "runs", "emptyDir": {} }),
        },
    ];
    if let Some(size) = &settings.shared_memory {
        volumes.push(json!({ "name": "shm", "emptyDir": { "medium": "Memory", "sizeLimit": size } }));
    }
    let checkout = run.checkout.as_ref().map(|with| settings.checkout_of(run, with)).transpose()?;
    let mut before = vec![prepare(settings, place)];
    if let Some(checkout) = checkout {
        volumes.extend(checkout.volumes);
        before.push(checkout.container);
    }
    volumes.extend(settings.volumes.iter().map(volume));
    let tolerations: Vec<Value> = settings
        .tolerations
        .iter()
        .map(|toleration| {
            json!({
                "key": toleration.key,
                "operator": if toleration.value.is_some() { "Equal" } else { "Exists" },
                "value": toleration.value,
                "effect": toleration.effect,
            })
        })
        .collect();
    let pull_secrets: Vec<Value> = settings.pull_secrets.iter().map(|name| json!({ "name": name })).collect();
    Ok(json!({
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": grace,
        "activeDeadlineSeconds": deadline,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "serviceAccountName": settings.service_account,
        "priorityClassName": settings.priority_class,
        "runtimeClassName": settings.runtime_class,
        "nodeSelector": settings.node_selector,
        "tolerations": tolerations,
        "imagePullSecrets": pull_secrets,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": user,
            "runAsGroup": group,
            "fsGroup": group,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "volumes": volumes,
        "initContainers": before,
        "containers": [train(key, run, settings)?],
    }))
}

/// Puts the keeper where the container of the run finds it.
fn prepare(settings: &KubernetesSettings, place: &str) -> Value {
    json!({
        "name": "prepare",
        "image": settings.tools.image,
        "command": [settings.tools.program, INSTALL, format!("{place}/bin/keeper")],
        "resources": { "requests": { "cpu": "100m", "memory": "64Mi" }, "limits": { "memory": "256Mi" } },
        "terminationMessagePolicy": LAST_WORDS,
        "securityContext": restricted(),
        "volumeMounts": [{ "name": "swifthook", "mountPath": place }],
    })
}

/// What a container of ours may do, besides what holds for all of the pod.
pub(super) fn restricted() -> Value {
    json!({
        "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] }, "readOnlyRootFilesystem": true,
    })
}

fn train(key: &RunKey, run: &RunSpec, settings: &KubernetesSettings) -> Result<Value, LaunchError> {
    let place = text(&settings.place)?;
    let image = match (&run.shape.image, &settings.image) {
        (Some(image), _) => image.to_string(),
        (None, Some(image)) => image.clone(),
        (None, None) => {
            return Err(LaunchError::permanent(
                "the run has no image: `environment = { image = \"…@sha256:…\" }` in its recipe, or `image` of the launcher",
            ));
        }
    };
    if !is_by_digest(&image) {
        return Err(LaunchError::permanent(format!(
            "the image `{image}` has no digest: what stands behind a name changes (`name@sha256:…`)"
        )));
    }
    let kept = Kept {
        order: Order { working_dir: settings.working_dir(run), ..Order::of(key, run) },
        run_dir: run.run_dir.clone(),
        output_dir: run.output_dir.clone(),
        place: settings.place.join("keep"),
        asked: settings.place.join("asked"),
        told: TOLD.into(),
    };
    let kept = serde_json::to_string(&kept)
        .map_err(|error| LaunchError::permanent("a path of the run is no text").because(error))?;
    let mut mounts = vec![
        json!({ "name": "swifthook", "mountPath": place }),
        json!({ "name": "asked", "mountPath": format!("{place}/asked"), "readOnly": true }),
    ];
    mounts.extend(run_mounts(key, run, settings)?);
    mounts.extend(run.checkout.is_some().then(|| settings.code_mount()));
    if settings.shared_memory.is_some() {
        mounts.push(json!({ "name": "shm", "mountPath": "/dev/shm" }));
    }
    mounts.extend(settings.volumes.iter().map(
        |volume| json!({ "name": volume.name, "mountPath": volume.path, "readOnly": volume.read_only }),
    ));
    let mut resources = json!(settings.resources);
    if run.shape.gpus > 0 {
        resources[settings.gpu_resource.as_str()] = json!(run.shape.gpus.to_string());
    }
    Ok(json!({
        "name": TRAIN,
        "image": image,
        "command": [format!("{place}/bin/keeper"), KEEP, escaped(&kept)],
        "env": [{ "name": RUN_VARIABLE, "value": key.to_string() }],
        "envFrom": [{ "secretRef": { "name": name_of(key) } }],
        "resources": { "requests": resources, "limits": resources },
        "terminationMessagePath": TOLD,
        "terminationMessagePolicy": LAST_WORDS,
        "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
        "volumeMounts": mounts,
    }))
}

/// The directory of the run, and to read that of the attempt whose checkpoint it goes on from.
fn run_mounts(key: &RunKey, run: &RunSpec, settings: &KubernetesSettings) -> Result<Vec<Value>, LaunchError> {
    let own = text(&run.run_dir)?;
    if settings.claim.is_none() {
        return Ok(vec![json!({ "name": "runs", "mountPath": own })]);
    }
    let mut mounts = vec![json!({ "name": "runs", "mountPath": own, "subPath": key.to_string() })];
    let runs = run.run_dir.parent();
    let from = run
        .job
        .state
        .resumed_from
        .as_ref()
        .map(|checkpoint| RunKey { job: key.job, attempt: checkpoint.attempt });
    if let Some((runs, from)) = runs.zip(from).filter(|(_, from)| from != key) {
        let from = from.to_string();
        mounts.push(json!({
            "name": "runs", "mountPath": text(&runs.join(&from))?, "subPath": from, "readOnly": true,
        }));
    }
    Ok(mounts)
}

fn volume(volume: &PodVolume) -> Value {
    let mut value = match &volume.source {
        VolumeSource::Claim(name) => json!({ "persistentVolumeClaim": { "claimName": name } }),
        VolumeSource::Secret(name) => json!({ "secret": { "secretName": name } }),
        VolumeSource::ConfigMap(name) => json!({ "configMap": { "name": name } }),
        VolumeSource::Node(path) => json!({ "hostPath": { "path": path } }),
        VolumeSource::Empty => json!({ "emptyDir": {} }),
    };
    value["name"] = json!(volume.name);
    value
}

/// As it must be written where Kubernetes replaces `$(NAME)`: <https://kubernetes.io/docs/reference/kubernetes-api/>, under
/// `args` of a container.
pub(super) fn escaped(text: &str) -> String {
    text.replace('$', "$$")
}

/// Whether what stands behind the name of an image can never change.
pub(super) fn is_by_digest(image: &str) -> bool {
    image.split_once("@sha256:").is_some_and(|(name, digest)| {
        !name.is_empty() && digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

pub(super) fn text(path: &std::path::Path) -> Result<&str, LaunchError> {
    path.to_str().ok_or_else(|| LaunchError::permanent(format!("the path {} is no text", path.display())))
}

/// Tests compare what is left of what was written, so no field is misspelt.
fn typed<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("it has the fields of its kind")
}

/// Seconds that a keeper has beyond the grace of its run to tell how it ended.
const LAST_BREATH: u64 = 15;
/// Seconds that images may take to come.
const PREPARATION: u64 = 1800;
/// What a pod can have.
const LONGEST: u64 = i32::MAX as u64;
const MOST_ENVIRONMENT: usize = 1 << 20;
/// A program that does not start says why on its output alone: that a library is missing, say.
pub(super) const LAST_WORDS: &str = "FallbackToLogsOnError";
pub(super) const TOLD: &str = "/dev/termination-log";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use swifthook_core::{
        Checkout, Enclosure, Job as SwifthookJob, JobId, Problem, RepoName, RunLimits, RunShape, State,
    };

    use super::super::checkout::PodCheckout;
    use super::super::config::{PodToleration, PodVolume, VolumeSource};
    use super::*;

    fn key() -> RunKey {
        RunKey { job: JobId([1; 16]), attempt: 2 }
    }

    fn run(image: &str) -> RunSpec {
        let change = json!({
            "repository": "acme/models", "ref_name": { "branch": "main" }, "head": "a".repeat(40),
            "recipe": "sft", "config": "", "run": 0,
        });
        let spec = json!({
            "recipe": "sft", "config": null, "group": "sft", "priority": 0, "launcher": "cluster", "labels": [],
            "command": [], "superseded": "keep", "debounce": null, "retry": swifthook_core::Retry::default(),
        });
        let job = json!({
            "id": key().job, "change": change, "before": null, "sender": null, "pushed_at": null, "source": "person",
            "spec": spec, "state": State::queued(None, None), "created_at": 0, "rerun_of": null,
            "superseded_by": null, "progress": null,
        });
        let mut job: SwifthookJob = serde_json::from_value(job).unwrap();
        job.state.resumed_from =
            Some(swifthook_core::Checkpoint { path: "/runs/x".into(), step: None, attempt: 1, host: None });
        let run_dir = Path::new("/runs").join(key().to_string());
        RunSpec {
            job: Arc::new(job),
            argv: vec!["python".into(), "$(HOME)".into()],
            env: BTreeMap::from([("HF_TOKEN".to_owned(), "hf_secret".to_owned())]),
            working_dir: run_dir.join("tree"),
            checkout: None,
            output_dir: run_dir.join("output"),
            run_dir,
            timeout: Some(Duration::from_secs(3600)),
            grace: Duration::from_secs(60),
            limits: RunLimits::default(),
            enclosure: Enclosure::default(),
            shape: RunShape { gpus: 4, image: Some(image.into()), ..RunShape::default() },
        }
    }

    fn image() -> String {
        format!("registry.example.org/ms-swift@sha256:{}", "0".repeat(64))
    }

    fn settings() -> KubernetesSettings {
        KubernetesSettings {
            claim: Some("runs".into()),
            queue: Some("training".into()),
            pull_secrets: vec!["registry".into()],
            service_account: Some("runs".into()),
            priority_class: Some("low".into()),
            runtime_class: Some("nvidia".into()),
            node_selector: BTreeMap::from([("pool".to_owned(), "a100".to_owned())]),
            tolerations: vec![PodToleration { key: Some("gpu".into()), ..PodToleration::default() }],
            resources: BTreeMap::from([("memory".to_owned(), "64Gi".to_owned())]),
            shared_memory: Some("16Gi".into()),
            volumes: ["claim", "secret", "map", "node", "empty"].map(volume_of).into(),
            ..KubernetesSettings::default()
        }
    }

    fn volume_of(kind: &str) -> PodVolume {
        let name = kind.to_owned();
        let source = match kind {
            "claim" => VolumeSource::Claim(name.clone()),
            "secret" => VolumeSource::Secret(name.clone()),
            "map" => VolumeSource::ConfigMap(name.clone()),
            "node" => VolumeSource::Node("/data".into()),
            _ => VolumeSource::Empty,
        };
        PodVolume { path: format!("/{name}"), name, source, read_only: true }
    }

    /// Of a run that has a working tree, which its pod makes.
    fn with_checkout() -> (RunSpec, KubernetesSettings) {
        let with = Checkout { lfs: true, submodules: Arc::new(["$(HOSTS)".to_owned()]) };
        let repository = RepoName::new("acme/models").unwrap();
        let checkout = PodCheckout {
            secret: Some("git-credentials".into()),
            repositories: BTreeMap::from([(repository, "https://git.example/acme/models.git".into())]),
            ..PodCheckout::default()
        };
        let settings = KubernetesSettings { checkout: Some(checkout), ..settings() };
        (RunSpec { checkout: Some(with), ..run(&image()) }, settings)
    }

    /// Every field that was written is one of the API, and has its type.
    #[test]
    fn nothing_that_a_job_says_is_lost_on_the_way() {
        let (with, itself) = with_checkout();
        for written in [
            described(&key(), &run(&image()), &settings()).unwrap(),
            described(&key(), &with, &itself).unwrap(),
        ] {
            let read = serde_json::to_value(typed::<Job>(written.clone())).unwrap();
            assert_same(&written, &read, "");
        }
    }

    #[test]
    fn what_is_shown_to_a_git_server_is_in_one_container_alone_and_the_run_reads_the_code() {
        let (run, settings) = with_checkout();
        let job = described(&key(), &run, &settings).unwrap();
        let pod = &job["spec"]["template"]["spec"];
        let volume = |name: &str| {
            let all = pod["volumes"].as_array().unwrap();
            all.iter().find(|volume| volume["name"] == name).unwrap().clone()
        };
        assert_eq!(volume("git")["secret"], json!({ "secretName": "git-credentials", "defaultMode": 0o400 }));
        assert_eq!(volume("code")["emptyDir"], json!({}));
        let mounts = |container: &Value| -> Vec<(String, String, bool)> {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let all = container["volumeMounts"].as_array().unwrap().iter();
            let mount =
                |mount: &Value| (text(&mount["name"]), text(&mount["mountPath"]), mount["readOnly"] == true);
            all.map(mount).filter(|(name, ..)| name == "git" || name == "code").collect()
        };
        let [prepare, checkout] = [0, 1].map(|index| &pod["initContainers"][index]);
        let train = &pod["containers"][0];
        assert_eq!(mounts(prepare), []);
        let [code, git] = ["/swifthook/code", "/swifthook/git"];
        assert_eq!(mounts(checkout), [("code".into(), code.into(), false), ("git".into(), git.into(), true)]);
        assert_eq!(mounts(train), [("code".to_owned(), code.to_owned(), true)]);
        assert!(train["command"][2].as_str().unwrap().contains("\"working_dir\":\"/swifthook/code/tree\""));
        assert_eq!(checkout["image"], "swifthook", "its own, unless another one is named");
        assert_eq!(checkout["securityContext"], restricted());
        assert_eq!(checkout["resources"]["limits"], json!({ "memory": "2Gi" }));
        let order = checkout["command"][2].as_str().unwrap();
        assert!(order.contains("$$(HOSTS)") && order.contains("\"lfs\":true"), "{order}");

        // One that has none gets none, whatever its launcher can do.
        let job = described(&key(), &super::tests::run(&image()), &settings).unwrap();
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!(pod["initContainers"].as_array().unwrap().len(), 1);
        assert!(!pod.to_string().contains("git-credentials") && !pod.to_string().contains("/swifthook/code"));
    }

    #[test]
    fn a_commit_that_nobody_can_fetch_is_refused() {
        let (run, mut settings) = with_checkout();
        settings.checkout.as_mut().unwrap().repositories.clear();
        let unknown = job(&key(), &run, &settings).unwrap_err();
        assert!(unknown.is_permanent() && unknown.to_string().contains("`acme/models` is not configured"));
        // As after a reload between a look at what it can do and its submission.
        settings.checkout = None;
        assert!(!job(&key(), &run, &settings).unwrap_err().is_permanent());
    }

    fn assert_same(written: &Value, read: &Value, place: &str) {
        match written {
            Value::Null => {}
            Value::Object(fields) => {
                for (name, value) in fields {
                    assert_same(value, &read[name], &format!("{place}.{name}"));
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    assert_same(item, &read[index], &format!("{place}[{index}]"));
                }
            }
            // Whether nothing is told or an empty text is the same.
            other => assert_eq!(other, read, "{place}"),
        }
    }

    #[test]
    fn what_is_secret_stands_in_the_secret_alone_and_no_argument_is_interpreted() {
        let job = described(&key(), &run(&image()), &settings()).unwrap();
        assert!(!job.to_string().contains("hf_secret") && !job.to_string().contains("HF_TOKEN"));
        let secret = secret(&key(), &run(&image()), &settings()).unwrap();
        assert_eq!(secret.string_data.unwrap()["HF_TOKEN"], "hf_secret");
        let train = &job["spec"]["template"]["spec"]["containers"][0];
        let order = train["command"][2].as_str().unwrap();
        assert!(order.contains("$$(HOME)") && !order.replace("$$", "").contains('$'), "{order}");
    }

    #[test]
    fn a_pod_may_as_little_as_a_run_needs() {
        let job = described(&key(), &run(&image()), &settings()).unwrap();
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        for container in [&pod["containers"][0], &pod["initContainers"][0]] {
            assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
            assert_eq!(container["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
        }
        let train = &pod["containers"][0];
        assert_eq!(train["resources"]["limits"], json!({ "memory": "64Gi", "nvidia.com/gpu": "4" }));
        let (own, before) = (key().to_string(), RunKey { attempt: 1, ..key() }.to_string());
        let runs: Vec<_> = train["volumeMounts"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|mount| mount["name"] == "runs")
            .collect();
        assert_eq!((&runs[0]["subPath"], &runs[0]["readOnly"]), (&json!(own), &Value::Null));
        assert_eq!((&runs[1]["subPath"], &runs[1]["readOnly"]), (&json!(before), &json!(true)));
        assert_eq!(runs.len(), 2);
    }

    #[test]
    fn what_cannot_run_is_refused_with_what_would_be_right() {
        let with = |change: fn(&mut RunSpec)| {
            let mut run = run(&image());
            change(&mut run);
            let refused = secret(&key(), &run, &settings()).map(drop);
            refused.and_then(|()| job(&key(), &run, &settings()).map(drop)).unwrap_err().to_string()
        };
        for (told, expected) in [
            (with(|run| run.argv.clear()), "the command is empty"),
            (with(|run| run.shape.image = None), "no image"),
            (with(|run| run.shape.image = Some("x:latest".into())), "`x:latest` has no digest"),
            (with(|run| run.shape.nodes = 2.try_into().unwrap()), "several nodes"),
            (with(|run| drop(run.env.insert("A B".into(), String::new()))), "`A B`"),
            (with(|run| drop(run.env.insert("A".into(), "x".repeat(2 << 20)))), "bytes"),
        ] {
            assert!(told.contains(expected), "{expected} in {told}");
        }
    }

    #[test]
    fn a_run_for_the_longest_time_has_no_deadline_that_overflows() {
        let longest = RunSpec { grace: Duration::MAX, timeout: Some(Duration::MAX), ..run(&image()) };
        assert!(job(&key(), &longest, &settings()).is_ok());
    }
}
