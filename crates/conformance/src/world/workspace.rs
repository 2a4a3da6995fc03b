use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use swifthook_core::{
    ChangeSet, Checkout, CommitSha, Comparison, RefName, RepoName, Workspace, WorkspaceError,
};
use tokio::time::sleep;

/// A workspace that has every commit and no disk.
#[derive(Default)]
pub struct ScriptedWorkspace {
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    checkout_takes: Duration,
    discard_takes: Duration,
    checkout_faults: VecDeque<WorkspaceError>,
    diffs: VecDeque<Result<ChangeSet, WorkspaceError>>,
    trees: Vec<(CommitSha, PathBuf)>,
    files: HashMap<String, VecDeque<Result<Vec<u8>, WorkspaceError>>>,
    checkouts: usize,
    tags: Vec<String>,
    asked: Vec<Asked>,
}

/// What a runner told of a push when it asked what had changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The default branch, by the payload.
    pub default_branch: Option<String>,
    /// The commits that are known, in their order.
    pub known: Vec<CommitSha>,
    /// Of the tags that there are, those that may be compared with.
    pub tags: Vec<String>,
    /// True if some paths alone are looked at.
    pub is_for_some: bool,
}

impl ScriptedWorkspace {
    /// How long a checkout takes.
    pub fn take(&self, time: Duration) {
        self.desk().checkout_takes = time;
    }

    /// How long it takes to remove a working tree.
    pub fn linger(&self, time: Duration) {
        self.desk().discard_takes = time;
    }

    /// The next checkout that has no fault yet fails so.
    pub fn fail_checkout(&self, error: WorkspaceError) {
        self.desk().checkout_faults.push_back(error);
    }

    /// The next diff that has no answer yet is answered so. Without an answer a diff fails for now.
    pub fn answer_diff(&self, answer: Result<ChangeSet, WorkspaceError>) {
        self.desk().diffs.push_back(answer);
    }

    /// There are these tags.
    pub fn have_tags(&self, tags: &[&str]) {
        self.desk().tags = tags.iter().map(|&tag| tag.to_owned()).collect();
    }

    /// What was asked, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.desk().asked.clone()
    }

    /// The next reading of a file that has no answer yet is answered so. Without an answer there is no such file.
    pub fn answer_file(&self, path: &str, answer: Result<Vec<u8>, WorkspaceError>) {
        self.desk().files.entry(path.to_owned()).or_default().push_back(answer);
    }

    /// The working trees that are there, with their commits.
    pub fn trees(&self) -> Vec<(CommitSha, PathBuf)> {
        self.desk().trees.clone()
    }

    /// How many checkouts there were.
    pub fn checkouts(&self) -> usize {
        self.desk().checkouts
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().expect("nothing panics under this lock")
    }
}

#[async_trait]
impl Workspace for ScriptedWorkspace {
    async fn checkout(
        &self,
        _repository: &RepoName,
        _ref_name: &RefName,
        commit: &CommitSha,
        _with: &Checkout,
        directory: &Path,
    ) -> Result<PathBuf, WorkspaceError> {
        let time = self.desk().checkout_takes;
        sleep(time).await;
        let mut desk = self.desk();
        desk.checkouts += 1;
        match desk.checkout_faults.pop_front() {
            Some(error) => Err(error),
            None => {
                desk.trees.retain(|(_, tree)| tree != directory);
                desk.trees.push((commit.clone(), directory.to_owned()));
                Ok(directory.to_owned())
            }
        }
    }

    async fn diff(
        &self,
        _repository: &RepoName,
        _ref_name: &RefName,
        _before: Option<&CommitSha>,
        _head: &CommitSha,
    ) -> Result<ChangeSet, WorkspaceError> {
        let answer = self.desk().diffs.pop_front();
        answer.unwrap_or_else(|| Err(WorkspaceError::passing("git does not answer")))
    }

    async fn compare(&self, asked: &Comparison<'_>) -> Result<ChangeSet, WorkspaceError> {
        let mut known = asked.known.commits().await?;
        known.sort();
        let tags = self.desk().tags.clone();
        self.desk().asked.push(Asked {
            default_branch: asked.default_branch.map(str::to_owned),
            known,
            tags: tags.into_iter().filter(|tag| (asked.counts)(tag)).collect(),
            is_for_some: asked.wanted.is_some(),
        });
        self.diff(asked.repository, asked.ref_name, asked.before, asked.head).await
    }

    async fn read_file(
        &self,
        _repository: &RepoName,
        _ref_name: &RefName,
        _commit: &CommitSha,
        path: &str,
        _most_bytes: usize,
    ) -> Result<Vec<u8>, WorkspaceError> {
        let answer = self.desk().files.get_mut(path).and_then(VecDeque::pop_front);
        answer.unwrap_or_else(|| Err(WorkspaceError::permanent(format!("`{path}` is not in the commit"))))
    }

    async fn discard(&self, _repository: &RepoName, directory: &Path) -> Result<(), WorkspaceError> {
        let time = self.desk().discard_takes;
        sleep(time).await;
        self.desk().trees.retain(|(_, tree)| tree != directory);
        Ok(())
    }
}
