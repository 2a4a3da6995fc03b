use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use swifthook_core::text::address_without_user_info;
use swifthook_core::{CommitSha, RefName, RepoName, WorkspaceError};
use tokio::sync::Mutex;

use super::command::Git;
use super::config::{History, Remote};
use super::failure::Failure;
use super::lock::Lock;
use crate::beneath::remove_tree;

/// A bare repository of our own, with what was fetched from one remote.
///
/// A commit counts as here when it has the ref `refs/swifthook/<commit>`: git writes that only when everything that
/// the commit needs is here, where the commit alone may be what an interrupted fetch left. When it was last wanted is
/// told by the time of that ref's file. In a blobless mirror the files of a commit come later ([`fetch_files`]).
///
/// [`fetch_files`]: Mirror::fetch_files
pub(super) struct Mirror {
    pub(super) path: PathBuf,
    pub(super) remote: Remote,
    pub(super) changing: Mutex<()>,
    /// True if its address comes from a commit, and not from the configuration.
    pub(super) is_submodule: bool,
}

impl Mirror {
    /// The mirror of `remote`. A repository's name has two parts of harmless characters, none of them `.` or `..`.
    pub(super) fn new(state_dir: &Path, remote: Remote) -> Self {
        let path = state_dir.join(folder_of(remote.history)).join(format!("{}.git", remote.name));
        Self { path, remote, changing: Mutex::new(()), is_submodule: false }
    }

    /// The mirror at `path` of a remote that a commit names.
    pub(super) fn of_submodule(path: PathBuf, remote: Remote) -> Self {
        Self { path, remote, changing: Mutex::new(()), is_submodule: true }
    }

    /// Makes sure that the commit is here. `ref_name` is where it was pushed to, for servers that give nothing away
    /// by its hash; without one it is looked for in all branches.
    ///
    /// # Errors
    ///
    /// Permanent if the server does not have the commit.
    pub(super) async fn ensure(
        &self,
        ref_name: Option<&RefName>,
        commit: &CommitSha,
    ) -> Result<(), WorkspaceError> {
        if self.has(commit) {
            self.is_wanted(commit);
            return Ok(());
        }
        let lock = self.lock().await?;
        if self.has(commit) {
            return Ok(());
        }
        self.create(&lock, commit).await?;
        match self.fetch(&lock, &[format!("+{commit}:{}", ref_of(commit))], self.depth()).await? {
            Fetched::Here => Ok(()),
            Fetched::No => self.fetch_by_ref(&lock, ref_name, commit).await,
        }
    }

    /// Fetches the whole past of these commits, which are here already.
    pub(super) async fn ensure_past(&self, commits: &[&CommitSha]) -> Result<(), WorkspaceError> {
        if self.remote.history != History::Shallow || !self.path.join("shallow").exists() {
            return Ok(());
        }
        let lock = self.lock().await?;
        let wanted: Vec<_> = commits.iter().map(|commit| format!("+{commit}:{}", ref_of(commit))).collect();
        match self.fetch(&lock, &wanted, Some(ALL)).await? {
            Fetched::Here => Ok(()),
            Fetched::No => Err(WorkspaceError::passing(format!(
                "`{}` does not give away the past of a commit",
                self.remote.name
            ))),
        }
    }

    /// Whether the commit and everything that it needs is here. Asks no process: this is the way of every push
    /// whose commit is known.
    pub(super) fn has(&self, commit: &CommitSha) -> bool {
        let loose = fs::read_to_string(self.path.join(ref_of(commit)));
        loose.is_ok_and(|hash| hash.trim_end() == commit.as_str())
    }

    /// A call of git in this mirror.
    pub(super) fn git(&self, what: &'static str) -> Git {
        self.knowing_of_blobs(Git::local(what, &self.path))
    }

    /// A call of git in this mirror that reaches the remote.
    pub(super) fn remote_git(&self, what: &'static str) -> Result<Git, WorkspaceError> {
        self.remote_git_in(what, &self.path).map(|git| self.knowing_of_blobs(git))
    }

    /// A call of git elsewhere that reaches the remote.
    pub(super) fn remote_git_in(&self, what: &'static str, git_dir: &Path) -> Result<Git, WorkspaceError> {
        Git::remote(what, git_dir, &self.remote)
            .map_err(|error| WorkspaceError::passing("cannot read the credentials").because(error))
    }

    /// The branch that the remote has as its default, and its tip: the one that its HEAD names, or else `fallback`. `None`
    /// where neither is there.
    pub(super) async fn default_branch(
        &self,
        fallback: Option<&str>,
    ) -> Result<Option<(RefName, CommitSha)>, WorkspaceError> {
        let told = self.refs_of_the_server("ask for the default branch", &["--symref", "HEAD"]).await?;
        let of_head = parse_default_branch(&told);
        let Some(fallback) = fallback.filter(|_| of_head.is_none()) else { return Ok(of_head) };
        let name = RefName::Branch(fallback.into());
        let told = self.refs_of_the_server("ask for the default branch", &[&name.to_string()]).await?;
        let tip = tips_in(&told).find(|(tip, _)| *tip == name.to_string());
        Ok(tip.map(|(_, tip)| (name, tip)))
    }

