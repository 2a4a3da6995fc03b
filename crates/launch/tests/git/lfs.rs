//! Content of Git LFS. What needs git-lfs is run by name:
//! `cargo test -p swifthook-launch --test git -- --ignored lfs`.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use swifthook_core::{Checkout, CommitSha, Problem, RefName, Workspace, WorkspaceError};
use swifthook_launch::{Credentials, GitWorkspace, Remote};

use crate::git_server::{AUTHORITY, GitServer, PASSWORD, TOKEN_USER, USER, Way};
use crate::secrets::files_with;
use crate::world::{World, in_a_process_with};

const CONTENT: &str = "weights, many of them";

/// A commit with a file of Git LFS, whose own configuration names another server.
fn commit(world: &World, server: &str) -> CommitSha {
    world.write(".gitattributes", "*.bin filter=lfs -text\n");
    world
        .write(".lfsconfig", &format!("[lfs]\n\turl = {server}\n[remote \"origin\"]\n\tlfsurl = {server}\n"));
    world.write("model.bin", CONTENT);
    world.write("a.txt", "1");
    world.git(&["-c", "filter.lfs.clean=git-lfs clean -- %f", "add", "-A"]);
    world.git(&["commit", "-q", "-m", "."]);
    world.head()
}

async fn check_out(world: &World, commit: &CommitSha, lfs: bool) -> Result<PathBuf, WorkspaceError> {
    let (main, with) = (RefName::Branch("main".into()), Checkout { lfs, ..Checkout::default() });
    world.workspace().checkout(&world.name, &main, commit, &with, &world.tree()).await
}

#[tokio::test]
#[ignore = "needs git-lfs"]
async fn lfs_content_comes_where_it_is_asked_for_and_from_the_repository_s_own_server() {
    let (elsewhere, asked) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::new(AtomicUsize::new(0)));
    let world = World::new();
    let commit = commit(&world, &format!("http://{}/lfs", elsewhere.local_addr().unwrap()));
    let counting = asked.clone();
    std::thread::spawn(move || {
        elsewhere.incoming().for_each(|connection| {
            counting.fetch_add(1, Ordering::SeqCst);
            drop(connection);
        });
    });
    let tree = check_out(&world, &commit, false).await.unwrap();
    assert!(fs::read_to_string(tree.join("model.bin")).unwrap().starts_with("version https://git-lfs"));
    let tree = check_out(&world, &commit, true).await.unwrap();
    assert_eq!(fs::read_to_string(tree.join("model.bin")).unwrap(), CONTENT);
    // From the mirror, without the server.
    fs::rename(world.origin(), world.dir.path().join("elsewhere")).unwrap();
    let tree = check_out(&world, &commit, true).await.unwrap();
    assert_eq!(fs::read_to_string(tree.join("model.bin")).unwrap(), CONTENT);
    assert_eq!(asked.load(Ordering::SeqCst), 0, "a commit has named the server");
    let status = Command::new("git").current_dir(&tree).args(["status", "--porcelain"]).output().unwrap();
    assert!(status.status.success(), "{status:?}");
}

#[tokio::test]
#[ignore = "needs git-lfs"]
async fn lfs_content_that_is_gone_fails_the_checkout() {
    let world = World::new();
    let commit = commit(&world, "http://127.0.0.1:1/lfs");
    fs::remove_dir_all(world.origin().join(".git/lfs")).unwrap();
    let failed = check_out(&world, &commit, true).await.unwrap_err();
    assert!(failed.to_string().contains("Git LFS"), "{failed}");
}

/// Checks a commit out that is had by https, with this in place of `.git` at the end of the URL.
async fn check_out_by_https(
    world: &World,
    server: &GitServer,
    end: &str,
    credentials: Credentials,
    commit: &CommitSha,
) -> Result<PathBuf, WorkspaceError> {
    let remote = Remote::new(world.name.clone(), &server.url(&format!("origin{end}"))).unwrap();
    let state = world.dir.path().join(format!("state{end}"));
    let workspace = GitWorkspace::new(state, [remote.with(credentials)]).unwrap();
    let (main, with) = (RefName::Branch("main".into()), Checkout { lfs: true, ..Checkout::default() });
    workspace.checkout(&world.name, &main, commit, &with, &world.tree()).await
}

/// A world that a server serves with and without `.git` at the end of the URL.
fn served() -> (World, CommitSha) {
    let world = World::new();
    let commit = commit(&world, "https://127.0.0.1:1/lfs");
    std::os::unix::fs::symlink(world.origin(), world.dir.path().join("origin.git")).unwrap();
    (world, commit)
}

fn credentials_in(world: &World, password: &str) -> Credentials {
    let folder = world.dir.path().join("secret");
    fs::create_dir_all(&folder).unwrap();
    for (name, text) in [("username", USER), ("password", password), ("ca.crt", AUTHORITY)] {
        fs::write(folder.join(name), text).unwrap();
    }
    Credentials::Folder(folder)
}

