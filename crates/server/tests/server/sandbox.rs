//! Runs in a sandbox, whoever starts them: a hostile one looks for everything that it must not have.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::world::{Running, World, appears, job_of, until};

const MARK: &str = "hunter2-of-the-test";
/// Some user whom the machine need not know.
const USER: u32 = 61_234;

/// The user that starts the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Root,
    User,
}

impl By {
    /// Those that can be tried by whoever runs the tests.
    fn all() -> Vec<Self> {
        if rustix::process::geteuid().is_root() { vec![Self::Root, Self::User] } else { vec![Self::User] }
    }
}

/// A world with secrets wherever somebody may have some, and what lies outside of it.
struct Hostile {
    world: World,
    outside: Vec<PathBuf>,
    name: String,
    commit: String,
    _socket: Option<UnixListener>,
}

impl Hostile {
    fn new(by: By, isolation: &str, more: &str) -> Self {
        let mut world = World::new("");
        let name = format!("swifthook-test-{}-{:?}", std::process::id(), std::thread::current().id());
        let name = name.replace(['(', ')'], "");
        let daemon = 40_000 + std::process::id() % 10_000;
        let at = |name: &str| world.path(name);
        let secrets = [
            ".cache/huggingface/token",
            ".huggingface/token",
            ".bash_history",
            ".ssh/id_ed25519",
            ".netrc",
            ".modelscope/credentials/session",
            "cache/private",
            "cache/token",
            "elsewhere/secret",
            "data/x",
        ];
        for file in secrets {
            fs::create_dir_all(at(file).parent().unwrap()).unwrap();
            fs::write(at(file), format!("{MARK}\n")).unwrap();
        }
        // A secret behind a link with an absolute target, and one that is not there at all.
        symlink(at("elsewhere/secret"), at("link")).unwrap();
        world.configure(&format!(
            "run = {{ command = [\"sh\", \"hostile.sh\"] }}\n\
             retry = {{ attempts = 1 }}\n\
             isolation = {{ bubblewrap = true, caches = [\"{cache}\"]{isolation} }}\n\
             env = {{ WORLD = \"{world}\", OUTSIDE = \"{name}\", DAEMON = \"{daemon}\", SECRET_LINK = \"{link}\", \
             A = \"file:link\", B = \"file:cache/private\", SERVER = \"file:server\", MARK = \"file:mark\" }}\n{more}",
            cache = at("cache").display(),
            world = at("").display().to_string().trim_end_matches('/'),
            link = at("link").display(),
        ));
        fs::write(at("mark"), MARK).unwrap();
        fs::write(at("server"), "1\n").unwrap();
        let commit = world.commit("hostile.sh", include_str!("hostile.sh"));
        let mut outside =
            ["/dev/shm", "/tmp", "/var/tmp"].map(|folder| Path::new(folder).join(&name)).to_vec();
        outside.iter().for_each(|file| fs::write(file, MARK).unwrap());
        let socket = Path::new("/run").join(&name);
        let listener = UnixListener::bind(&socket).ok();
        outside.push(socket);
        fs::set_permissions(at(""), fs::Permissions::from_mode(0o755)).unwrap();
        match by {
            By::User if rustix::process::geteuid().is_root() => world.give_to(USER),
            By::User => {}
            // Its users have to get there, and each has a cache of its own.
            By::Root => {
                fs::set_permissions(at("cache"), fs::Permissions::from_mode(0o777)).unwrap();
            }
        }
        Self { world, outside, name, commit, _socket: listener }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.world.path(name)
    }

    fn run(&self, server: &Running) -> (String, PathBuf) {
        fs::write(self.at("server"), server.pid().to_string()).unwrap();
        let id = job_of(&server.deliver(&self.world.push(&self.commit, &self.commit, &["hostile.sh"])));
        let run = self.at(&format!("swifthook-state/runs/{id}-1"));
        let is_up = until(|| (run.join("output/up").exists() || is_over(server, &id)).then_some(()));
        assert!(
            is_up.is_some() && run.join("output/up").exists(),
            "{:#}\n{}",
            server.job(&id),
            self.told(&run)
        );
        (id, run)
    }

    fn told(&self, run: &Path) -> String {
        fs::read_to_string(run.join("log")).unwrap_or_default() + &self.world.server_log()
    }

