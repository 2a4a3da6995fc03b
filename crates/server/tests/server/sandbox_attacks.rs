//! Ways out of a sandbox that were open once: each is tried again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::world::{Running, World, appears, job_of};

const MARK: &str = "hunter2-of-the-test";
/// Some user whom the machine need not know.
const USER: u32 = 61_235;

/// A world whose recipe runs `script` within `isolation`.
fn world(isolation: &str, more: &str, script: &str) -> World {
    let mut world = World::new(&format!(
        "run = {{ command = [\"sh\", \"go.sh\"] }}\nretry = {{ attempts = 1 }}\nisolation = {{ {isolation} }}\n{more}"
    ));
    world.commit("go.sh", script);
    fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    // A recipe that names a user has a server of root.
    if rustix::process::geteuid().is_root() && !isolation.contains("user") {
        world.give_to(USER);
    }
    world
}

/// Pushes, and tells what the run wrote.
fn log_of(world: &World, server: &Running) -> String {
    let id = pushed(world, server);
    let job = server.wait_for(&id, &["succeeded", "failed", "held", "quarantined"]);
    let log = fs::read_to_string(world.path(&format!("swifthook-state/runs/{id}-1/log")));
    let log = log.unwrap_or_else(|error| panic!("{error}: {job:#}\n{}", world.server_log()));
    assert_eq!(job["state"], "succeeded", "{job:#}\n{log}\n{}", world.server_log());
    log
}

fn pushed(world: &World, server: &Running) -> String {
    // The repository may be another user's by now.
    let commit = world.git(&["-c", "safe.directory=*", "rev-parse", "HEAD"]);
    job_of(&server.deliver(&world.push(commit.trim(), commit.trim(), &["go.sh"])))
}

/// Joins a session keyring with a secret, as a login or a unit of systemd does, and becomes the program that follows.
const WITH_A_KEY: &str = r#"
import ctypes, os, platform, sys
call = ctypes.CDLL(None, use_errno=True).syscall
add, control = (248, 250) if platform.machine() == "x86_64" else (217, 219)
assert call(control, 1, b"swifthook-test") > 0
key = call(add, b"user", b"swifthook-key", b"hunter2-of-the-test", 19, -3)
assert key > 0 and call(control, 5, key, 0x3f3f3f3f) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"#;
const ASKS_FOR_THE_KEY: &str = r#"python3 -c '
import ctypes, platform
call = ctypes.CDLL(None).syscall
add, control = (248, 250) if platform.machine() == "x86_64" else (217, 219)
key, text = call(control, 10, -3, b"user", b"swifthook-key", 0), ctypes.create_string_buffer(64)
if key > 0: call(control, 11, key, text, 64)
print("found", key > 0, text.value.decode(), "and has added", call(add, b"user", b"mine", b"x", 1, -3) > 0)
'"#;

