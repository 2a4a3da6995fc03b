//! What a working tree is, and a diff.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use swifthook_core::{
    Checkout, CommitSha, PathChange, Problem, RefName, RepoName, Workspace, WorkspaceError,
};

use crate::world::World;

async fn file(world: &World, commit: &CommitSha, path: &str) -> Result<Vec<u8>, WorkspaceError> {
    let main = RefName::Branch("main".into());
    world.workspace().read_file(&world.name, &main, commit, path, 100).await
}

#[tokio::test]
async fn one_regular_file_of_a_commit_is_read_and_nothing_else() {
    let world = World::new();
    let odd = "configs/-x $(a)\n:(glob)*.yaml";
    world.write("configs/sft.yaml", "a: 1\n");
    world.write(odd, "b: 2\n");
    world.write("large", &"x".repeat(101));
    std::os::unix::fs::symlink("/etc/passwd", world.origin().join("link.yaml")).unwrap();
    std::os::unix::fs::symlink("configs", world.origin().join("way")).unwrap();
    let commit = world.commit();
    world.write("configs/sft.yaml", "a: 2\n");
    let later = world.commit();
    assert_eq!(file(&world, &commit, "configs/sft.yaml").await.unwrap(), b"a: 1\n");
    assert_eq!(file(&world, &later, "configs/sft.yaml").await.unwrap(), b"a: 2\n");
    assert_eq!(file(&world, &commit, odd).await.unwrap(), b"b: 2\n");
    for (path, why) in [
        ("link.yaml", "symbolic link"),
        ("way/sft.yaml", "is not in commit"),
        ("configs", "is a directory"),
        ("large", "has 101 bytes"),
        ("absent.yaml", "is not in commit"),
        ("configs/*.yaml", "is not in commit"),
        ("../sft.yaml", "no path"),
        ("configs/../configs/sft.yaml", "no path"),
        ("/configs/sft.yaml", "no path"),
        ("configs/", "no path"),
        ("", "no path"),
    ] {
        let error = file(&world, &commit, path).await.unwrap_err();
        assert!(error.is_permanent() && error.to_string().contains(why), "{path}: {error}");
    }
    assert!(!world.tree().exists());
}

fn present(path: &str) -> (String, PathChange) {
    (path.to_owned(), PathChange::Present)
}

fn removed(path: &str) -> (String, PathChange) {
    (path.to_owned(), PathChange::Removed)
}

fn read(directory: &Path, name: &str) -> String {
    fs::read_to_string(directory.join(name)).unwrap()
}

#[tokio::test]
async fn the_tree_is_the_pushed_commit_though_the_branch_has_moved_on() {
    let world = World::new();
    world.write("a.txt", "pushed");
    let pushed = world.commit();
    world.write("a.txt", "later");
    world.commit();
    let tree = world.checkout("main", &pushed).await.unwrap();
    assert_eq!(tree, world.tree());
    assert_eq!(read(&tree, "a.txt"), "pushed");
}

#[tokio::test]
async fn a_commit_that_is_here_is_checked_out_without_the_remote() {
    let world = World::new();
    world.write("a.txt", "1");
    let commit = world.commit();
    world.checkout("main", &commit).await.unwrap();
    fs::rename(world.origin(), world.dir.path().join("elsewhere")).unwrap();
    fs::write(world.tree().join("left.txt"), "by an earlier try").unwrap();
    let tree = world.checkout("main", &commit).await.unwrap();
    assert_eq!(read(&tree, "a.txt"), "1");
    assert!(!tree.join("left.txt").exists());
}

#[tokio::test]
async fn what_an_interrupted_fetch_left_does_not_count_as_here() {
    let world = World::new();
    world.write("a.txt", "1");
    let first = world.commit();
    world.checkout("main", &first).await.unwrap();
    world.write("a.txt", "2");
    let second = world.commit();
    // The commit alone, without its tree, as unpacking leaves it when it is killed.
    let object = format!("objects/{}/{}", &second.as_str()[..2], &second.as_str()[2..]);
    let mirror = world.mirror();
    fs::create_dir_all(mirror.join(&object).parent().unwrap()).unwrap();
    fs::copy(world.origin().join(".git").join(&object), mirror.join(&object)).unwrap();
    let tree = world.checkout("main", &second).await.unwrap();
    assert_eq!(read(&tree, "a.txt"), "2");
}

