//! Mirrors with a part of the past.

use std::fs;
use std::process::Command;

use swifthook_core::{ChangeSet, CommitSha, Gap, PathChange, Problem, RefName, Workspace};
use swifthook_launch::History;

use crate::world::World;

/// A past of three commits, whose middle one has a file that no later one has, and a branch from the first.
struct Past {
    world: World,
    heads: [swifthook_core::CommitSha; 4],
}

impl Past {
    fn new(history: History) -> Self {
        let world = World::with(history);
        world.write("kept.txt", "1");
        world.write("configs/sft.yaml", "a: 1\n");
        let first = world.commit();
        world.write("large.bin", "0123456789 of long ago");
        let second = world.commit();
        fs::remove_file(world.origin().join("large.bin")).unwrap();
        world.write("kept.txt", "2");
        let third = world.commit();
        world.git(&["checkout", "-q", "-b", "feature", first.as_str()]);
        world.write("new.txt", "1");
        let feature = world.commit();
        world.git(&["checkout", "-q", "main"]);
        Self { world, heads: [first, second, third, feature] }
    }

    /// Whether the mirror has the content of a file of the second commit.
    fn has_old_file(&self) -> bool {
        let object = self.world.git(&["rev-parse", &format!("{}:large.bin", self.heads[1])]);
        let mut git = Command::new("git");
        git.env("GIT_DIR", self.world.mirror()).env("GIT_NO_LAZY_FETCH", "1");
        git.args(["cat-file", "-e", &object]).output().unwrap().status.success()
    }
}

#[tokio::test]
async fn whatever_of_the_past_is_fetched_a_run_sees_the_same_and_so_does_a_diff() {
    for history in [History::Full, History::Blobless, History::Shallow] {
        let past = Past::new(history);
        let (world, [first, _, third, feature]) = (&past.world, &past.heads);
        let changed = world.diff("feature", None, feature).await;
        assert_eq!(changed, [("new.txt".to_owned(), PathChange::Present)], "{history:?}");
        let changed = world.diff("main", Some(first), third).await;
        assert_eq!(changed, [("kept.txt".to_owned(), PathChange::Present)], "{history:?}");
        for (branch, commit, file) in [("main", third, "kept.txt"), ("feature", feature, "new.txt")] {
            let tree = world.checkout(branch, commit).await.unwrap();
            assert!(tree.join(file).exists() && !tree.join("large.bin").exists(), "{history:?}");
            let status =
                Command::new("git").current_dir(&tree).args(["status", "--porcelain"]).output().unwrap();
            assert!(status.status.success() && status.stdout.is_empty(), "{history:?}: {status:?}");
        }
    }
}

#[tokio::test]
async fn what_is_not_needed_of_the_past_is_not_fetched() {
    for (history, has_old_file) in
        [(History::Full, true), (History::Blobless, false), (History::Shallow, false)]
    {
        let past = Past::new(history);
        past.world.checkout("main", &past.heads[2]).await.unwrap();
        assert_eq!(past.has_old_file(), has_old_file, "{history:?}");
        assert_eq!(past.world.mirror().join("shallow").exists(), history == History::Shallow);
    }
}

#[tokio::test]
async fn one_file_is_read_without_any_other() {
    for history in [History::Full, History::Blobless, History::Shallow] {
        let past = Past::new(history);
        let (world, main) = (&past.world, RefName::Branch("main".into()));
        for _ in 0..2 {
            let read = world.workspace();
            let read = read.read_file(&world.name, &main, &past.heads[2], "configs/sft.yaml", 100).await;
            assert_eq!(read.unwrap(), b"a: 1\n", "{history:?}");
        }
        let kept = world.git(&["rev-parse", &format!("{}:kept.txt", past.heads[2])]);
        let mut git = Command::new("git");
        git.env("GIT_DIR", world.mirror()).env("GIT_NO_LAZY_FETCH", "1").args(["cat-file", "-e", &kept]);
        assert_eq!(git.output().unwrap().status.success(), history != History::Blobless, "{history:?}");
    }
}

#[tokio::test]
async fn a_commit_that_is_gone_is_refused_whatever_of_the_past_is_fetched() {
    for history in [History::Blobless, History::Shallow] {
        let past = Past::new(history);
        past.world.checkout("main", &past.heads[2]).await.unwrap();
        let gone = swifthook_core::CommitSha::parse(&"a".repeat(40)).unwrap().unwrap();
        assert!(past.world.checkout("main", &gone).await.unwrap_err().is_permanent(), "{history:?}");
    }
}

#[tokio::test]
async fn of_a_commit_that_changes_a_flood_of_files_the_first_are_told_and_that_there_are_more() {
    let world = World::new();
    let before = world.commit();
    let blob = world.git(&["hash-object", "-w", "-t", "blob", "/dev/null"]);
    let tree_of = |entries: String| {
        fs::write(world.dir.path().join("entries"), entries).unwrap();
        let mut tree = Command::new("git");
        tree.current_dir(world.origin()).arg("mktree");
        let tree = tree.stdin(fs::File::open(world.dir.path().join("entries")).unwrap()).output().unwrap();
        String::from_utf8(tree.stdout).unwrap().trim().to_owned()
    };
    let files = tree_of((0..10_000).map(|n| format!("100644 blob {blob}\tfile-{n:04}\n")).collect());
    // Of 150,000 paths as many as are looked at; of ten million, which three objects make, none.
    for (folders, kept) in [(15, 100_000), (1_000, 0)] {
        let tree = tree_of((0..folders).map(|n| format!("040000 tree {files}\tfolder-{n:03}\n")).collect());
        let head = world.git(&["commit-tree", "-m", ".", "-p", before.as_str(), &tree]);
        world.git(&["update-ref", "refs/heads/main", &head]);
        let (head, main) = (CommitSha::parse(&head).unwrap().unwrap(), RefName::Branch("main".into()));
        let changes = world.workspace().diff(&world.name, &main, Some(&before), &head).await.unwrap();
        let ChangeSet::Incomplete(paths, Gap::Truncated) = changes else { panic!("it is not said") };
        assert_eq!(paths.len(), kept);
        let first = (kept > 0).then_some(("folder-000/file-0000", PathChange::Present));
        assert_eq!(paths.iter().next(), first);
    }
}
