//! Submodules, from a server that a script in place of `ssh` plays: it runs here what it is told to run there.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use swifthook_core::{Checkout, CommitSha, Problem, RefName, Workspace, WorkspaceError};
use swifthook_launch::{GitWorkspace, Remote};

use crate::world::{World, in_a_process_with_ssh};

/// Repositories on `git.example`, under this folder.
struct Site {
    world: World,
}

impl Site {
    fn new() -> Self {
        Self { world: World::new() }
    }

    fn url(&self, name: &str) -> String {
        format!("ssh://git@git.example{}/{name}", self.world.dir.path().display())
    }

    /// A repository with one commit, of which these are the files.
    fn repository(&self, name: &str, files: &[(&str, &str)]) -> CommitSha {
        let folder = self.world.dir.path().join(name);
        let git = |arguments: &[&str]| {
            let mut git = Command::new("git");
            git.current_dir(&folder).args(["-c", "user.name=x", "-c", "user.email=x@x"]).args(arguments);
            let output = git.output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {output:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        fs::create_dir_all(&folder).unwrap();
        git(&["init", "-q", "-b", "main"]);
        for (path, text) in files {
            match text.strip_prefix("commit ") {
                Some(commit) => {
                    let entry = format!("160000,{commit},{path}");
                    git(&["update-index", "--add", "--cacheinfo", &entry]);
                }
                None => {
                    fs::create_dir_all(folder.join(path).parent().unwrap()).unwrap();
                    fs::write(folder.join(path), text).unwrap();
                    git(&["add", "--", path]);
                }
            }
        }
        git(&["commit", "-q", "-m", "."]);
        CommitSha::parse(&git(&["rev-parse", "HEAD"])).unwrap().unwrap()
    }

    async fn check_out(&self, commit: &CommitSha, hosts: &[&str]) -> Result<PathBuf, WorkspaceError> {
        let remote = Remote::new(self.world.name.clone(), &self.url("parent")).unwrap();
        let workspace = GitWorkspace::new(self.world.dir.path().join("state"), [remote]).unwrap();
        let submodules: Arc<[String]> = hosts.iter().map(ToString::to_string).collect();
        let with = Checkout { submodules, ..Checkout::default() };
        let main = RefName::Branch("main".into());
        workspace.checkout(&self.world.name, &main, commit, &with, &self.world.tree()).await
    }
}

fn entry(name: &str, path: &str, url: &str) -> String {
    format!("[submodule \"{name}\"]\n\tpath = {path}\n\turl = {url}\n\tupdate = !touch pwned\n")
}

#[test]
fn submodules_of_allowed_hosts_are_checked_out_and_theirs_in_turn() {
    in_a_process_with_ssh(
        "submodules::submodules_of_allowed_hosts_are_checked_out_and_theirs_in_turn",
        || async {
            let site = Site::new();
            let inner = site.repository("inner", &[("inner.txt", "inner")]);
            let nested = entry("inner", "deep/inner", "../inner");
            let sub = site.repository(
                "sub",
                &[("sub.txt", "sub"), (".gitmodules", &nested), ("deep/inner", &format!("commit {inner}"))],
            );
            let modules =
                entry("sub", "vendor/sub", "../sub") + &entry("unused", "nowhere", "https://evil.example/x");
            let parent = site.repository(
                "parent",
                &[("a.txt", "a"), (".gitmodules", &modules), ("vendor/sub", &format!("commit {sub}"))],
            );
            let tree = site.check_out(&parent, &[]).await.unwrap();
            assert_eq!(fs::read_dir(tree.join("vendor/sub")).unwrap().count(), 0, "nobody asked for it");
            let tree = site.check_out(&parent, &["git.example"]).await.unwrap();
            for (path, text) in
                [("a.txt", "a"), ("vendor/sub/sub.txt", "sub"), ("vendor/sub/deep/inner/inner.txt", "inner")]
            {
                assert_eq!(fs::read_to_string(tree.join(path)).unwrap(), text, "{path}");
            }
            let refused = site.check_out(&parent, &["github.com"]).await.unwrap_err();
            assert!(refused.is_permanent() && refused.to_string().contains("git.example"), "{refused}");
            assert!(!tree.join("pwned").exists() && !PathBuf::from("pwned").exists());
        },
    );
}

#[test]
fn a_submodule_that_may_not_be_fetched_fails_the_checkout_for_good() {
    in_a_process_with_ssh(
        "submodules::a_submodule_that_may_not_be_fetched_fails_the_checkout_for_good",
        || async {
            let site = Site::new();
            let sub = site.repository("sub", &[("sub.txt", "sub")]);
            let secret = site.world.dir.path().join("sub");
            let at = |name: &str, path: &str, url: &str, told: &str| {
                (entry(name, path, url), path.to_owned(), told.to_owned())
            };
            for (number, (modules, path, told)) in [
                at("sub", "sub", &format!("file://{}", secret.display()), "https or ssh"),
                at("sub", "sub", &secret.display().to_string(), "https or ssh"),
                at("sub", "sub", "http://git.example/sub", "not a clone URL"),
                at("sub", "sub", "\"ext::sh -c touch% pwned\"", "not a clone URL"),
                at("sub", "sub", "-u./payload", "begins with `-`"),
                at("sub", "sub", "ssh://-oProxyCommand=x/sub", "not a clone URL"),
                at("sub", "sub", "https://evil.example/sub", "evil.example"),
                at("sub", "sub", "\"../sub\\b\"", "control characters"),
                at("sub", "elsewhere", "../sub", "no address in .gitmodules"),
            ]
            .into_iter()
            .enumerate()
            {
                let place = if path == "elsewhere" { "sub" } else { &path };
                let parent = format!("parent-{number}");
                let files = [(".gitmodules", modules.as_str()), (place, &format!("commit {sub}"))];
                let commit = site.repository(&parent, &files);
                let _ = fs::remove_dir_all(site.world.dir.path().join("parent"));
                fs::rename(site.world.dir.path().join(parent), site.world.dir.path().join("parent")).unwrap();
                let refused = site.check_out(&commit, &["git.example"]).await.unwrap_err();
                assert!(
                    refused.is_permanent() && refused.to_string().contains(&told),
                    "{modules}: {refused}"
                );
                assert!(!refused.to_string().contains(char::is_control), "{refused:?}");
            }
            // A carriage return at the end of a path was a way out of the tree: CVE-2025-48384.
            let modules = "[submodule \"sub\"]\n\tpath = \"sub\r\"\n\turl = ../sub\n";
            let commit =
                site.repository("last", &[(".gitmodules", modules), ("sub\r", &format!("commit {sub}"))]);
            fs::remove_dir_all(site.world.dir.path().join("parent")).unwrap();
            fs::rename(site.world.dir.path().join("last"), site.world.dir.path().join("parent")).unwrap();
            let refused = site.check_out(&commit, &["git.example"]).await.unwrap_err();
            assert!(
                refused.is_permanent() && refused.to_string().contains("control characters"),
                "{refused}"
            );
        },
    );
}

#[test]
fn a_list_of_submodules_that_is_a_link_is_not_followed() {
    in_a_process_with_ssh("submodules::a_list_of_submodules_that_is_a_link_is_not_followed", || async {
        let site = Site::new();
        let sub = site.repository("sub", &[("sub.txt", "sub")]);
        let modules = entry("sub", "sub", "../sub");
        site.repository("parent", &[("modules", &modules), ("sub", &format!("commit {sub}"))]);
        // Made by hand: git itself would not.
        let script = "link=$(printf modules | git hash-object -w --stdin) &&
            tree=$({ git ls-tree HEAD; printf '120000 blob %s\\t.gitmodules\\n' $link; } | git mktree) &&
            commit=$(git -c user.name=x -c user.email=x@x commit-tree -m . $tree) &&
            git update-ref refs/heads/main $commit && echo $commit";
        let folder = site.world.dir.path().join("parent");
        let made = Command::new("sh").current_dir(folder).args(["-c", script]).output().unwrap();
        let commit = CommitSha::parse(String::from_utf8(made.stdout).unwrap().trim()).unwrap().unwrap();
        let refused = site.check_out(&commit, &["git.example"]).await.unwrap_err();
        assert!(refused.is_permanent() && refused.to_string().contains("invalid path"), "{refused}");
    });
}

#[test]
fn the_commit_of_a_submodule_is_found_where_its_server_gives_nothing_away_by_its_hash() {
    let name =
        "submodules::the_commit_of_a_submodule_is_found_where_its_server_gives_nothing_away_by_its_hash";
    in_a_process_with_ssh(name, || async {
        let site = Site::new();
        let sub = site.repository("sub", &[("sub.txt", "old")]);
        site.repository("sub", &[("sub.txt", "new")]);
        let modules = entry("sub", "sub", "../sub");
        let parent =
            site.repository("parent", &[(".gitmodules", &modules), ("sub", &format!("commit {sub}"))]);
        // As if it spoke an old version of the protocol: what is not the tip of a branch is refused.
        fs::write(site.world.dir.path().join("old-protocol"), "").unwrap();
        let tree = site.check_out(&parent, &["git.example"]).await.unwrap();
        assert_eq!(fs::read_to_string(tree.join("sub/sub.txt")).unwrap(), "old");
        let gone = "a".repeat(40);
        let parent = site.repository("parent", &[("sub", &format!("commit {gone}"))]);
        let refused = site.check_out(&parent, &["git.example"]).await.unwrap_err();
        assert!(refused.is_permanent() && refused.to_string().contains(&gone), "{refused}");
    });
}