#[tokio::test]
async fn names_are_names_and_nothing_more() {
    let world = World::new();
    world.write("base.txt", "");
    world.commit();
    let mirror = world.dir.path().join("state");
    for branch in ["x/-x", "-x", "$(touch pwned)", "`touch pwned`;&|'\"<>(){}", "--upload-pack=touch pwned"] {
        let odd = format!("-{branch}\n.txt").replace('/', "_");
        world.write(&odd, branch);
        let commit = world.commit();
        world.git(&["update-ref", &format!("refs/heads/{}", branch.replace(' ', "_")), commit.as_str()]);
        let branch_name = branch.replace(' ', "_");
        let tree = world.checkout(&branch_name, &commit).await.unwrap();
        assert_eq!(read(&tree, &odd), branch);
        let changed = world.diff(&branch_name, None, &commit).await;
        assert_eq!(changed, [], "the commit is on the default branch");
    }
    assert!(!world.origin().join("pwned").exists() && !mirror.join("pwned").exists());
    assert!(!Path::new("pwned").exists());
}

#[tokio::test]
async fn a_commit_that_is_gone_is_refused_for_good() {
    let world = World::new();
    world.write("a.txt", "1");
    let kept = world.commit();
    world.write("a.txt", "2");
    let gone = world.commit();
    world.git(&["reset", "-q", "--hard", kept.as_str()]);
    world.forget();
    let refused = world.checkout("main", &gone).await.unwrap_err();
    assert!(refused.is_permanent());
    let told = refused.to_string();
    assert!(
        told.contains(gone.as_str()) && told.contains("refs/heads/main") && told.contains("gone"),
        "{told}"
    );
    let refused = world.checkout("deleted", &gone).await.unwrap_err();
    assert!(refused.is_permanent(), "{refused}");
}

#[tokio::test]
async fn a_remote_that_is_not_there_may_come_back() {
    let world = World::new();
    let commit = world.commit();
    fs::rename(world.origin(), world.dir.path().join("elsewhere")).unwrap();
    assert!(!world.checkout("main", &commit).await.unwrap_err().is_permanent());
    fs::rename(world.dir.path().join("elsewhere"), world.origin()).unwrap();
    world.checkout("main", &commit).await.unwrap();
}

#[tokio::test]
async fn a_repository_that_is_not_configured_is_refused_for_good() {
    let world = World::new();
    let (other, main) = (RepoName::new("acme/other").unwrap(), RefName::Branch("main".into()));
    let commit = world.commit();
    let with = Checkout::default();
    let refused = world.workspace().checkout(&other, &main, &commit, &with, &world.tree()).await.unwrap_err();
    assert!(refused.is_permanent() && refused.to_string().contains("acme/other"));
}

#[tokio::test]
async fn many_may_want_a_tree_at_once() {
    let world = World::new();
    world.write("a.txt", "1");
    let commit = world.commit();
    let main = RefName::Branch("main".into());
    let workspaces = [Arc::new(world.workspace()), Arc::new(world.workspace())];
    let trees: Vec<PathBuf> = (0..6).map(|n| world.dir.path().join(format!("runs/{n}/tree"))).collect();
    let mut checkouts = tokio::task::JoinSet::new();
    for (n, tree) in trees.iter().cloned().enumerate() {
        let (workspace, name) = (workspaces[n % 2].clone(), world.name.clone());
        let (main, commit) = (main.clone(), commit.clone());
        let with = Checkout::default();
        checkouts
            .spawn(async move { workspace.checkout(&name, &main, &commit, &with, &tree).await.unwrap() });
    }
    checkouts.join_all().await;
    assert!(trees.iter().all(|tree| read(tree, "a.txt") == "1"));
}

#[tokio::test]
async fn nothing_in_a_commit_is_run() {
    let world = World::new();
    let submodule = world.dir.path().join("origin/.git/sub");
    world.write("a.txt", "1");
    world.commit();
    world.git(&["clone", "-q", "--bare", ".", submodule.to_str().unwrap()]);
    world.git(&["submodule", "--quiet", "add", submodule.to_str().unwrap(), "sub"]);
    world.write(".gitattributes", "*.bin filter=lfs\n*.odd filter=odd\n");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    world.write("model.bin", pointer);
    world.write("model.odd", "1");
    let commit = world.commit();
    let tree = world.checkout("main", &commit).await.unwrap();
    assert_eq!(read(&tree, "model.bin"), pointer);
    assert_eq!(fs::read_dir(tree.join("sub")).unwrap().count(), 0, "a submodule is not fetched");
    let hook = world.mirror().join("hooks");
    fs::create_dir_all(&hook).unwrap();
    let pwned = world.dir.path().join("pwned");
    for name in ["post-checkout", "reference-transaction"] {
        fs::write(hook.join(name), format!("#!/bin/sh\ntouch {}\n", pwned.display())).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(hook.join(name), mode).unwrap();
    }
    world.checkout("main", &commit).await.unwrap();
    assert!(!pwned.exists());
}

#[tokio::test]
async fn a_tree_can_be_discarded_twice_and_made_again() {
    let world = World::new();
    world.write("a.txt", "1");
    let commit = world.commit();
    let workspace = world.workspace();
    workspace.discard(&world.name, &world.tree()).await.unwrap();
    world.checkout("main", &commit).await.unwrap();
    for _ in 0..2 {
        workspace.discard(&world.name, &world.tree()).await.unwrap();
        assert!(!world.tree().exists());
    }
    world.checkout("main", &commit).await.unwrap();
}

