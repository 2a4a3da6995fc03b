//! A pod that checks its commit out itself: the program of its container, run for real against a git server by https, and
//! whole pods on a cluster that is *simulated*.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

#[expect(dead_code, reason = "other tests need the rest of it")]
mod cluster;
#[expect(dead_code, reason = "other tests need the rest of it")]
mod git_server;
#[expect(dead_code, reason = "other tests need the rest of it")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cluster::{Cluster, Kind};
use git_server::{AUTHORITY, GitServer, PASSWORD, USER, Way};
use serde_json::{Value, json};
use swifthook_core::{
    Checkout, CommitSha, Exit, JobId, Problem, RepoName, RunKey, RunSpec, TrainingLauncher,
};
use swifthook_launch::{KubernetesLauncher, KubernetesSettings, PodCheckout, Tools};

/// A repository that somebody pushes to, and the folders that a pod has.
struct World {
    dir: tempfile::TempDir,
}

/// What became of a checkout.
#[derive(Debug)]
struct Outcome {
    code: Option<i32>,
    told: String,
    said: String,
}

impl World {
    fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir_all(world.origin()).unwrap();
        fs::create_dir_all(world.place()).unwrap();
        world.git(&["init", "-q", "-b", "main"]);
        world.shows(&[("username", USER), ("password", PASSWORD), ("ca.crt", AUTHORITY)]);
        world
    }

    fn origin(&self) -> PathBuf {
        self.dir.path().join("root/models")
    }

    fn place(&self) -> PathBuf {
        self.dir.path().join("code")
    }

    fn tree(&self) -> PathBuf {
        self.place().join("tree")
    }

    fn secret(&self) -> PathBuf {
        self.dir.path().join("secret")
    }

    fn told(&self) -> PathBuf {
        self.dir.path().join("told")
    }

    /// What is in the Secret, as it is mounted.
    fn shows(&self, files: &[(&str, &str)]) {
        let _ = fs::remove_dir_all(self.secret());
        fs::create_dir(self.secret()).unwrap();
        for (name, text) in files {
            let file = self.secret().join(name);
            // As `kubectl create secret --from-file` has it of most files.
            fs::write(&file, format!("{text}\n")).unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o400)).unwrap();
        }
    }

    fn git(&self, arguments: &[&str]) -> String {
        git_in(&self.origin(), arguments)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.origin().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn commit(&self) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "."]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn serve(&self, way: Way) -> GitServer {
        GitServer::start(&self.dir.path().join("root"), way)
    }

    fn order(&self, url: &str, commit: &str) -> Value {
        json!({
            "repository": "acme/models", "url": url, "ref_name": { "branch": "main" }, "commit": commit, "lfs": false,
            "submodules": [], "secret": self.secret(), "place": self.place(), "told": self.told(), "pauses": [],
        })
    }

    fn check_out(&self, url: &str, commit: &str) -> Outcome {
        self.carry_out(&self.order(url, commit), std::env::var("PATH").unwrap())
    }

    fn carry_out(&self, order: &Value, path: String) -> Outcome {
        let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_swifthook-supervise"))
            .args(["__swifthook_check_out", &order.to_string()])
            .env_clear()
            .envs([("PATH", path.as_str()), ("HOME", self.dir.path().to_str().unwrap())])
            .output()
            .unwrap();
        Outcome {
            code: status.code(),
            told: fs::read_to_string(self.told()).unwrap_or_default(),
            said: String::from_utf8([stdout, stderr].concat()).unwrap(),
        }
    }
}

fn git_in(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .args(["-c", "user.name=x", "-c", "user.email=x@x"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The files under a folder that hold a text.
fn files_with(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_with(&path, text));
        } else if String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).contains(text) {
            found.push(path);
        }
    }
    found
}

#[test]
fn exactly_the_commit_is_fetched_and_the_password_is_seen_nowhere() {
    for way in [Way::Serves, Way::OldProtocol] {
        let world = World::new();
        world.write("train.py", "first");
        let first = world.commit();
        world.write("train.py", "second");
        let second = world.commit();
        world.write("train.py", "third");
        world.commit();
        let server = world.serve(way.clone());
        let outcome = world.check_out(&server.url("models"), &second);
        assert_eq!((outcome.code, &*outcome.told), (Some(0), ""), "{way:?}: {outcome:?}");
        assert_eq!(git_in(&world.tree(), &["rev-parse", "HEAD"]), second);
        assert_eq!(git_in(&world.tree(), &["status", "--porcelain"]), "");
        assert_eq!(fs::read_to_string(world.tree().join("train.py")).unwrap(), "second");
        let seen = server.seen();
        assert!(seen.let_in > 0, "{seen:?}");
        assert_eq!(seen.shown_by, Vec::<PathBuf>::new());
        for form in [PASSWORD.to_owned(), STANDARD.encode(format!("{USER}:{PASSWORD}"))] {
            assert_eq!(files_with(&world.place(), &form), Vec::<PathBuf>::new());
            assert!(!outcome.said.contains(&form), "{outcome:?}");
        }
        if way == Way::Serves {
            // By its hash, without its past.
            assert_eq!(git_in(&world.tree(), &["rev-list", "--count", "HEAD"]), "1");
        }
        // As when the pod is made anew.
        let again = world.check_out(&server.url("models"), &first);
        assert_eq!(again.code, Some(0), "{again:?}");
        assert_eq!(fs::read_to_string(world.tree().join("train.py")).unwrap(), "first");
    }
}

