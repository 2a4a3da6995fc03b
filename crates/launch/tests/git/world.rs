//! A repository that somebody pushes to, and a workspace that fetches from it.

use std::fs;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use swifthook_core::{
    ChangeSet, Checkout, CommitSha, PathChange, RefName, RepoName, Workspace, WorkspaceError,
};
use swifthook_launch::{GitWorkspace, History, Remote};

/// A repository that somebody pushes to, and a workspace that fetches from it.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) name: RepoName,
    pub(crate) history: History,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(History::Full)
    }

    pub(crate) fn with(history: History) -> Self {
        let (dir, name) = (tempfile::tempdir().unwrap(), RepoName::new("acme/models").unwrap());
        let world = Self { dir, name, history };
        fs::create_dir(world.origin()).unwrap();
        world.git(&["init", "-q", "-b", "main"]);
        world
    }

    pub(crate) fn origin(&self) -> PathBuf {
        self.dir.path().join("origin")
    }

    pub(crate) fn tree(&self) -> PathBuf {
        self.dir.path().join("runs/1/tree")
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .current_dir(self.origin())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .args(["-c", "user.name=x", "-c", "user.email=x@x", "-c", "protocol.file.allow=always"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.origin().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Commits everything that stands in the working tree.
    pub(crate) fn commit(&self) -> CommitSha {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "."]);
        self.head()
    }

    pub(crate) fn head(&self) -> CommitSha {
        CommitSha::parse(&self.git(&["rev-parse", "HEAD"])).unwrap().unwrap()
    }

    pub(crate) fn workspace(&self) -> GitWorkspace {
        let remote = Remote::new(self.name.clone(), self.origin().to_str().unwrap()).unwrap();
        GitWorkspace::new(self.dir.path().join("state"), [remote.keeping(self.history)]).unwrap()
    }

    pub(crate) async fn checkout(&self, branch: &str, commit: &CommitSha) -> Result<PathBuf, WorkspaceError> {
        let branch = RefName::Branch(branch.into());
        self.workspace().checkout(&self.name, &branch, commit, &Checkout::default(), &self.tree()).await
    }

    pub(crate) fn mirror(&self) -> PathBuf {
        let folder = match self.history {
            History::Full => "mirrors",
            History::Blobless => "mirrors-blobless",
            _ => "mirrors-shallow",
        };
        self.dir.path().join("state").join(folder).join("acme/models.git")
    }

    pub(crate) async fn diff(
        &self,
        branch: &str,
        before: Option<&CommitSha>,
        head: &CommitSha,
    ) -> Vec<(String, PathChange)> {
        let branch = RefName::Branch(branch.into());
        match self.workspace().diff(&self.name, &branch, before, head).await.unwrap() {
            ChangeSet::Complete(paths) => {
                paths.iter().map(|(path, change)| (path.to_owned(), change)).collect()
            }
            ChangeSet::Incomplete(..) => panic!("a diff is always complete"),
        }
    }

    /// Makes the commit gone for good that no ref has any more.
    pub(crate) fn forget(&self) {
        self.git(&["reflog", "expire", "--expire=now", "--all"]);
        self.git(&["gc", "-q", "--prune=now"]);
    }
}

/// Runs a test, whose name is given, in a process of its own whose `ssh` is a script: it runs here what it is told to
/// run elsewhere. Where there is a file `old-protocol` beside a repository, it speaks the first version of the protocol;
/// where there is one `hang`, it says nothing and waits.
pub(crate) fn in_a_process_with_ssh<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F) {
    let with_ssh = |folder: &Path| {
        let ssh = folder.join("ssh");
        fs::write(&ssh, SSH).unwrap();
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
        format!("{}:{}", folder.display(), std::env::var("PATH").unwrap())
    };
    in_a_process_with(name, with_ssh, test);
}

/// Runs a test, whose name is given, in a process of its own with another `PATH`, for which there is a folder. What the
/// file `authority.pem` in it has signed is trusted.
pub(crate) fn in_a_process_with<F: Future<Output = ()>>(
    name: &str,
    path: impl FnOnce(&Path) -> String,
    test: impl FnOnce() -> F,
) {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        return runtime.unwrap().block_on(test());
    }
    let dir = tempfile::tempdir().unwrap();
    let us = std::env::current_exe().unwrap();
    let output = Command::new(us)
        .args(["--exact", name, "--nocapture", "--include-ignored"])
        .env("PATH", path(dir.path()))
        .env("GIT_SSL_CAINFO", dir.path().join("authority.pem"))
        .env(INSIDE, "1")
        .current_dir(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

const INSIDE: &str = "SWIFTHOOK_TEST_WITH_SSH";

/// The last argument is the command: `git-upload-pack '/folder/of/a/repository'`.
const SSH: &str = r#"#!/bin/sh
for last; do :; done
case "$*" in *git@git.example*) ;; *) echo "no such host: $*" >&2; exit 255 ;; esac
folder=$(eval "set -- $last"; dirname "$2")
[ ! -e "$folder/hang" ] || exec sleep 600
[ ! -e "$folder/old-protocol" ] || unset GIT_PROTOCOL
exec sh -c "$last"
"#;
