//! What goes before a run into its pod: the working tree of its commit, fetched by the pod itself.
//!
//! It tells why there is none in the container's message of termination, and by its exit code whether there could be one
//! another time.

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use swifthook_core::{Checkout, CommitSha, Problem, RefName, RepoName, Workspace, WorkspaceError};

use crate::git::{Credentials, GitWorkspace, History, NoAccess, Remote};

/// The working tree that a run is to have. Nothing in it is secret.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) repository: RepoName,
    /// Where it is fetched from.
    pub(crate) url: String,
    pub(crate) ref_name: RefName,
    pub(crate) commit: CommitSha,
    pub(crate) lfs: bool,
    pub(crate) submodules: Vec<String>,
    /// The folder of what is shown to the server.
    pub(crate) secret: Option<PathBuf>,
    /// A folder that is ours: the tree is to be [`TREE`] in it, and borrows objects from beside it.
    pub(crate) place: PathBuf,
    /// Where to tell why there is none.
    pub(crate) told: PathBuf,
    /// How long to wait before each other try, in milliseconds: the network of a pod may come later than the pod.
    pub(crate) pauses: Vec<u64>,
}

/// Makes a working tree, and then does not return.
pub(super) fn check_out(mut arguments: impl Iterator<Item = OsString>) -> ! {
    let text = arguments.next().and_then(|text| text.into_string().ok()).unwrap_or_default();
    let code = match serde_json::from_str::<Wanted>(&text) {
        Ok(wanted) => wanted.settle(),
        Err(error) => {
            let _ = writeln!(io::stderr(), "swifthook: not an order for a working tree: {error}");
            FAILED
        }
    };
    std::process::exit(code)
}

impl Wanted {
    /// The exit code.
    fn settle(&self) -> i32 {
        let Err(error) = self.check_out_in_the_end() else { return 0 };
        let message = in_words(&error);
        let _ = writeln!(io::stderr(), "swifthook: {message}");
        let short: String = message.chars().take(MOST_CHARACTERS).collect();
        let _ = fs::write(&self.told, short);
        if is_for_good(&error) { REFUSED } else { FAILED }
    }

    fn check_out_in_the_end(&self) -> Result<(), WorkspaceError> {
        let mut pauses = self.pauses.iter().copied().map(Duration::from_millis);
        has_git()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failed("cannot begin to fetch", error))?;
        loop {
            let error = match runtime.block_on(self.check_out()) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let Some(pause) = pauses.next().filter(|_| !is_for_good(&error)) else { return Err(error) };
            let _ = writeln!(io::stderr(), "swifthook: {}; trying again", in_words(&error));
            std::thread::sleep(pause);
        }
    }

    async fn check_out(&self) -> Result<(), WorkspaceError> {
        let remote = Remote::new(self.repository.clone(), &self.url)
            .map_err(|error| WorkspaceError::permanent("cannot fetch").because(error))?
            .keeping(History::Shallow);
        let remote = match &self.secret {
            Some(folder) => remote.with(Credentials::Folder(folder.clone())),
            None => remote,
        };
        let workspace = GitWorkspace::new(&self.place, [remote])
            .map_err(|error| failed("cannot make the working tree", error))?;
        let with = Checkout { lfs: self.lfs, submodules: self.submodules.clone().into() };
        let tree = self.place.join(TREE);
        workspace.checkout(&self.repository, &self.ref_name, &self.commit, &with, &tree).await?;
        self.check(&tree)
    }

    /// That what stands there is the commit that was asked for, by git's own word.
    fn check(&self, tree: &Path) -> Result<(), WorkspaceError> {
        let asked = Command::new("git")
            .current_dir(tree)
            .args(["rev-parse", "--verify", "HEAD^{commit}"])
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| failed("cannot look at the working tree", error))?;
        match String::from_utf8_lossy(&asked.stdout).trim() == self.commit.as_str() {
            true => Ok(()),
            false => Err(WorkspaceError::passing(format!("the working tree is not one of {}", self.commit))),
        }
    }
}

/// Whether another try would come to the same: also where a server does not let us in, which the worker's own checkouts
/// wait for, since nobody changes the secret of a pod that is there.
fn is_for_good(error: &WorkspaceError) -> bool {
    error.is_permanent() || causes(error).any(|cause| cause.is::<NoAccess>())
}

fn has_git() -> Result<(), WorkspaceError> {
    match Command::new("git").arg("--version").stdin(Stdio::null()).output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(WorkspaceError::permanent(
            "the image that is to check the commit out has no git: `checkout = { image = … }` of the launcher",
        )),
        _ => Ok(()),
    }
}

fn failed(what: &str, error: io::Error) -> WorkspaceError {
    WorkspaceError::passing(what).because(error)
}

/// An error and what caused it, on one line.
fn in_words(error: &WorkspaceError) -> String {
    causes(error).fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn causes(error: &WorkspaceError) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let mut next = error.source();
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

/// The hidden first argument.
pub(crate) const CHECK_OUT: &str = "__swifthook_check_out";
/// The folder of the working tree. It is none that others made for us, so that it belongs to us, as git wants it.
pub(crate) const TREE: &str = "tree";
/// The exit code that says: not another time either.
pub(crate) const REFUSED: i32 = 78;
/// The exit code that says: perhaps another time.
pub(crate) const FAILED: i32 = 1;
/// A message of termination has 4 KiB.
const MOST_CHARACTERS: usize = 1000;