#[test]
fn what_cannot_be_had_another_time_either_is_told_from_what_may_be() {
    let world = World::new();
    let commit = world.commit();
    let server = world.serve(Way::Serves);
    let url = server.url("models");
    let gone = world.check_out(&url, &"b".repeat(40));
    assert_eq!(gone.code, Some(78), "{gone:?}");
    assert!(gone.told.contains("is gone from"), "{gone:?}");
    let no_repository = world.check_out(&server.url("other"), &commit);
    assert_eq!(no_repository.code, Some(78), "{no_repository:?}");
    assert!(no_repository.told.contains("or has no such repository"), "{no_repository:?}");

    world.shows(&[("username", USER), ("password", "wrong"), ("ca.crt", AUTHORITY)]);
    let refused = world.check_out(&url, &commit);
    assert_eq!(refused.code, Some(78), "{refused:?}");
    assert!(refused.told.contains("does not let us in") && !refused.told.contains("wrong"), "{refused:?}");
    world.shows(&[("ca.crt", AUTHORITY)]);
    let without = world.check_out(&url, &commit);
    assert_eq!(without.code, Some(78), "{without:?}");
    world.shows(&[("username", USER), ("password", PASSWORD)]);
    let unknown = world.check_out(&url, &commit);
    assert_eq!(unknown.code, Some(1), "a certificate from nobody known: {unknown:?}");
    assert!(unknown.told.contains("certificate"), "{unknown:?}");

    world.shows(&[("username", USER), ("password", PASSWORD), ("ca.crt", AUTHORITY)]);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (url, status) in
        [(format!("https://{closed}/models"), ""), (world.serve(Way::Fails(503)).url("models"), "503")]
    {
        let mut order = world.order(&url, &commit);
        order["pauses"] = json!([1, 1]);
        let away = world.carry_out(&order, std::env::var("PATH").unwrap());
        assert_eq!(away.code, Some(1), "{away:?}");
        assert_eq!(away.said.matches("trying again").count(), 2, "{away:?}");
        assert!(away.told.starts_with("cannot fetch: ") && away.told.contains(status), "{away:?}");
    }
    let nowhere = world.carry_out(&world.order(&url, &commit), "/nowhere".into());
    assert_eq!(nowhere.code, Some(78), "{nowhere:?}");
    assert!(nowhere.told.contains("has no git"), "{nowhere:?}");
}

#[test]
fn a_server_that_sends_elsewhere_does_not_bring_the_password_there() {
    let world = World::new();
    let commit = world.commit();
    let elsewhere = world.serve(Way::Serves);
    let sends = world.serve(Way::Redirects(elsewhere.url("").trim_end_matches('/').to_owned()));
    let outcome = world.check_out(&sends.url("models"), &commit);
    assert_eq!(outcome.code, Some(78), "{outcome:?}");
    assert!(outcome.told.contains("has moved to") && outcome.told.contains("another server"), "{outcome:?}");
    assert_eq!(elsewhere.seen().requests, 0, "{:?}", elsewhere.seen());
    // It is told where it belongs.
    assert_eq!(world.check_out(&elsewhere.url("models"), &commit).code, Some(0));
    assert!(elsewhere.seen().with_password > 0);
}