    /// What the remote tells of its refs: `patterns` are git's, after options of `ls-remote`.
    pub(super) async fn refs_of_the_server(
        &self,
        what: &'static str,
        wanted: &[&str],
    ) -> Result<String, WorkspaceError> {
        let (options, patterns): (Vec<&str>, Vec<&str>) =
            wanted.iter().partition(|word| word.starts_with("--"));
        let told = self
            .remote_git(what)?
            .args(["ls-remote", "--quiet"])
            .args(options)
            .trusting(&self.remote)
            .args(["--end-of-options", "origin"])
            .args(patterns)
            .writing_at_most(MOST_TIPS)
            .output()
            .await;
        match told {
            Ok(told) => Ok(String::from_utf8_lossy(&told).into_owned()),
            Err(failure) => Err(self.refused(failure).await),
        }
    }

    /// Whether the first is the second or one of its ancestors, as far as this mirror knows.
    pub(super) async fn is_ancestor(&self, ancestor: &CommitSha, of: &str) -> Result<bool, Failure> {
        let asked = self.git("compare commits").args(["merge-base", "--is-ancestor", "--end-of-options"]);
        match asked.args([ancestor.as_str(), of]).output().await {
            Ok(_) => Ok(true),
            Err(failure) if failure.is_no() || failure.is_unknown_commit() => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Makes the mirror if there is none. It is there whole or not at all.
    pub(super) async fn create(&self, lock: &Lock<'_>, commit: &CommitSha) -> Result<(), WorkspaceError> {
        if self.path.exists() {
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
        // A state directory may have a way through it for the users of runs.
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o700)).map_err(not_made)?;
        fs::rename(&unfinished, &self.path).map_err(not_made)
    }

    /// Fetches what `ref_name` is now, and looks for the commit in it.
    async fn fetch_by_ref(
        &self,
        lock: &Lock<'_>,
        ref_name: Option<&RefName>,
        commit: &CommitSha,
    ) -> Result<(), WorkspaceError> {
        let (place, wanted) = match ref_name {
            Some(name) => (name.to_string(), format!("+{name}:{TIPS}/tip")),
            None => ("a branch".to_owned(), format!("+refs/heads/*:{TIPS}/*")),
        };
        // Its past may be what is looked for, so all of it.
        let is_here = match self.fetch(lock, &[wanted], None).await? {
            Fetched::Here => self.is_in_a_tip(commit).await?,
            Fetched::No => false,
        };
        if is_here {
            let keep = self.git("keep a commit").holding(lock);
            keep.args(["update-ref", "--end-of-options", &ref_of(commit), commit.as_str()]).output().await?;
        }
        remove(&self.path.join(TIPS)).map_err(not_made)?;
        if is_here {
            return Ok(());
        }
        Err(WorkspaceError::permanent(format!(
            "commit {commit} is gone from `{}`: it was pushed to {place}, which no longer has it",
            address_without_user_info(&self.remote.url)
        )))
    }

    async fn is_in_a_tip(&self, commit: &CommitSha) -> Result<bool, WorkspaceError> {
        let listed = self.git("look for a commit").args(["for-each-ref", "--format=%(objectname)", TIPS]);
        let listed = listed.writing_at_most(MOST_TIPS).output().await?;
        for tip in String::from_utf8_lossy(&listed).lines() {
            if self.is_ancestor(commit, tip).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Fetches into refs of ours. Names in what is wanted are never options and never reach a shell.
    pub(super) async fn fetch(
        &self,
        lock: &Lock<'_>,
        wanted: &[String],
        depth: Option<u32>,
    ) -> Result<Fetched, WorkspaceError> {
        let answer = match self.fetch_once(lock, wanted, depth).await {
            // A fetch that was killed has left it: under our lock there is no other.
            Err(failure) if failure.is_in_the_way() => {
                self.clear_debris(lock);
                self.fetch_once(lock, wanted, depth).await
            }
            answer => answer,
        };
        match answer {
            Ok(_) => Ok(Fetched::Here),
            Err(failure) if failure.is_refused_hash() || failure.is_unknown_ref() => Ok(Fetched::No),
            Err(failure) => {
                // What came so far would fill the disk, and is no use.
                self.clear_debris(lock);
                Err(self.refused(failure).await)
            }
        }
    }

    async fn fetch_once(
        &self,
        lock: &Lock<'_>,
        wanted: &[String],
        depth: Option<u32>,
    ) -> Result<Vec<u8>, Failure> {
        let git = self.remote_git("fetch").map_err(|error| Failure::new("fetch", error.to_string()))?;
        git.holding(lock)
            .args(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"])
            .args(["--no-auto-maintenance", "--no-show-forced-updates"])
            .args(depth.map(|depth| format!("--depth={depth}")))
            .args((self.remote.history == History::Blobless).then_some("--filter=blob:none"))
            .trusting(&self.remote)
            .args(["--end-of-options", "origin"])
            .args(wanted)
            .output()
            .await
    }

    fn depth(&self) -> Option<u32> {
        (self.remote.history == History::Shallow).then_some(1)
    }

    fn knowing_of_blobs(&self, git: Git) -> Git {
        match self.remote.history {
            History::Blobless => git
                .with("remote.origin.promisor", "true")
                .with("remote.origin.partialCloneFilter", "blob:none"),
            _ => git,
        }
    }

    /// What is wanted is not forgotten.
    fn is_wanted(&self, commit: &CommitSha) {
        let name = fs::OpenOptions::new().append(true).open(self.path.join(ref_of(commit)));
        let _ = name.and_then(|file| file.set_modified(SystemTime::now()));
    }
}

/// What a fetch brought.
pub(super) enum Fetched {
    Here,
    /// The other side has it not, or does not give it away.
    No,
}

/// Where mirrors lie under the state directory. With another part of the past it is another mirror: what lacks
/// something is not taken for what has it.
pub(super) fn folder_of(history: History) -> &'static str {
    match history {
        History::Full => "mirrors",
        History::Blobless => "mirrors-blobless",
        History::Shallow => "mirrors-shallow",
    }
}

/// Where the objects lie that working trees of `repository` borrow, each place for another part of the past: what shows a
/// working tree to somebody and the rest of `state_dir` not has to show these too, or there is no git in it.
#[must_use]
pub fn borrowed_objects(state_dir: &Path, repository: &RepoName) -> [PathBuf; 3] {
    let state_dir = std::path::absolute(state_dir).unwrap_or_else(|_| state_dir.to_owned());
    [History::Full, History::Blobless, History::Shallow]
        .map(|history| state_dir.join(folder_of(history)).join(format!("{repository}.git/objects")))
}

/// Removes a directory, in which a run may have put anything. What is not there is no error.
pub(super) fn remove(directory: &Path) -> io::Result<()> {
    remove_tree(directory)
}

/// `ref: refs/heads/main\tHEAD` and `<commit>\tHEAD`.
fn parse_default_branch(told: &str) -> Option<(RefName, CommitSha)> {
    let of_head = |line: &'_ str| line.strip_suffix("\tHEAD").map(str::to_owned);
    let lines: Vec<String> = told.lines().filter_map(of_head).collect();
    let name = lines.iter().find_map(|line| line.strip_prefix("ref: "))?;
    let tip = lines.iter().find_map(|line| CommitSha::parse(line).ok().flatten())?;
    Some((RefName::parse(name).ok()?, tip))
}

/// Refs and commits, from lines `<commit>\t<ref>`.
pub(super) fn tips_in(told: &str) -> impl Iterator<Item = (&str, CommitSha)> {
    told.lines().filter_map(|line| {
        let (commit, name) = line.split_once('\t')?;
        Some((name, CommitSha::parse(commit).ok().flatten()?))
    })
}

pub(super) fn ref_of(commit: &CommitSha) -> String {
    format!("{KEPT}/{commit}")
}

pub(super) fn not_made(error: io::Error) -> WorkspaceError {
    WorkspaceError::passing("cannot make the mirror").because(error)
}

/// The refs of commits that are here.
pub(super) const KEPT: &str = "refs/swifthook";
/// Hashes of about 400,000 branches.
const MOST_TIPS: usize = 16 << 20;
/// What was fetched to look for a commit in it.
const TIPS: &str = "refs/swifthook-tips";
/// What git takes for all of the past: <https://git-scm.com/docs/shallow>.
const ALL: u32 = 0x7fff_ffff;

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
            for place in [Some(&branch), None] {
                remove(&mirror.path.join(KEPT)).unwrap();
                mirror.fetch_by_ref(&lock, place, &first).await.unwrap();
                assert!(mirror.has(&first));
                let gone = mirror.fetch_by_ref(&lock, place, &unknown).await.unwrap_err();
                assert!(gone.is_permanent() && !mirror.has(&unknown), "{gone}");
            }
        }
        let deleted = RefName::Branch("deleted".into());
        let gone = mirror.fetch_by_ref(&lock, Some(&deleted), &first).await.unwrap_err();
        assert!(gone.is_permanent(), "{gone}");
        assert!(!mirror.path.join(TIPS).exists());
    }
}
