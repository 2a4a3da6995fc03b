//! A working tree: its own small repository, which borrows the objects of the mirror.
//!
//! Not by `git worktree`: that writes into the mirror, so that no two could be made at once, and lets whatever runs in
//! the tree change the mirror's configuration. Here a run that commits, fetches or configures does so in its own tree.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use swifthook_core::{CommitSha, WorkspaceError};

use super::command::Git;
use super::mirror::{Mirror, remove};

impl Mirror {
    /// Makes a working tree of a commit that is here. What stands at `directory` goes.
    pub(super) async fn add_tree(&self, directory: &Path, commit: &CommitSha) -> Result<(), WorkspaceError> {
        let (mirror, place, head) = (self.path.clone(), directory.to_owned(), commit.clone());
        let made = tokio::task::spawn_blocking(move || {
            remove(&place)?;
            note(&mirror, &place, &head)?;
            borrow(&mirror, &place, &head)
        });
        made.await
            .map_err(io::Error::other)
            .flatten()
            .map_err(|error| WorkspaceError::passing("cannot make the working tree").because(error))?;
        Git::local("check out", &directory.join(".git"))
            .in_tree(directory)
            .args(["reset", "--quiet", "--hard", "--no-recurse-submodules"])
            .output()
            .await?;
        Ok(())
    }

    /// The commits of the working trees that are there. Notes of those that are gone are removed.
    pub(super) fn commits_in_trees(mirror: &Path) -> io::Result<Vec<String>> {
        let notes = match fs::read_dir(mirror.join(TREES)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            notes => notes?,
        };
        let mut commits = Vec::new();
        for note in notes {
            let note = note?.path();
            let tree = fs::read(&note)?;
            let tree = PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(tree));
            let commit = note.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
            if tree.join(".git").try_exists()? {
                commits.push(commit.to_owned());
            } else {
                fs::remove_file(&note)?;
            }
        }
        Ok(commits)
    }
}

/// Notes in the mirror that `tree` needs its commit: what working trees need is not forgotten.
fn note(mirror: &Path, tree: &Path, commit: &CommitSha) -> io::Result<()> {
    let (us, serial) = (std::process::id(), NEXT_NOTE.fetch_add(1, Ordering::Relaxed));
    let notes = mirror.join(TREES);
    fs::create_dir_all(&notes)?;
    fs::write(notes.join(format!("{commit}.{us}-{serial}")), tree.as_os_str().as_encoded_bytes())
}

/// Makes the repository of a tree, with the commit as its head and nothing checked out.
///
/// See <https://git-scm.com/docs/gitrepository-layout>.
fn borrow(mirror: &Path, tree: &Path, commit: &CommitSha) -> io::Result<()> {
    let git_dir = tree.join(".git");
    for folder in ["objects/info", "refs"] {
        DirBuilder::new().recursive(true).mode(0o700).create(git_dir.join(folder))?;
    }
    // As `git clone` has it for whoever else may look.
    let config = match commit.as_str().len() {
        64 => {
            "[core]\n\trepositoryformatversion = 1\n\tbare = false\n[extensions]\n\tobjectFormat = sha256\n"
        }
        _ => "[core]\n\trepositoryformatversion = 0\n\tbare = false\n",
    };
    fs::write(git_dir.join("config"), config)?;
    fs::write(git_dir.join("HEAD"), format!("{commit}\n"))?;
    let mut objects = mirror.join("objects").into_os_string().into_encoded_bytes();
    objects.push(b'\n');
    fs::write(git_dir.join("objects/info/alternates"), objects)?;
    match fs::copy(mirror.join("shallow"), git_dir.join("shallow")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Tells apart what one process notes of one commit.
static NEXT_NOTE: AtomicU64 = AtomicU64::new(0);

/// Where a mirror has the notes of its working trees: `<commit>.<anything>` holds the path of one.
const TREES: &str = "swifthook-trees";