#[test]
#[ignore = "needs git-lfs"]
fn lfs_content_comes_by_https_with_a_name_and_a_password_that_nothing_shows() {
    let name = "lfs::lfs_content_comes_by_https_with_a_name_and_a_password_that_nothing_shows";
    // The authority of the credentials counts, whatever the machine trusts.
    in_a_process_with(name, |_| std::env::var("PATH").unwrap(), shows_nothing);
}

async fn shows_nothing() {
    let (world, commit) = served();
    let server = GitServer::start(world.dir.path(), Way::Serves);
    for end in ["", ".git"] {
        let credentials = credentials_in(&world, PASSWORD);
        let before = server.seen().let_in;
        let tree = check_out_by_https(&world, &server, end, credentials, &commit).await.unwrap();
        assert_eq!(fs::read_to_string(tree.join("model.bin")).unwrap(), CONTENT);
        let seen = server.seen();
        // Of git two at least, of git-lfs the question and the content.
        assert!(seen.let_in >= before + 4, "{seen:?}");
        assert_eq!(seen.shown_by, Vec::<PathBuf>::new());
    }
    for folder in ["state", "state.git", "runs"] {
        assert_eq!(files_with(&world.dir.path().join(folder), PASSWORD), Vec::<PathBuf>::new());
    }
}

#[test]
#[ignore = "needs git-lfs"]
fn lfs_content_comes_by_https_with_a_token_which_no_other_host_is_told() {
    let name = "lfs::lfs_content_comes_by_https_with_a_token_which_no_other_host_is_told";
    let path = |folder: &std::path::Path| {
        fs::write(folder.join("authority.pem"), AUTHORITY).unwrap();
        std::env::var("PATH").unwrap()
    };
    in_a_process_with(name, path, || async {
        let (world, commit) = served();
        let root = world.dir.path();
        let elsewhere = GitServer::start_for(TOKEN_USER, root, Way::Serves);
        let at = elsewhere.url("").trim_end_matches('/').to_owned();
        for (way, end) in
            [Way::Serves, Way::StoresAt(at)].iter().flat_map(|way| ["", ".git"].map(|end| (way, end)))
        {
            let server = GitServer::start_for(TOKEN_USER, root, way.clone());
            let token = Credentials::Token(PASSWORD.into());
            let tree = check_out_by_https(&world, &server, end, token, &commit).await;
            let tree = tree.unwrap_or_else(|error| panic!("{way:?} {end}: {error:?}"));
            assert_eq!(fs::read_to_string(tree.join("model.bin")).unwrap(), CONTENT);
            // It goes by the environment, which only our user can read.
            let seen = server.seen();
            let is_argument = |file: &&PathBuf| file.ends_with("cmdline");
            assert_eq!(seen.shown_by.iter().find(is_argument), None);
            for kept in [format!("state{end}"), "runs".to_owned()] {
                assert_eq!(files_with(&root.join(&kept), PASSWORD), Vec::<PathBuf>::new());
                fs::remove_dir_all(root.join(kept)).unwrap();
            }
        }
        let seen = elsewhere.seen();
        assert!(seen.requests > 0 && seen.with_password == 0, "{seen:?}");
    });
}

#[tokio::test]
#[ignore = "needs git-lfs"]
async fn lfs_content_that_the_server_refuses_fails_the_checkout_without_the_secret_in_what_it_says() {
    let (world, commit) = served();
    let server = GitServer::start(world.dir.path(), Way::Serves);
    fs::remove_dir_all(world.origin().join(".git/lfs")).unwrap();
    let credentials = credentials_in(&world, PASSWORD);
    let gone = check_out_by_https(&world, &server, "", credentials, &commit).await.unwrap_err();
    let told = format!("{gone} {gone:?}");
    assert!(told.contains("Git LFS") && !told.contains(PASSWORD), "{told}");
}

#[test]
fn without_git_lfs_a_recipe_that_asks_for_it_is_refused_for_good() {
    let only_git = |folder: &std::path::Path| {
        let found = Command::new("sh").args(["-c", "command -v git"]).output().unwrap();
        let git = String::from_utf8(found.stdout).unwrap();
        std::os::unix::fs::symlink(git.trim(), folder.join("git")).unwrap();
        folder.to_str().unwrap().to_owned()
    };
    in_a_process_with(
        "lfs::without_git_lfs_a_recipe_that_asks_for_it_is_refused_for_good",
        only_git,
        || async {
            let world = World::new();
            world.write("a.txt", "1");
            let commit = world.commit();
            let refused = check_out(&world, &commit, true).await.unwrap_err();
            assert!(refused.is_permanent() && refused.to_string().contains("install git-lfs"), "{refused}");
            check_out(&world, &commit, false).await.unwrap();
        },
    );
}
