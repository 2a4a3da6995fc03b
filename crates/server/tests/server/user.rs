//! Runs of another user, where the server is root.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::world::{World, job_of, until};

/// Everything in the working tree of a run is the run's: it commits there, and changes and removes what it likes.
#[test]
fn a_run_of_another_user_has_its_working_tree_to_itself() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = World::new(
        "run = { command = [\"sh\", \"train.sh\"] }\nisolation = { user = \"nobody\" }\nretry = { attempts = 1 }",
    );
    fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    world.commit("deep/er/data.txt", "1\n");
    world.commit("read-only.txt", "1\n");
    let commit = world.commit("train.sh", TRAINS);
    let server = world.serve();
    let id = job_of(&server.deliver(&world.push(&commit, &commit, &["x"])));
    let job = server.wait_for(&id, &["succeeded", "failed"]);
    let (_, log) = server.call("GET", &format!("/api/v1/jobs/{id}/log"), "");
    assert_eq!(job["state"], "succeeded", "{log}\n{job}");
    assert!(log.contains("\nall of it is mine\n"), "{log}");
}

/// The machine's user may have no way to where its run is to be: to find out by what the run says would take a while.
#[test]
fn a_state_directory_that_the_user_does_not_come_to_is_told() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = World::new("run = { command = [\"true\"] }\nisolation = { user = \"nobody\" }");
    fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o700)).unwrap();
    let commit = world.commit("x", "1");
    let server = world.serve();
    let id = job_of(&server.deliver(&world.push(&commit, &commit, &["x"])));
    let waits = until(|| Some(server.job(&id)).filter(|job| job["waits_for"] == "backoff"));
    let told = waits.unwrap()["detail"].to_string();
    assert!(told.contains("lets nobody through: `chmod o+x "), "{told}");
    assert_eq!(server.job(&id)["attempt"], 0);
}

const TRAINS: &str = "\
set -ex
test \"$(id -un)\" = nobody
find . ! -user nobody | tee /dev/stderr | { ! grep -q .; }
git log --oneline | tee /dev/stderr | { test \"$(wc -l)\" -ge 4; }
test -z \"$(git status --porcelain)\"
git fsck --connectivity-only
echo 2 >deep/er/data.txt
chmod 400 read-only.txt && rm -f read-only.txt
mkdir -p deep/new && echo 3 >deep/new/x && mv deep/er/data.txt deep/new/y && rmdir deep/er
git -c user.name=run -c user.email=run@example.org commit --quiet --all --message=changed
git gc --quiet --prune=now || true
test \"$(git log --oneline | wc -l)\" -ge 5
echo x >\"$SWIFTHOOK_OUTPUT_DIR/model\" && echo '{}' >>\"$SWIFTHOOK_PROGRESS\"
cd / && rm -r \"$OLDPWD\"/deep \"$OLDPWD\"/.git
echo 'all of it is mine'
";
