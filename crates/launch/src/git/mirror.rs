use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use swifthook_core::{CommitSha, RefName, WorkspaceError};
use tokio::sync::{Mutex, MutexGuard};

use super::command::Git;
use super::config::Remote;

/// A bare repository of our own, with what was fetched from one remote.
///
/// A commit counts as here when it has the ref `refs/swifthook/<commit>`: git writes that only when everything that
/// the commit needs is here, where the commit alone may be what an interrupted fetch left.
pub(super) struct Mirror {
    pub(super) path: PathBuf,
    pub(super) remote: Remote,
    changing: Mutex<()>,
}

impl Mirror {
    /// The mirror of `remote`. A repository's name has two parts of harmless characters, none of them `.` or `..`.
    pub(super) fn new(mirrors: &Path, remote: Remote) -> Self {
        let path = mirrors.join(format!("{}.git", remote.name));
        Self { path, remote, changing: Mutex::new(()) }
    }

    /// Makes sure that the commit is here. `ref_name` is where it was pushed to, for servers that give nothing away
    /// by its hash.
    ///
    /// # Errors
    ///
    /// Permanent if the server does not have the commit.
    pub(super) async fn ensure(&self, ref_name: &RefName, commit: &CommitSha) -> Result<(), WorkspaceError> {
        if self.has(commit) {
            return Ok(());
        }
        let lock = self.lock().await?;
        if self.has(commit) {
            return Ok(());
        }
        self.create(&lock, commit).await?;
        match self.fetch(&lock, commit.as_str(), &ref_of(commit)).await? {
            Fetched::Here => Ok(()),
            Fetched::No => self.fetch_by_ref(&lock, ref_name, commit).await,
        }
    }

    /// Makes a working tree of the commit, still empty.
    pub(super) async fn add_worktree(
        &self,
        directory: &Path,
        commit: &CommitSha,
    ) -> Result<(), WorkspaceError> {
        let lock = self.lock().await?;
        self.forget_worktrees(&lock)?;
        self.git("make a working tree")
            .holding(&lock)
            .args(["worktree", "add", "--quiet", "--detach", "--no-checkout", "--end-of-options"])
            .arg(directory)
            .arg(commit.as_str())
            .output()
            .await?;
        Ok(())
    }

    /// Forgets working trees that are not there any more.
    pub(super) async fn prune_worktrees(&self) -> Result<(), WorkspaceError> {
        let lock = self.lock().await?;
        self.forget_worktrees(&lock)
    }

    /// Whether the commit and everything that it needs is here. Asks no process: this is the way of every push
    /// whose commit is known.
    pub(super) fn has(&self, commit: &CommitSha) -> bool {
        let name = ref_of(commit);
        let is_packed = || {
            fs::read_to_string(self.path.join("packed-refs")).is_ok_and(|refs| {
                refs.lines().any(|line| line.split_once(' ').is_some_and(|(_, packed)| packed == name))
            })
        };
        self.path.join(&name).exists() || is_packed()
    }

    /// A call of git in this mirror.
    pub(super) fn git(&self, what: &'static str) -> Git {
        Git::local(what, &self.path)
    }

    /// A call of git in this mirror that reaches the remote.
    pub(super) fn remote_git(&self, what: &'static str) -> Result<Git, WorkspaceError> {
        Git::remote(what, &self.path, &self.remote)
            .map_err(|error| WorkspaceError::passing("cannot read the credentials").because(error))
    }

    /// The branch that the remote has as its default, and its tip.
    pub(super) async fn default_branch(&self) -> Result<(RefName, CommitSha), WorkspaceError> {
        let told = self
            .remote_git("ask for the default branch")?
            .args(["ls-remote", "--quiet", "--symref"])
            .trusting(&self.remote)
            .args(["--end-of-options", &self.remote.url, "HEAD"])
            .output()
            .await?;
        parse_default_branch(&String::from_utf8_lossy(&told))
            .ok_or_else(|| WorkspaceError::passing(format!("`{}` tells no default branch", self.remote.name)))
    }

    /// Whether the first is the second or one of its ancestors, as far as this mirror knows.
    pub(super) async fn is_ancestor(&self, ancestor: &CommitSha, of: &str) -> bool {
        let asked = self.git("compare commits").args(["merge-base", "--is-ancestor", "--end-of-options"]);
        asked.args([ancestor.as_str(), of]).output().await.is_ok()
    }