#[test]
fn a_hostile_repository_runs_nothing_and_reaches_nothing() {
    let world = World::new();
    let pwned = world.dir.path().join("pwned");
    let script = format!("touch {}", pwned.display());
    world.write(".gitattributes", "* filter=x diff=x merge=x\n*.bin filter=lfs\n");
    world.write("a.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
    world.write(".lfsconfig", "[lfs]\n\turl = https://127.0.0.1:1/\n");
    world.write(
        ".gitmodules",
        &format!("[submodule \"x\"]\n\tpath = x\n\turl = ext::sh -c '{script}'\n\tupdate = !{script}\n"),
    );
    world.write(".githooks/post-checkout", &format!("#!/bin/sh\n{script}\n"));
    symlink("/etc/passwd", world.origin().join("config.yaml")).unwrap();
    symlink(world.dir.path(), world.origin().join("outside")).unwrap();
    let commit = world.commit();
    let server = world.serve(Way::Serves);
    let outcome = world.check_out(&server.url("models"), &commit);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(!pwned.exists());
    assert!(fs::symlink_metadata(world.tree().join("config.yaml")).unwrap().is_symlink(), "as it was pushed");
    let config = fs::read_to_string(world.tree().join(".git/config")).unwrap();
    assert!(
        !config.contains("http") && !config.contains("hooks") && !config.contains("credential"),
        "{config}"
    );
    // Asked for, its submodule is refused as ever.
    world.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},x")]);
    world.git(&["commit", "-q", "-m", "."]);
    let with_module = world.git(&["rev-parse", "HEAD"]);
    let mut order = world.order(&server.url("models"), &with_module);
    order["submodules"] = json!(["git.example"]);
    let refused = world.carry_out(&order, std::env::var("PATH").unwrap());
    assert_eq!(refused.code, Some(78), "{refused:?}");
    assert!(refused.told.contains("the submodule at `x` is refused"), "{refused:?}");
    assert!(!pwned.exists());
}