    fn cancel(&self, server: &Running, id: &str) -> Value {
        let path = format!("/api/v1/jobs/{id}/cancel");
        let asked: Value = serde_json::from_str(&server.call("POST", &path, "").1).unwrap();
        let confirm = json!({ "confirm": asked["confirm"] }).to_string();
        assert_eq!(server.call("POST", &path, &confirm).0, 200);
        server.wait_for(id, &["cancelled", "failed", "succeeded"])
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        for file in &self.outside {
            let _ = fs::remove_file(file);
        }
    }
}

fn is_over(server: &Running, id: &str) -> bool {
    ["failed", "succeeded", "held", "cancelled"].contains(&server.job(id)["state"].as_str().unwrap())
}

fn daemons() -> Vec<String> {
    let wanted = format!("sleep\0{}\0", 40_000 + std::process::id() % 10_000);
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let of = processes
        .filter(|one| fs::read_to_string(one.path().join("cmdline")).is_ok_and(|line| line == wanted));
    of.map(|one| one.path().display().to_string()).collect()
}

/// Nothing was found, and the search came to its end.
fn assert_without_a_hole(log: &str) {
    let holes: Vec<_> = log.lines().filter(|line| line.starts_with("HOLE")).collect();
    assert!(holes.is_empty(), "{holes:#?}\n{log}");
    for told in [
        "end of the search",
        "has names",
        "has shared memory",
        "writes",
        "has a cache",
        "has a home",
        "again",
    ] {
        assert!(log.lines().any(|line| line == told), "no `{told}` in {log}");
    }
    assert!(!log.contains("\nchanged "), "{log}");
    for name in ["user", "pid", "ipc", "uts", "mnt", "cgroup"] {
        let ours = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        let its = log.lines().find(|line| line.starts_with(&format!("namespace {name}:")));
        assert!(its.is_some_and(|its| its != format!("namespace {}", ours.display())), "{name} in {log}");
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn a_hostile_run_finds_nothing_whoever_starts_it_and_has_what_it_needs() {
    for by in By::all() {
        let hostile = Hostile::new(by, "", "");
        let server = hostile.world.serve();
        let (id, run) = hostile.run(&server);
        // Its end is that of any other: the command is asked, and so is its child, which saves after it.
        let job = hostile.cancel(&server, &id);
        let log = hostile.told(&run);
        assert_without_a_hole(&log);
        assert!(log.contains("\npast 2\n"), "{log}");
        assert_eq!((&job["state"], &job["exit"]["code"]), (&json!("cancelled"), &json!(7)), "{job:#}\n{log}");
        assert!(run.join("output/saved").exists(), "{log}");
        assert!(run.join("tmp/mine").exists() && run.join("progress.jsonl").metadata().unwrap().len() > 0);
        assert!(by == By::User || log.lines().any(|line| line == "has a name"), "{log}");
        for place in ["/usr", "/etc", "/opt", "/"] {
            assert!(!Path::new(place).join(&hostile.name).exists(), "{place}");
        }
        assert!(!hostile.at("mine").exists(), "its home is its own");
        let mirror = hostile.at("swifthook-state/mirrors/acme/models.git");
        assert_eq!(
            mirror.metadata().unwrap().permissions().mode() & 0o007,
            0,
            "nobody else reads the repository"
        );
        assert_eq!(daemons(), Vec::<String>::new());
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn nobody_of_a_run_in_a_sandbox_outlives_its_supervisor() {
    for by in By::all() {
        let hostile = Hostile::new(by, "", "");
        let server = hostile.world.serve();
        let (id, run) = hostile.run(&server);
        assert!(until(|| (daemons().len() == 1).then_some(())).is_some());
        let control = hostile.at("swifthook-state/control").join(run.file_name().unwrap());
        let begun: Value = serde_json::from_slice(&fs::read(control.join("begun.json")).unwrap()).unwrap();
        let supervisor = begun["supervisor"].to_string();
        assert!(Command::new("kill").args(["-9", &supervisor]).status().unwrap().success());
        assert!(until(|| daemons().is_empty().then_some(())).is_some(), "{:?}", daemons());
        server.wait_for(&id, &["failed", "held", "queued", "running"]);
        assert!(appears(&control.join("vanished.json")), "{:#}", server.job(&id));
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn a_run_without_a_network_has_none() {
    for by in By::all() {
        let hostile = Hostile::new(by, ", network = false, home = [\"data\"]", "");
        // What a list allows is seen.
        fs::write(hostile.at("data/x"), "plain").unwrap();
        let server = hostile.world.serve();
        let (id, run) = hostile.run(&server);
        hostile.cancel(&server, &id);
        let log = hostile.told(&run);
        assert_without_a_hole(&log);
        assert!(log.contains("\ninterfaces 1\n"), "its loopback alone: {log}");
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn a_sandbox_that_fails_just_then_fails_the_run_and_is_no_weaker_one() {
    let hostile = Hostile::new(By::all()[0], "", "");
    let (stand_in, broken) = (hostile.at("bin/bwrap"), hostile.at("broken"));
    fs::create_dir(hostile.at("bin")).unwrap();
    let found = Command::new("sh").args(["-c", "command -v bwrap"]).output().unwrap();
    let real = String::from_utf8(found.stdout).unwrap();
    let script = format!(
        "#!/bin/sh\n[ ! -e '{}' ] || {{ echo 'bwrap: no namespaces today' >&2; exit 1; }}\nexec {} \"$@\"\n",
        broken.display(),
        real.trim()
    );
    fs::write(&stand_in, script).unwrap();
    fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).unwrap();
    let server = hostile.world.serve();
    fs::write(&broken, "").unwrap();
    let id = job_of(&server.deliver(&hostile.world.push(&hostile.commit, &hostile.commit, &["hostile.sh"])));
    let job = server.wait_for(&id, &["failed", "succeeded", "held"]);
    let told = "this machine gives no sandbox: bwrap: no namespaces today";
    assert_eq!((&job["state"], &job["detail"]), (&json!("failed"), &json!(told)), "{job:#}");
    assert!(!hostile.at(&format!("swifthook-state/runs/{id}-1/log")).exists(), "nothing was started");
    let checked = hostile.world.program(&["check"]).output().unwrap();
    let said = String::from_utf8(checked.stderr).unwrap();
    assert!(
        checked.status.code() == Some(2) && said.contains(told) && said.contains("user namespaces"),
        "{said}"
    );
}

#[test]
#[ignore = "needs bubblewrap"]
fn an_environment_of_uv_is_not_made_without_a_network() {
    let world = World::new(
        "run = { command = [\"true\"] }\nenvironment = { uv = \"uv.lock\" }\n\
         isolation = { bubblewrap = true, network = false }",
    );
    let checked = world.program(&["check"]).output().unwrap();
    let said = String::from_utf8(checked.stderr).unwrap();
    assert!(said.contains("without a network uv makes no environment"), "{said}");
}

/// A uv that looks where it is, and puts a `bwrap`, a `setpriv` and a Python that look too into the environment that it makes.
const HOSTILE_UV: &str = r#"#!/bin/sh
looks='echo "$0 as $(id -u) sees $(ls -d /proc/[0-9]* | wc -l) processes" >>"$0.told"; touch "$WORLD/touched" 2>/dev/null'
mkdir -p "$UV_PROJECT_ENVIRONMENT/bin"; cd "$UV_PROJECT_ENVIRONMENT/bin" || exit 1
for program in bwrap setpriv python swift; do
    printf '#!/bin/sh\nWORLD=%s; %s\ncase $0 in *python) echo 4.6.0;; *) touch %s/ran-outside;; esac\n' "$WORLD" "$looks" "$WORLD" >"$program"
    chmod +x "$program"
done
[ -e "$WORLD/secret" ] && echo "uv sees the secret"
[ "$(ls -d /proc/[0-9]* | wc -l)" -lt 20 ] || echo "uv sees other processes"
touch "$WORLD/uv-touched"; [ "$(id -u)" != 0 ] || echo "uv is root"
[ -z "$(sh -c 'ls /run')" ] || [ ! -e /run/lock ] || echo "uv sees /run"
exit "$(cat "$WORLD/lock-of-uv" 2>/dev/null || echo 0)"
"#;

#[test]
#[ignore = "needs bubblewrap"]
fn what_uv_has_made_of_a_commit_is_asked_and_run_in_the_sandbox_alone() {
    for by in By::all() {
        let mut world = World::new("");
        fs::create_dir(world.path("bin")).unwrap();
        fs::write(world.path("bin/uv"), HOSTILE_UV).unwrap();
        fs::set_permissions(world.path("bin/uv"), fs::Permissions::from_mode(0o755)).unwrap();
        world.configure(&format!(
            "run = {{ swift = \"sft\", config = \"sft.yaml\" }}\nmodels = [\"Qwen/*\"]\nenvironment = {{ uv = \"uv.lock\" }}\n\
             env = {{ PATH = \"{0}/bin:/usr/bin:/bin\", WORLD = \"{0}\" }}\nretry = {{ attempts = 1 }}\n\
             isolation = {{ bubblewrap = true }}",
            world.path("").display().to_string().trim_end_matches('/')
        ));
        world.commit("pyproject.toml", "[project]\nname = \"models\"\nversion = \"0\"\n");
        world.commit("uv.lock", "version = 1\n");
        let commit = world.commit("sft.yaml", "model: Qwen/Qwen3-8B\n");
        fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        if by == By::User && rustix::process::geteuid().is_root() {
            world.give_to(USER);
        }
        let server = world.serve();
        let id = job_of(&server.deliver(&world.push(&commit, &commit, &["sft.yaml"])));
        let job = server.wait_for(&id, &["succeeded", "failed", "held", "quarantined"]);
        let log =
            fs::read_to_string(world.path(&format!("swifthook-state/runs/{id}-1/log"))).unwrap_or_default();
        // The environment came about, was asked for its version, and its `swift` was what ran.
        assert_eq!(job["state"], "succeeded", "{job:#}\n{log}\n{}", world.server_log());
        for name in ["touched", "uv-touched", "ran-outside"] {
            assert!(!world.path(name).exists(), "{name}: {}", world.server_log());
        }
        let environments = world.path("swifthook-state/environments");
        let logs = fs::read_dir(environments).unwrap().flatten().map(|one| one.path());
        let told: String = logs
            .filter(|path| path.extension().is_some_and(|ending| ending == "log"))
            .map(|path| fs::read_to_string(path).unwrap())
            .collect();
        assert!(!told.contains("uv "), "{told}");
    }
}

/// Tests that root alone can run.
mod as_root {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    #[ignore = "needs bubblewrap, and root"]
    fn recipes_that_share_a_user_are_told_of_each_other() {
        let recipe = |name: &str, isolation: &str| {
            format!(
                "[[recipe]]\nname = \"{name}\"\nrepository = \"acme/models\"\nbranches = [\"{name}\"]\n\
                 trust = \"code\"\nrun = {{ command = [\"true\"] }}\nisolation = {{ {isolation} }}\n"
            )
        };
        let world = World::new(&format!(
            "run = {{ command = [\"true\"] }}\nisolation = {{ user = \"nobody\" }}\n{}{}",
            recipe("dpo", "user = \"nobody\""),
            recipe("kto", "bubblewrap = true")
        ));
        let checked = world.program(&["check"]).output().unwrap();
        let told = String::from_utf8(checked.stdout).unwrap();
        for other in ["dpo", "sft"] {
            let warning = format!(
                "warning: `nobody` is also the user of `{other}`: their runs read each other's environment and \
                 write to each other's output"
            );
            assert!(told.contains(&warning), "{told}");
        }
        assert_eq!(told.matches("warning").count(), 2, "{told}");
    }

    #[test]
    #[ignore = "needs bubblewrap, and root"]
    fn a_run_of_a_named_user_is_in_the_sandbox_too() {
        let hostile = Hostile::new(By::Root, ", user = \"nobody\"", "");
        let server = hostile.world.serve();
        let (id, run) = hostile.run(&server);
        hostile.cancel(&server, &id);
        let log = hostile.told(&run);
        assert!(!log.contains("HOLE") && log.contains("end of the search"), "{log}");
        assert_eq!(run.join("output/result").metadata().unwrap().uid(), 65_534);
    }

    #[test]
    #[ignore = "needs bubblewrap, and root"]
    fn a_secret_that_is_rotated_while_a_run_goes_on_stays_out_of_its_sight() {
        let folder = tempfile::tempdir_in("/srv").unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(at("secret"), MARK).unwrap();
        fs::write(at("data"), "plain\n").unwrap();
        let mut world = World::new(&format!(
            "run = {{ command = [\"sh\", \"-c\", '''touch $SWIFTHOOK_OUTPUT_DIR/up
             until [ -e $SWIFTHOOK_OUTPUT_DIR/go ]; do sleep 0.05; done; ls {0}; cat {0}/*'''] }}\n\
             env = {{ SECRET = \"file:{0}/secret\" }}\nisolation = {{ bubblewrap = true }}",
            folder.path().display()
        ));
        let commit = world.commit("x", "x");
        fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        world.give_to(USER);
        let server = world.serve();
        let id = job_of(&server.deliver(&world.push(&commit, &commit, &["x"])));
        let run = world.path(&format!("swifthook-state/runs/{id}-1"));
        assert!(appears(&run.join("output/up")), "{:#}", server.job(&id));
        fs::write(at("new"), format!("{MARK} anew")).unwrap();
        fs::rename(at("new"), at("secret")).unwrap();
        fs::write(run.join("output/go"), "").unwrap();
        let job = server.wait_for(&id, &["succeeded", "failed"]);
        assert_eq!(job["state"], "succeeded", "{job:#}");
        assert_eq!(fs::read_to_string(run.join("log")).unwrap(), "data\nplain\n");
    }

    #[test]
    #[ignore = "needs bubblewrap, and root"]
    fn what_a_run_of_root_has_saved_is_gone_on_from_by_another_user() {
        let world = World::new("");
        let recipe = |isolation: &str| {
            format!(
                "run = {{ command = [\"sh\", \"-c\", '''{SAVES}'''] }}\n{isolation}\n[worker]\ndrain = \"yield\""
            )
        };
        fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        world.configure(&recipe(""));
        let server = world.serve();
        let commit = world.commit("x", "x");
        let id = job_of(&server.deliver(&world.push(&commit, &commit, &["x"])));
        assert!(appears(&world.path(&format!("swifthook-state/runs/{id}-1/output/up"))));
        server.signal("TERM");
        server.ended();
        world.configure(&recipe("isolation = { bubblewrap = true }"));
        let server = world.serve();
        let job = server.wait_for(&id, &["succeeded", "failed", "held"]);
        let run = world.path(&format!("swifthook-state/runs/{id}-2"));
        let log = fs::read_to_string(run.join("log")).unwrap_or_default();
        assert_eq!(job["state"], "succeeded", "{job:#}\n{log}\n{}", world.server_log());
        assert_eq!(log, "weights\n");
        assert!(run.join("output").metadata().unwrap().uid() >= 0x7000_0000);
    }

    /// A run that saves for its owner alone, and one that goes on from there.
    const SAVES: &str = r#"
        if [ -n "${SWIFTHOOK_RESUME_FROM:-}" ]; then exec cat "$SWIFTHOOK_RESUME_FROM/weights"; fi
        umask 077; mkdir "$SWIFTHOOK_OUTPUT_DIR/checkpoint-1"
        echo weights >"$SWIFTHOOK_OUTPUT_DIR/checkpoint-1/weights"
        echo '{"step": 1, "checkpoint": "checkpoint-1"}' >>"$SWIFTHOOK_PROGRESS"
        trap 'exit 0' TERM
        touch "$SWIFTHOOK_OUTPUT_DIR/up"; while :; do sleep 0.05; done"#;

    #[test]
    #[ignore = "needs bubblewrap, and root"]
    fn a_run_sees_the_devices_of_its_gpus_and_no_others() {
        let nodes = [231, 232].map(|minor| format!("/dev/nvidia{minor}"));
        let remove = || nodes.iter().for_each(|node| drop(fs::remove_file(node)));
        remove();
        for node in &nodes {
            let made = Command::new("mknod").args(["-m", "666", node, "c", "1", "3"]).status().unwrap();
            assert!(made.success());
        }
        for by in By::all() {
            let hostile = Hostile::new(
                by,
                "",
                "gpus = { count = 1, indices = [1] }\n[worker]\ngpus = { settle = \"1s\" }",
            );
            fs::create_dir(hostile.at("bin")).unwrap();
            fs::write(hostile.at("bin/libnvidia-ml.so.1"), "none").unwrap();
            let rows = "0, GPU-9c73, NVIDIA H200, 143771, 0, 143156, 0, Disabled\n1, GPU-c92e, NVIDIA H200, 143771, 0, 143156, 0, Disabled\n";
            let all = "GPU UUID : GPU-9c73\nMinor Number : 231\nGPU UUID : GPU-c92e\nMinor Number : 232\n";
            let script = format!(
                "#!/bin/sh\ncase \"$*\" in *query-gpu*) printf '{rows}';; -q) printf '{all}';; esac\n"
            );
            fs::write(hostile.at("bin/nvidia-smi"), script).unwrap();
            fs::set_permissions(hostile.at("bin/nvidia-smi"), fs::Permissions::from_mode(0o755)).unwrap();
            let server = hostile.world.serve();
            let (id, run) = hostile.run(&server);
            hostile.cancel(&server, &id);
            let log = hostile.told(&run);
            assert_without_a_hole(&log);
            assert!(log.contains("\ndevices nvidia232 \n"), "{log}");
        }
        remove();
    }
}