    /// Fetches what `ref_name` is now, and looks for the commit in it.
    async fn fetch_by_ref(
        &self,
        lock: &Lock<'_>,
        ref_name: &RefName,
        commit: &CommitSha,
    ) -> Result<(), WorkspaceError> {
        let tip = format!("refs/swifthook-tip/{commit}");
        let is_here = match self.fetch(lock, &ref_name.to_string(), &tip).await? {
            Fetched::Here => self.is_ancestor(commit, &tip).await,
            Fetched::No => false,
        };
        if !is_here {
            return Err(WorkspaceError::permanent(format!(
                "commit {commit} is gone from `{}`: it was pushed to {ref_name}, which no longer has it",
                self.remote.name
            )));
        }
        let keep = self.git("keep a commit").holding(lock);
        keep.args(["update-ref", "--end-of-options", &ref_of(commit), commit.as_str()]).output().await?;
        Ok(())
    }

    /// Fetches a commit or ref into a ref of ours. Names in it are never options and never reach a shell.
    async fn fetch(&self, lock: &Lock<'_>, what: &str, into: &str) -> Result<Fetched, WorkspaceError> {
        // Of a fetch that was killed: under our lock there is no other.
        let _ = fs::remove_file(self.path.join(format!("{into}.lock")));
        let fetched = self
            .remote_git("fetch")?
            .holding(lock)
            .args(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"])
            .args(["--no-auto-maintenance", "--no-show-forced-updates"])
            .trusting(&self.remote)
            .args(["--end-of-options", &self.remote.url, &format!("+{what}:{into}")])
            .output()
            .await;
        match fetched {
            Ok(_) => Ok(Fetched::Here),
            Err(failure) if failure.is_refused_hash() || failure.is_unknown_ref() => Ok(Fetched::No),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Removes what git keeps of working trees that are gone, and of those that it was killed over: it would stumble
    /// over the latter ever after, and takes them for locked itself.
    ///
    /// See `worktrees` in <https://git-scm.com/docs/gitrepository-layout>.
    fn forget_worktrees(&self, _lock: &Lock<'_>) -> Result<(), WorkspaceError> {
        let Ok(kept) = fs::read_dir(self.path.join("worktrees")) else { return Ok(()) };
        let is_whole = |kept: &Path| {
            let says = |name: &str| fs::read_to_string(kept.join(name)).ok().filter(|text| !text.is_empty());
            says("commondir").is_some()
                && says("gitdir").is_some_and(|link| Path::new(link.trim_end()).exists())
        };
        let mut forgotten = kept.flatten().map(|kept| kept.path()).filter(|kept| !is_whole(kept));
        forgotten
            .try_for_each(|kept| remove(&kept))
            .map_err(|error| WorkspaceError::passing("cannot forget a working tree").because(error))
    }

    /// Makes the mirror if there is none. It is there whole or not at all.
    async fn create(&self, lock: &Lock<'_>, commit: &CommitSha) -> Result<(), WorkspaceError> {
        if self.path.join("HEAD").exists() {
            return Ok(());
        }
        let unfinished = self.path.with_extension("new");
        remove(&unfinished).map_err(not_made)?;
        let format = if commit.as_str().len() == 64 { "sha256" } else { "sha1" };
        Git::local("make a mirror", &unfinished)
            .holding(lock)
            .args(["init", "--quiet", "--bare", "--template="])
            .arg(format!("--object-format={format}"))
            .output()
            .await?;
        fs::rename(&unfinished, &self.path).map_err(not_made)
    }

    /// Keeps everybody else from changing this mirror. Git itself does not keep calls apart that make working trees:
    /// one fails at the sight of what another has half made.
    async fn lock(&self) -> Result<Lock<'_>, WorkspaceError> {
        let in_process = self.changing.lock().await;
        let path = self.path.with_extension("lock");
        let take = move || {
            fs::create_dir_all(path.parent().expect("it is under the mirrors"))?;
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
            rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))?;
            Ok::<_, io::Error>(file)
        };
        let locked = tokio::task::spawn_blocking(take).await.map_err(io::Error::other);
        let file = locked
            .flatten()
            .map_err(|error| WorkspaceError::passing("cannot lock the mirror").because(error))?;
        Ok(Lock { file, _in_process: in_process })
    }
}