/// `ssh` is a script here: it notes how it was called, and runs on this machine what it is told to run elsewhere.
#[test]
fn by_ssh_the_key_and_the_known_hosts_of_the_secret_count() {
    let world = World::new();
    world.write("train.py", "1");
    let commit = world.commit();
    world.shows(&[("ssh-privatekey", "a key"), ("known_hosts", "a host")]);
    let called = world.dir.path().join("called");
    let programs = world.dir.path().join("programs");
    fs::create_dir(&programs).unwrap();
    let as_ssh = |does: &str| {
        let text = format!("#!/bin/sh\necho \"$@\" >>{}\nfor last; do :; done\n{does}\n", called.display());
        fs::write(programs.join("ssh"), text).unwrap();
        fs::set_permissions(programs.join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
        let url = format!("ssh://git@git.example{}", world.origin().display());
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        world.carry_out(&world.order(&url, &commit), path)
    };
    let outcome = as_ssh("exec sh -c \"$last\"");
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let options = fs::read_to_string(&called).unwrap();
    let secret = world.secret();
    for option in [
        "-o BatchMode=yes".to_owned(),
        format!("-o IdentitiesOnly=yes -i {}", secret.join("ssh-privatekey").display()),
        format!(
            "-o StrictHostKeyChecking=yes -o UserKnownHostsFile={}",
            secret.join("known_hosts").display()
        ),
    ] {
        assert!(options.contains(&option), "{option} in {options}");
    }
    for (does, code, told) in [
        ("echo 'git@git.example: Permission denied (publickey).' >&2; exit 255", 78, "does not let us in"),
        ("echo 'Host key verification failed.' >&2; exit 255", 78, "has to stand in `known_hosts`"),
        ("echo 'No user exists for uid 1000' >&2; exit 255", 78, "an entry in `/etc/passwd`"),
        ("echo 'ssh: connect to host git.example port 22: Connection refused' >&2; exit 255", 1, "refused"),
    ] {
        fs::remove_dir_all(world.place()).unwrap();
        let outcome = as_ssh(does);
        assert_eq!(outcome.code, Some(code), "{outcome:?}");
        assert!(outcome.told.contains(told), "{told} in {outcome:?}");
    }
}

/// A launcher on a simulated cluster whose pods check out from `server`.
struct Site {
    world: World,
    server: GitServer,
    cluster: Cluster,
    launcher: KubernetesLauncher,
}

impl Site {
    fn new(claim: Option<&str>) -> Self {
        let world = World::new();
        let server = world.serve(Way::Serves);
        let cluster = Cluster::with_a_node(&world.dir.path().join("pods"));
        let repository = RepoName::new("acme/models").unwrap();
        let settings = KubernetesSettings {
            claim: claim.map(Into::into),
            image: Some(format!("simulated@sha256:{}", "0".repeat(64))),
            tools: Tools {
                image: "simulated".into(),
                program: env!("CARGO_BIN_EXE_swifthook-supervise").into(),
            },
            checkout: Some(PodCheckout {
                secret: Some("git-credentials".into()),
                repositories: BTreeMap::from([(repository, server.url("models").into())]),
                ..PodCheckout::default()
            }),
            ..KubernetesSettings::default()
        };
        let runs = world.dir.path().join("runs");
        let launcher = KubernetesLauncher::new(cluster.client(), runs, settings).unwrap();
        Self { world, server, cluster, launcher }
    }

    fn make_secret(&self, password: &str) {
        let data = [("username", USER), ("password", password), ("ca.crt", AUTHORITY)];
        let data: BTreeMap<_, _> = data.map(|(key, text)| (key, STANDARD.encode(text))).into();
        let secret = json!({
            "metadata": { "name": "git-credentials" }, "type": "kubernetes.io/basic-auth", "data": data,
        });
        self.cluster.change(|store| store.create(Kind::Secret, secret).map(drop)).unwrap();
    }

    fn run(&self, key: &RunKey, commit: &str, text: &str) -> RunSpec {
        let runs = self.world.dir.path().join("runs");
        let run = support::script(&runs, key, text);
        let mut job = (*run.job).clone();
        job.change.head = CommitSha::parse(commit).unwrap().unwrap();
        let env = BTreeMap::from([("PATH".to_owned(), std::env::var("PATH").unwrap())]);
        RunSpec { job: Arc::new(job), env, checkout: Some(Checkout::default()), ..run }
    }

    async fn end_of(&self, key: &RunKey, commit: &str, text: &str) -> Exit {
        let handle = self.launcher.submit(key, &self.run(key, commit, text)).await.unwrap();
        support::ended(&self.launcher, &handle).await
    }

    fn log(&self, key: &RunKey) -> String {
        let log = self.world.dir.path().join("runs").join(key.to_string()).join("log");
        fs::read_to_string(log).unwrap_or_default()
    }

    /// The pod of the only run.
    fn pod(&self) -> Value {
        self.cluster.objects(Kind::Pod).pop().unwrap()
    }
}

fn key() -> RunKey {
    RunKey { job: JobId([3; 16]), attempt: 1 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_finds_the_commit_that_its_pod_has_checked_out() {
    for claim in [Some("runs"), None] {
        let site = Site::new(claim);
        site.make_secret(PASSWORD);
        site.world.write("train.py", "this one");
        let commit = site.world.commit();
        site.world.write("train.py", "a later one");
        site.world.commit();
        let text = "cat train.py; echo; git rev-parse HEAD; env";
        let exit = site.end_of(&key(), &commit, text).await;
        let log = site.log(&key());
        assert!(exit.is_success(), "{exit:?}: {log}");
        assert!(log.starts_with(&format!("this one\n{commit}\n")), "{log}");
        assert!(!log.contains(PASSWORD) && !log.contains("git-credentials"), "{log}");
        let seen = site.server.seen();
        assert!(seen.let_in > 0 && seen.shown_by.is_empty(), "{seen:?}");
        let pod = site.pod();
        let codes: Vec<_> = pod["status"]["initContainerStatuses"].as_array().unwrap().iter().collect();
        let codes: Vec<_> = codes
            .iter()
            .map(|status| (status["name"].as_str().unwrap(), &status["state"]["terminated"]["exitCode"]))
            .collect();
        assert_eq!(codes, [("prepare", &json!(0)), ("checkout", &json!(0))]);
        let jobs = json!(site.cluster.objects(Kind::Job)).to_string();
        assert!(!jobs.contains(PASSWORD) && !jobs.contains(&STANDARD.encode(PASSWORD)));
        let tree = site.world.dir.path().join("runs").join(key().to_string()).join("tree");
        assert!(!tree.exists(), "nothing of it is on the claim");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_run_has_no_commit_is_told_and_whether_it_may_have_it_another_time() {
    let site = Site::new(Some("runs"));
    let commit = site.world.commit();
    let run = site.run(&key(), &commit, "true");
    let missing = site.launcher.submit(&key(), &run).await.unwrap_err();
    assert!(!missing.is_permanent(), "somebody may make it: {missing}");
    assert_eq!(
        missing.to_string(),
        "the namespace `default` has no Secret `git-credentials`, which `checkout` of the launcher names"
    );
    assert_eq!(site.launcher.find(&key()).await.unwrap(), None);
    site.make_secret("not this one");
    let exit = site.end_of(&key(), &commit, "true").await;
    let message = exit.message.as_deref().unwrap();
    assert!(exit.refused && exit.code.is_none(), "{exit:?}");
    assert!(
        message.starts_with("it never began: cannot fetch: ") && message.contains("does not let us in"),
        "{message}"
    );
    let checkout = &site.pod()["status"]["initContainerStatuses"][1];
    assert_eq!(checkout["state"]["terminated"]["exitCode"], 78);
    assert_eq!(site.log(&key()), "", "it never began");
}
