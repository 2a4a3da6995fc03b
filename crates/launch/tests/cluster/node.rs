//! A node: it takes every pod, and runs its containers as processes of this machine.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Weak};
use std::time::Duration;

use base64::Engine as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::store::Kind;
use super::{Inner, now};

/// Goes on for as long as the cluster is there.
pub(super) async fn run(cluster: Weak<Inner>) {
    let Some(mut changed) = cluster.upgrade().map(|cluster| cluster.changed.subscribe()) else { return };
    let mut taken = HashSet::new();
    loop {
        let Some(cluster) = cluster.upgrade() else { return };
        let pods: Vec<Value> = cluster.store().all(Kind::Pod).cloned().collect();
        for pod in pods {
            let uid = text(&pod["metadata"]["uid"]).to_owned();
            let is_wanted =
                pod["status"]["phase"] == "Pending" && pod["metadata"]["deletionTimestamp"].is_null();
            if is_wanted && taken.insert(uid.clone()) {
                let pod =
                    Pod { cluster: cluster.clone(), name: text(&pod["metadata"]["name"]).to_owned(), uid };
                tokio::spawn(pod.run());
            }
        }
        drop(cluster);
        if changed.changed().await.is_err() {
            return;
        }
    }
}

struct Pod {
    cluster: Arc<Inner>,
    name: String,
    uid: String,
}

/// How a container ended.
struct End {
    code: i32,
    reason: &'static str,
    message: String,
    began: String,
}

impl Pod {
    async fn run(self) {
        let bound = self.cluster.change(|store| {
            store.merge(Kind::Pod, &self.name, &json!({ "spec": { "nodeName": "simulated" } }))
        });
        let Ok(pod) = bound else { return };
        for container in list(&pod["spec"]["initContainers"]) {
            let end = self.container(&pod, container, "initContainerStatuses").await;
            if end.is_none_or(|end| end.code != 0) {
                return self.finish("Failed");
            }
        }
        let train = &pod["spec"]["containers"][0];
        let end = self.container(&pod, train, "containerStatuses").await;
        self.finish(if end.is_some_and(|end| end.code == 0) { "Succeeded" } else { "Failed" });
    }

    fn finish(&self, phase: &str) {
        self.cluster.change(|store| {
            let _ = store.merge(Kind::Pod, &self.name, &json!({ "status": { "phase": phase } }));
            store.remove_if_due(Kind::Pod, &self.name);
        });
    }