#[tokio::test]
async fn a_diff_is_the_difference_of_the_trees() {
    let world = World::new();
    world.write("kept.txt", "1");
    world.write("renamed.txt", "some text that is long enough to be recognised");
    world.write("back.txt", "1");
    let before = world.commit();
    world.write("back.txt", "2");
    world.commit();
    world.write("back.txt", "1");
    world.write("kept.txt", "2");
    world.write("dir/-new \n,ü.yaml", "");
    fs::rename(world.origin().join("renamed.txt"), world.origin().join("name.txt")).unwrap();
    let head = world.commit();
    let changed = world.diff("main", Some(&before), &head).await;
    let expected =
        [present("dir/-new \n,ü.yaml"), present("kept.txt"), present("name.txt"), removed("renamed.txt")];
    assert_eq!(changed, expected);
    assert_eq!(world.diff("main", Some(&head), &head).await, []);
}

#[tokio::test]
async fn a_new_branch_is_compared_with_where_it_left_the_default_branch() {
    let world = World::new();
    world.write("a.txt", "1");
    let base = world.commit();
    world.write("on-main.txt", "1");
    world.commit();
    world.git(&["checkout", "-q", "-b", "feature/x", base.as_str()]);
    world.write("on-feature.txt", "1");
    let head = world.commit();
    world.git(&["checkout", "-q", "main"]);
    assert_eq!(world.diff("feature/x", None, &head).await, [present("on-feature.txt")]);
}

#[tokio::test]
async fn the_default_branch_itself_and_unrelated_histories_are_new_altogether() {
    let world = World::new();
    world.write("a.txt", "1");
    let main = world.commit();
    assert_eq!(world.diff("main", None, &main).await, [present("a.txt")]);
    world.git(&["checkout", "-q", "--orphan", "other"]);
    world.write("b.txt", "1");
    let other = world.commit();
    world.git(&["checkout", "-q", "main"]);
    assert_eq!(world.diff("other", None, &other).await, [present("a.txt"), present("b.txt")]);
}

#[tokio::test]
async fn a_forced_push_is_compared_with_what_was_there_if_the_server_still_has_it() {
    let world = World::new();
    world.write("a.txt", "1");
    let base = world.commit();
    world.git(&["checkout", "-q", "-b", "feature"]);
    world.write("old.txt", "1");
    let before = world.commit();
    world.git(&["reset", "-q", "--hard", base.as_str()]);
    world.write("new.txt", "1");
    let head = world.commit();
    world.git(&["checkout", "-q", "main"]);
    let both = [present("new.txt"), removed("old.txt")];
    assert_eq!(world.diff("feature", Some(&before), &head).await, both);
    // What is here already is not asked of the server.
    world.forget();
    assert_eq!(world.diff("feature", Some(&before), &head).await, both);
}

#[tokio::test]
async fn a_forced_push_whose_past_is_gone_is_compared_like_a_new_branch() {
    let world = World::new();
    world.write("a.txt", "1");
    let base = world.commit();
    world.git(&["checkout", "-q", "-b", "feature"]);
    world.write("old.txt", "1");
    let gone = world.commit();
    world.git(&["reset", "-q", "--hard", base.as_str()]);
    world.write("new.txt", "1");
    let head = world.commit();
    world.git(&["checkout", "-q", "main"]);
    world.forget();
    assert_eq!(world.diff("feature", Some(&gone), &head).await, [present("new.txt")]);
    assert_eq!(world.diff("main", Some(&gone), &base).await, [present("a.txt")]);
}

#[tokio::test]
async fn a_tree_is_a_repository_of_its_own_and_changes_no_mirror() {
    let world = World::new();
    world.write("a.txt", "1");
    let first = world.commit();
    world.write("a.txt", "2");
    let second = world.commit();
    let tree = world.checkout("main", &second).await.unwrap();
    let git = |arguments: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.current_dir(&tree).args(["-c", "user.name=x", "-c", "user.email=x@x"]).args(arguments);
        let output = git.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(git(&["rev-parse", "HEAD", "HEAD^"]), format!("{second}\n{first}"));
    assert_eq!(git(&["status", "--porcelain"]), "");
    let before = names(&world.mirror());
    git(&["config", "core.sshCommand", "touch pwned"]);
    git(&["commit", "-q", "--allow-empty", "-m", "mine"]);
    git(&["branch", "mine"]);
    assert_eq!(names(&world.mirror()), before);
    assert!(!read(&world.mirror(), "config").contains("pwned"));
}

/// Everything under a folder.
fn names(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        found.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            found.extend(names(&entry.path()));
        }
    }
    found.sort();
    found
}