#[test]
#[ignore = "needs bubblewrap, and Python"]
fn a_run_of_another_user_or_in_a_sandbox_has_a_session_keyring_of_its_own() {
    let is_root = rustix::process::geteuid().is_root();
    let named = ["user = \"nobody\"", "bubblewrap = true, user = \"nobody\""];
    for isolation in ["bubblewrap = true"].into_iter().chain(named.into_iter().filter(|_| is_root)) {
        let world = world(isolation, "", ASKS_FOR_THE_KEY);
        let server = world.serve_by(|program| {
            let mut by = Command::new("python3");
            by.args(["-c", WITH_A_KEY]).arg(program.get_program()).args(program.get_args());
            by
        });
        // A keyring is there, and it is another.
        assert_eq!(log_of(&world, &server), "found False  and has added True\n", "{isolation}");
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn a_token_below_a_cache_is_moved_into_sight_by_no_run() {
    let world = World::new("");
    let cache = world.path("data/hf");
    for file in ["huggingface/token", "modelscope/credentials/session", "a/b/private"] {
        fs::create_dir_all(cache.join(file).parent().unwrap()).unwrap();
        fs::write(cache.join(file), format!("{MARK}\n")).unwrap();
    }
    let mut world = world;
    world.configure(&format!(
        "run = {{ command = [\"sh\", \"go.sh\"] }}\nenv = {{ PRIVATE = \"file:data/hf/a/b/private\", CACHE = \"{0}\" }}\n\
         isolation = {{ bubblewrap = true, caches = [\"{0}\"] }}",
        cache.display()
    ));
    let moves = "unset PRIVATE; cd $CACHE; for part in huggingface modelscope a a/b; do mv $part moved-$$ 2>/dev/null && echo moved $part; done\n\
                 grep -r hunter2 . 2>/dev/null && echo read; touch huggingface/mine a/b/mine new && echo writes; exit 0";
    world.commit("go.sh", moves);
    fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    if rustix::process::geteuid().is_root() {
        world.give_to(USER);
    }
    let server = world.serve();
    for _ in 0..2 {
        assert_eq!(log_of(&world, &server), "writes\n");
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn what_a_run_leaves_in_a_cache_neither_shows_a_token_nor_keeps_later_runs_from_beginning() {
    let mut world = World::new("");
    let cache = world.path("data/hf");
    fs::create_dir_all(cache.join("huggingface")).unwrap();
    fs::write(cache.join("huggingface/token"), format!("{MARK}\n")).unwrap();
    world.configure(&format!(
        "run = {{ command = [\"sh\", \"go.sh\"] }}\nretry = {{ attempts = 1 }}\nenv = {{ CACHE = \"{0}\" }}\n\
         isolation = {{ bubblewrap = true, caches = [\"{0}\"] }}",
        cache.display()
    ));
    let leaves = "cd $CACHE; cat huggingface/token 2>/dev/null; chmod 700 huggingface; cat huggingface/token 2>/dev/null\n\
                  chmod 000 huggingface; ln -sn / stored_tokens 2>/dev/null; ln -sn /usr/bin token 2>/dev/null; echo ends";
    world.commit("go.sh", leaves);
    fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    if rustix::process::geteuid().is_root() {
        world.give_to(USER);
    }
    let server = world.serve();
    for _ in 0..3 {
        assert_eq!(log_of(&world, &server), "ends\n");
    }
    fs::set_permissions(cache.join("huggingface"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(fs::read_to_string(cache.join("huggingface/token")).unwrap(), format!("{MARK}\n"));
}

#[test]
#[ignore = "needs bubblewrap, and Python"]
fn a_run_without_a_network_reaches_no_host_of_its_machine_and_makes_no_namespaces() {
    let asks = "python3 -c '\n\
                import socket\n\
                for family in (1, 2, 10, 16, 40):\n\
                \x20   try: socket.socket(family, socket.SOCK_DGRAM if family != 40 else socket.SOCK_STREAM); print(family)\n\
                \x20   except OSError as error: print(family, error.errno)\n\
                '\nunshare --user --map-root-user true 2>/dev/null && echo another root; exit 0";
    let world = world("bubblewrap = true, network = false", "", asks);
    assert_eq!(log_of(&world, &world.serve()), "1\n2\n10\n16\n40 97\n");
}

#[test]
#[ignore = "needs bubblewrap"]
fn what_a_run_writes_into_memory_has_an_end() {
    let fills = "for file in /dev/shm/x /run/x /dev/x $HOME/x; do\n\
                 head -c 200M /dev/zero 2>/dev/null >$file && echo filled $file; rm -f $file; done\n\
                 echo x >/dev/shm/small && echo x >$HOME/small && echo x >/dev/null && echo writes";
    let world = world("bubblewrap = true", "limits = { memory = \"100 MiB\" }", fills);
    let log = log_of(&world, &world.serve());
    assert!(log.ends_with("writes\n") && !log.contains("filled"), "{log}");
}

/// A uv that leaves a pipe, a link and a folder of somebody's where the server looks.
const HOSTILE_UV: &str = r#"#!/bin/sh
mkdir -p "$UV_PROJECT_ENVIRONMENT/bin"; cd "$UV_PROJECT_ENVIRONMENT" || exit 1
case $KIND in
pipe) mkfifo pyvenv.cfg;;
link) ln -s /dev/zero pyvenv.cfg;;
home) echo "home = $WORLD/work/bin" >pyvenv.cfg;;
esac
"#;

#[test]
#[ignore = "needs bubblewrap"]
fn what_a_build_leaves_as_pyvenv_cfg_neither_hangs_the_server_nor_shows_a_home() {
    for kind in ["pipe", "link", "home"] {
        let mut world = World::new("");
        for folder in ["bin", "work/bin"] {
            fs::create_dir_all(world.path(folder)).unwrap();
        }
        fs::write(world.path("work/private"), MARK).unwrap();
        fs::write(world.path("bin/uv"), HOSTILE_UV).unwrap();
        fs::set_permissions(world.path("bin/uv"), fs::Permissions::from_mode(0o755)).unwrap();
        let here = world.path("").display().to_string();
        world.configure(&format!(
            "run = {{ command = [\"sh\", \"go.sh\"] }}\nenvironment = {{ uv = \"uv.lock\" }}\nretry = {{ attempts = 1 }}\n\
             env = {{ PATH = \"{0}/bin:/usr/bin:/bin\", WORLD = \"{0}\", KIND = \"{kind}\" }}\n\
             isolation = {{ bubblewrap = true }}",
            here.trim_end_matches('/')
        ));
        world.commit("pyproject.toml", "[project]\nname = \"models\"\nversion = \"0\"\n");
        world.commit("uv.lock", "version = 1\n");
        world.commit("go.sh", "cat $WORLD/work/private; echo ran");
        fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        if rustix::process::geteuid().is_root() {
            world.give_to(USER);
        }
        let server = world.serve();
        let log = log_of(&world, &server);
        assert!(log.ends_with("ran\n") && !log.contains(MARK), "{kind}: {log}");
    }
}

#[test]
#[ignore = "needs bubblewrap, and root"]
fn a_secret_right_in_a_folder_of_the_system_that_is_rotated_stays_out_of_sight() {
    let secret = Path::new("/srv").join(format!("swifthook-test-{}", std::process::id()));
    let anew = secret.with_extension("new");
    fs::write(&secret, MARK).unwrap();
    let more = format!("env = {{ SECRET = \"file:{0}\", AT = \"{0}\" }}", secret.display());
    let script = "unset SECRET; touch $SWIFTHOOK_OUTPUT_DIR/up\n\
                  until [ -e $SWIFTHOOK_OUTPUT_DIR/go ]; do sleep 0.05; done; cat $AT; echo ran";
    let world = world("bubblewrap = true", &more, script);
    let server = world.serve();
    let id = pushed(&world, &server);
    let run = world.path(&format!("swifthook-state/runs/{id}-1"));
    let began = appears(&run.join("output/up"));
    fs::write(&anew, format!("{MARK} anew\n")).unwrap();
    fs::rename(&anew, &secret).unwrap();
    fs::write(run.join("output/go"), "").unwrap();
    let job: Value = server.wait_for(&id, &["succeeded", "failed"]);
    fs::remove_file(&secret).unwrap();
    assert!(began, "{job:#}");
    let log = fs::read_to_string(run.join("log")).unwrap();
    assert!(log.ends_with("ran\n") && !log.contains(MARK), "{log}");
}