    /// Runs one container to its end; `None` if it is not to begin.
    async fn container(&self, pod: &Value, container: &Value, statuses: &str) -> Option<End> {
        let began = now();
        let world = loop {
            let current = self.current()?;
            if !current["metadata"]["deletionTimestamp"].is_null() {
                return None;
            }
            match self.world(pod, container) {
                Ok(world) => break world,
                Err(lacks) => {
                    let waiting =
                        json!({ "waiting": { "reason": "CreateContainerConfigError", "message": lacks } });
                    self.tell(container, statuses, waiting);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        };
        let is_train = statuses == "containerStatuses";
        let end = match world.start() {
            Ok((child, output)) => {
                let log =
                    self.cluster.logs.begin(&format!("{}{}", self.uid, if is_train { "" } else { "-init" }));
                let reading = std::thread::spawn({
                    let log = log.clone();
                    move || read_all(output, &log)
                });
                self.tell(container, statuses, json!({ "running": { "startedAt": began } }));
                let status = self.wait(child, &world).await;
                let _ = tokio::task::spawn_blocking(move || reading.join()).await;
                log.end();
                let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
                let mut message = fs::read_to_string(&world.told).unwrap_or_default();
                if message.is_empty()
                    && code != 0
                    && container["terminationMessagePolicy"] == "FallbackToLogsOnError"
                {
                    message = log.text();
                }
                End { code, reason: if code == 0 { "Completed" } else { "Error" }, message, began }
            }
            Err(error) => End { code: 128, reason: "StartError", message: error.to_string(), began },
        };
        self.tell(container, statuses, json!({ "terminated": {
            "exitCode": end.code, "reason": end.reason, "message": end.message, "startedAt": end.began, "finishedAt": now(),
        } }));
        Some(end)
    }

    async fn wait(&self, mut child: Child, world: &World) -> ExitStatus {
        let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).expect("it was just started");
        let mut changed = self.cluster.changed.subscribe();
        let mut kill_at: Option<Instant> = None;
        loop {
            if let Some(pod) = self.current() {
                world.write_annotations(&pod);
                if let Some(grace) = pod["metadata"]["deletionGracePeriodSeconds"].as_u64() {
                    let at = Instant::now() + Duration::from_secs(grace);
                    if kill_at.is_none() && hears(pid, Signal::TERM) {
                        let _ = kill_process(pid, Signal::TERM);
                    }
                    kill_at = Some(kill_at.map_or(at, |before| before.min(at)));
                }
            }
            let killing = async {
                match kill_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                status = child.wait() => return status.expect("a child can be waited for"),
                () = killing => kill_all(pid),
                _ = changed.changed() => {}
            }
        }
    }

    fn current(&self) -> Option<Value> {
        let store = self.cluster.store();
        store.get(Kind::Pod, &self.name).filter(|pod| pod["metadata"]["uid"] == self.uid).cloned()
    }

    fn tell(&self, container: &Value, statuses: &str, state: Value) {
        self.cluster.change(|store| {
            let Some(mut pod) = store.get(Kind::Pod, &self.name).cloned() else { return };
            let phase = if statuses == "containerStatuses" && !state["waiting"].is_object() { "Running" } else { "Pending" };
            pod["status"]["phase"] = json!(phase);
            let mut all: Vec<Value> = list(&pod["status"][statuses]).cloned().collect();
            all.retain(|status| status["name"] != container["name"]);
            all.push(json!({
                "name": container["name"], "state": state, "image": container["image"], "imageID": "", "ready": false,
                "restartCount": 0,
            }));
            pod["status"][statuses] = json!(all);
            let _ = store.replace(Kind::Pod, &self.name, pod);
        });
    }

    /// Everything that the container finds, or what it lacks.
    fn world(&self, pod: &Value, container: &Value) -> Result<World, String> {
        let disk = self.cluster.disk.join(&self.uid);
        let told = disk.join(format!("told-{}", text(&container["name"])));
        let mut paths = vec![(TOLD.to_owned(), told.clone())];
        let mut annotations = Vec::new();
        for mount in list(&container["volumeMounts"]) {
            let name = text(&mount["name"]);
            let volume = list(&pod["spec"]["volumes"])
                .find(|volume| volume["name"] == name)
                .ok_or("no such volume")?;
            let host = disk.join(name);
            if !volume["persistentVolumeClaim"].is_null() {
                // A claim is this machine's disk, with the same paths.
                continue;
            }
            fs::create_dir_all(&host).map_err(|error| error.to_string())?;
            for item in list(&volume["downwardAPI"]["items"]) {
                let field = text(&item["fieldRef"]["fieldPath"]);
                let annotation =
                    field.strip_prefix("metadata.annotations['").and_then(|rest| rest.strip_suffix("']"));
                annotations
                    .push((annotation.ok_or("only annotations")?.to_owned(), host.join(text(&item["path"]))));
            }
            if let Some(secret) = volume["secret"]["secretName"].as_str() {
                self.put_secret(secret, &host, &volume["secret"]["defaultMode"])?;
            }
            let place = mount["subPath"].as_str().map_or(host.clone(), |part| host.join(part));
            paths.push((text(&mount["mountPath"]).to_owned(), place));
        }
        paths.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        let mut env = BTreeMap::from([
            ("KUBERNETES_SERVICE_HOST".to_owned(), "10.0.0.1".to_owned()),
            ("HOSTNAME".to_owned(), self.name.clone()),
        ]);
        for source in list(&container["envFrom"]) {
            env.extend(self.secret(text(&source["secretRef"]["name"]))?);
        }
        for variable in list(&container["env"]) {
            env.insert(text(&variable["name"]).to_owned(), expanded(text(&variable["value"]), &env));
        }
        let command = list(&container["command"]).chain(list(&container["args"]));
        let command = command.map(|part| placed(&expanded(text(part), &env), &paths)).collect();
        let env = env.iter().map(|(name, value)| (name.clone(), placed(value, &paths))).collect();
        Ok(World { command, env, annotations, told })
    }

    /// As files, which belong to whoever the containers are.
    fn put_secret(&self, name: &str, folder: &Path, mode: &Value) -> Result<(), String> {
        let mode = u32::try_from(mode.as_u64().unwrap_or(0o644)).expect("it is a mode");
        for (key, value) in self.secret(name)? {
            let file = folder.join(key);
            let _ = fs::remove_file(&file);
            fs::write(&file, value).map_err(|error| error.to_string())?;
            fs::set_permissions(file, fs::Permissions::from_mode(mode)).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn secret(&self, name: &str) -> Result<BTreeMap<String, String>, String> {
        let store = self.cluster.store();
        let secret = store.get(Kind::Secret, name).ok_or_else(|| format!("secret \"{name}\" not found"))?;
        let data = secret["data"].as_object().into_iter().flatten();
        let read = |value: &Value| {
            let bytes =
                base64::engine::general_purpose::STANDARD.decode(text(value)).expect("it was encoded here");
            String::from_utf8(bytes).expect("it is text")
        };
        Ok(data.map(|(name, value)| (name.clone(), read(value))).collect())
    }
}

/// What a container is started in.
struct World {
    command: Vec<String>,
    env: BTreeMap<String, String>,
    annotations: Vec<(String, PathBuf)>,
    told: PathBuf,
}

impl World {
    fn start(&self) -> std::io::Result<(Child, std::io::PipeReader)> {
        let (output, input) = std::io::pipe()?;
        self.told.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(&self.told, "")?;
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).env_clear().envs(&self.env).stdin(Stdio::null());
        command.stdout(input.try_clone()?).stderr(input);
        Ok((command.spawn()?, output))
    }

    fn write_annotations(&self, pod: &Value) {
        for (annotation, path) in &self.annotations {
            let unfinished = path.with_extension("new");
            let value = text(&pod["metadata"]["annotations"][annotation.as_str()]);
            if fs::read_to_string(path).ok().as_deref() != Some(value) {
                let _ = fs::write(&unfinished, value).and_then(|()| fs::rename(&unfinished, path));
            }
        }
    }
}

/// Whether a signal does anything to the first process of a container: one that it has not asked for does not reach it
/// (<https://man7.org/linux/man-pages/man7/pid_namespaces.7.html>).
fn hears(first: Pid, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", first.as_raw_pid())).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    caught & (1 << (signal.as_raw() - 1)) != 0
}

/// All of a container ends with its first process: here, all that descends from it.
fn kill_all(first: Pid) {
    let _ = kill_process(first, Signal::STOP);
    loop {
        let below = descendants(first.as_raw_pid());
        if below.is_empty() {
            break;
        }
        for pid in below {
            let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
        }
        std::thread::yield_now();
    }
    let _ = kill_process(first, Signal::KILL);
}

fn descendants(of: i32) -> Vec<i32> {
    let parents: Vec<(i32, i32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let mut fields = stat.rsplit_once(") ")?.1.split(' ');
            let is_dead = fields.next()? == "Z";
            (!is_dead).then_some((pid, fields.next()?.parse().ok()?))
        })
        .collect();
    let mut found = HashSet::from([of]);
    while let Some((pid, _)) =
        parents.iter().find(|(pid, parent)| found.contains(parent) && !found.contains(pid))
    {
        found.insert(*pid);
    }
    found.into_iter().filter(|pid| *pid != of).collect()
}

fn read_all(mut output: std::io::PipeReader, log: &super::logs::Log) {
    let mut piece = vec![0; 4096];
    while let Ok(count @ 1..) = output.read(&mut piece) {
        log.write(&piece[..count]);
    }
}

/// `$(NAME)` is replaced where there is such a variable, and `$$` is one `$`.
fn expanded(text: &str, env: &BTreeMap<String, String>) -> String {
    let (mut rest, mut out) = (text, String::new());
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let name = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')).map(|(name, _)| name);
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, value)) = name.and_then(|name| Some((name, env.get(name)?))) {
            out.push_str(value);
            rest = &rest[name.len() + 2..];
        } else {
            out.push('$');
        }
    }
    out + rest
}

/// With the paths of mounts replaced by those of this machine, where they are whole.
fn placed(text: &str, paths: &[(String, PathBuf)]) -> String {
    let is_of_a_name = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let found = paths.iter().find(|(path, _)| {
            rest.strip_prefix(path.as_str()).is_some_and(|after| !after.starts_with(is_of_a_name))
        });
        match found.filter(|_| !out.ends_with(is_of_a_name)) {
            Some((path, host)) => {
                out.push_str(host.to_str().expect("it is text"));
                rest = &rest[path.len()..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

const TOLD: &str = "/dev/termination-log";
