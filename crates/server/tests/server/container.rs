//! A server that is the first process of its container.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::world::{World, appears, job_of, until};

/// A fetch that is cancelled leaves children of git, whose parent the first process becomes. Nobody else waits for them.
#[test]
fn what_a_cancelled_fetch_leaves_is_reaped_and_signals_come_through() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = World::new("run = { command = [\"true\"] }");
    fs::create_dir(world.path("bin")).unwrap();
    let git = world.path("bin/git");
    let path = std::env::var_os("PATH").unwrap();
    let real =
        std::env::split_paths(&path).map(|folder| folder.join("git")).find(|file| file.is_file()).unwrap();
    fs::write(&git, SLOW_GIT.replace("GIT", real.to_str().unwrap())).unwrap();
    fs::set_permissions(&git, fs::Permissions::from_mode(0o755)).unwrap();
    let commit = world.commit("x", "1");
    fs::write(world.path("slow"), "").unwrap();
    let server = world.serve_by(|program| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--fork", "--mount-proc", "--kill-child"]).arg(program.get_program());
        unshare.args(program.get_args());
        unshare
    });
    let first = children(server.pid());
    let [first] = first[..] else { panic!("{first:?}") };
    let id = job_of(&server.deliver(&world.push(&commit, &commit, &["x"])));
    assert!(appears(&world.path("fetching")), "{}", world.server_log());
    let (status, body) = server.call("POST", &format!("/api/v1/jobs/{id}/cancel"), "");
    if status == 428 {
        let asked: serde_json::Value = serde_json::from_str(&body).unwrap();
        let confirmed = serde_json::json!({ "confirm": asked["confirm"] }).to_string();
        server.call("POST", &format!("/api/v1/jobs/{id}/cancel"), &confirmed);
    }
    server.wait_for(&id, &["cancelled"]);
    let fetching = || below(first).into_iter().filter(|pid| name(*pid) == "sleep").count();
    assert!(until(|| (fetching() == 0).then_some(())).is_some(), "its children are ended");
    let zombies = || below(first).into_iter().filter(|pid| is_zombie(*pid)).collect::<Vec<_>>();
    assert!(
        until(|| zombies().is_empty().then_some(())).is_some(),
        "{:?}",
        zombies().iter().map(|pid| name(*pid))
    );
    assert!(Command::new("kill").args(["-s", "TERM", &first.to_string()]).status().unwrap().success());
    assert_eq!(server.ended().code(), Some(0), "{}", world.server_log());
    assert!(world.server_log().contains("shutting down"), "{}", world.server_log());
}

/// All that came of a process, also what its children have left to it.
fn below(pid: u32) -> Vec<u32> {
    children(pid).into_iter().flat_map(|child| [vec![child], below(child)].concat()).collect()
}

fn children(of: u32) -> Vec<u32> {
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).and_then(|stat| stat.get(1)?.parse().ok()) == Some(of)).collect()
}

fn is_zombie(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat[0] == "Z")
}

/// What `/proc/PID/stat` says after the name: the state, the parent, ….
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

/// Fetches without end, by a child as git does.
const SLOW_GIT: &str = "\
#!/bin/sh
here=$(dirname \"$(dirname \"$0\")\")
case \" $* \" in
*' fetch '*)
    if [ -e \"$here/slow\" ]; then
        sleep 600 &
        : >\"$here/fetching\"
        wait
    fi ;;
esac
exec GIT \"$@\"
";
