//! Content of Git LFS. What needs git-lfs is run by name:
//! `cargo test -p swifthook-launch --test git -- --ignored lfs`.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use swifthook_core::{Checkout, CommitSha, Problem, RefName, Workspace, WorkspaceError};

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