/// Held while a mirror is changed: by us, and by the git that we started, should we be killed before it.
pub(super) struct Lock<'a> {
    pub(super) file: File,
    _in_process: MutexGuard<'a, ()>,
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // Closing is not enough: a process that is just being forked elsewhere has a copy of the descriptor for a
        // moment.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// What a fetch brought.
enum Fetched {
    Here,
    /// The other side has it not, or does not give it away.
    No,
}

/// Removes a directory. What is not there is no error.
pub(super) fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// `ref: refs/heads/main\tHEAD` and `<commit>\tHEAD`.
fn parse_default_branch(told: &str) -> Option<(RefName, CommitSha)> {
    let of_head = |line: &'_ str| line.strip_suffix("\tHEAD").map(str::to_owned);
    let lines: Vec<String> = told.lines().filter_map(of_head).collect();
    let name = lines.iter().find_map(|line| line.strip_prefix("ref: "))?;
    let tip = lines.iter().find_map(|line| CommitSha::parse(line).ok().flatten())?;
    Some((RefName::parse(name).ok()?, tip))
}

fn ref_of(commit: &CommitSha) -> String {
    format!("refs/swifthook/{commit}")
}

fn not_made(error: io::Error) -> WorkspaceError {
    WorkspaceError::passing("cannot make the mirror").because(error)
}

#[cfg(test)]
mod tests {
    use swifthook_core::Problem;

    use super::*;

    #[test]
    fn the_default_branch_is_read_from_what_git_tells() {
        let commit = "a".repeat(40);
        let told = format!(
            "ref: refs/heads/trunk/1\tHEAD\n{commit}\tHEAD\n{}\trefs/remotes/x/HEAD\n",
            "b".repeat(40)
        );
        let (name, tip) = parse_default_branch(&told).unwrap();
        assert_eq!((name.to_string().as_str(), tip.as_str()), ("refs/heads/trunk/1", commit.as_str()));
        for nothing in ["", "ref: refs/heads/main\tHEAD\n", &format!("{commit}\tHEAD\n")] {
            assert_eq!(parse_default_branch(nothing), None, "{nothing}");
        }
    }

    #[tokio::test]
    async fn where_hashes_are_refused_the_commit_is_found_in_its_ref() {
        let dir = tempfile::tempdir().unwrap();
        let origin = dir.path().join("origin");
        let git = |arguments: &[&str]| {
            let mut git = std::process::Command::new("git");
            git.env("GIT_DIR", &origin).args(["-c", "user.name=x", "-c", "user.email=x@x"]).args(arguments);
            let output = git.output().unwrap();
            assert!(output.status.success(), "{output:?}");
            CommitSha::parse(String::from_utf8(output.stdout).unwrap().trim()).ok().flatten()
        };
        git(&["init", "-q", "--bare"]);
        git(&["hash-object", "-w", "-t", "tree", "/dev/null"]);
        let tree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
        let first = git(&["commit-tree", "-m", "1", tree]).unwrap();
        let second = git(&["commit-tree", "-m", "2", "-p", first.as_str(), tree]).unwrap();
        let name = swifthook_core::RepoName::new("acme/models").unwrap();
        let remote = Remote::new(name, origin.to_str().unwrap()).unwrap();
        let mirror = Mirror::new(dir.path(), remote);
        let lock = mirror.lock().await.unwrap();
        mirror.create(&lock, &first).await.unwrap();
        let unknown = CommitSha::parse(&"a".repeat(40)).unwrap().unwrap();
        for branch in ["main", "-x", "--upload-pack=x", "$(touch${IFS}pwned)", "a`b`;&|'\"<>(){}"] {
            let branch = RefName::Branch(branch.into());
            git(&["update-ref", &branch.to_string(), second.as_str()]);
            git(&["--git-dir", mirror.path.to_str().unwrap(), "update-ref", "-d", &ref_of(&first)]);
            mirror.fetch_by_ref(&lock, &branch, &first).await.unwrap();
            assert!(mirror.has(&first));
            let gone = mirror.fetch_by_ref(&lock, &branch, &unknown).await.unwrap_err();
            assert!(gone.is_permanent() && !mirror.has(&unknown), "{gone}");
        }
        let gone = mirror.fetch_by_ref(&lock, &RefName::Branch("deleted".into()), &first).await.unwrap_err();
        assert!(gone.is_permanent(), "{gone}");
    }
}
