//! Where credentials are seen, and what is left when a process is killed.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use swifthook_core::{Checkout, CommitSha, RefName, Workspace};
use swifthook_launch::{Credentials, GitWorkspace, Remote};

use crate::world::{World, in_a_process_with_ssh};

const TOKEN: &str = "ghp_only_in_this_test";
/// `x-access-token:` and the token, as it is shown to the server.
const SHOWN: &str = "eC1hY2Nlc3MtdG9rZW46Z2hwX29ubHlfaW5fdGhpc190ZXN0";

#[tokio::test]
async fn a_token_is_in_no_list_of_processes_and_in_no_file() {
    let world = World::new();
    let commit = world.commit();
    // It takes connections and says nothing: the fetch hangs, and can be looked at.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let url = format!("https://{}/acme/models.git", server.local_addr().unwrap());
    let state = world.dir.path().join("state");
    let remote = Remote::new(world.name.clone(), &url).unwrap().with(Credentials::Token(TOKEN.into()));
    let workspace = GitWorkspace::new(&state, [remote]).unwrap();
    let (name, tree) = (world.name.clone(), world.tree());
    let fetching = tokio::spawn(async move {
        let main = RefName::Branch("main".into());
        workspace.checkout(&name, &main, &commit, &Checkout::default(), &tree).await
    });
    let talks_to_it = || processes("cmdline", &url);
    // A git that only notes where the server is knows no token.
    let mut connection = None;
    until("git talks to the server", || {
        connection = connection.take().or_else(|| server.accept().ok());
        connection.is_some()
    })
    .await;
    assert!(!talks_to_it().is_empty(), "the right process is looked for");
    for secret in [TOKEN, SHOWN] {
        assert_eq!(processes("cmdline", secret), Vec::<PathBuf>::new());
        assert_eq!(files_with(&state, secret), Vec::<PathBuf>::new());
    }
    assert!(!processes("environ", SHOWN).is_empty(), "the right process was not looked at");
    fetching.abort();
    until("nothing of the fetch is left", || talks_to_it().is_empty()).await;
    for secret in [TOKEN, SHOWN] {
        assert_eq!(files_with(&state, secret), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_fetch_that_a_killed_process_left_behind_blocks_nobody() {
    in_a_process_with_ssh("secrets::a_fetch_that_a_killed_process_left_behind_blocks_nobody", || async {
        if let (Some(folder), Ok(commit)) = (std::env::var_os(FOLDER), std::env::var("COMMIT")) {
            let commit = CommitSha::parse(&commit).unwrap().unwrap();
            return drop(check_out(Path::new(&folder), &commit).await);
        }
        let world = World::new();
        world.write("a.txt", "1");
        let commit = world.commit();
        let hang = world.dir.path().join("hang");
        fs::write(&hang, "").unwrap();
        let mut killed = Command::new(std::env::current_exe().unwrap())
            .args(std::env::args().skip(1))
            .env(FOLDER, world.dir.path())
            .env("COMMIT", commit.as_str())
            .spawn()
            .unwrap();
        let lock = world.dir.path().join("state/mirrors/acme/models.lock");
        let holder = || {
            let text = fs::read_to_string(&lock).unwrap_or_default();
            text.split_whitespace().nth(2).map(|pid| PathBuf::from("/proc").join(pid))
        };
        // Making the mirror has the lock first.
        let hangs = || {
            let says = |name: &str| fs::read_to_string(holder()?.join(name)).ok();
            says("cmdline").is_some_and(|command| command.contains("fetch"))
        };
        until("the fetch has the lock", hangs).await;
        let orphan = holder().unwrap();
        killed.kill().unwrap();
        killed.wait().unwrap();
        assert!(orphan.exists(), "it was to outlive the one that started it");
        fs::remove_file(hang).unwrap();
        let tree = check_out(world.dir.path(), &commit).await.unwrap();
        assert_eq!(fs::read_to_string(tree.join("a.txt")).unwrap(), "1");
        until("the git that was left is gone", || !orphan.exists()).await;
    });
}

async fn check_out(folder: &Path, commit: &CommitSha) -> Result<PathBuf, swifthook_core::WorkspaceError> {
    let name = swifthook_core::RepoName::new("acme/models").unwrap();
    let url = format!("ssh://git@git.example{}/origin", folder.display());
    let workspace =
        GitWorkspace::new(folder.join("state"), [Remote::new(name.clone(), &url).unwrap()]).unwrap();
    let main = RefName::Branch("main".into());
    workspace.checkout(&name, &main, commit, &Checkout::default(), &folder.join("runs/1/tree")).await
}

/// The processes of which this file of `/proc` holds a text.
fn processes(file: &str, text: &str) -> Vec<PathBuf> {
    let all = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join(file));
    let holds = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).contains(text)
    };
    all.filter(|path| path.parent().unwrap().join("stat").exists()).filter(holds).collect()
}

/// The files under a folder that hold a text.
pub(crate) fn files_with(folder: &Path, text: &str) -> Vec<PathBuf> {
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

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

const FOLDER: &str = "SWIFTHOOK_TEST_FOLDER";
