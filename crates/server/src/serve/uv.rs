//! Python environments that commits ask for by a lock of uv: each is made once, and used by every run that asks for it.
//!
//! An environment is a folder under `environments` of the state directory, named by the digest of all that it is made
//! of. It counts once its file `complete` is there. It cannot be made elsewhere and moved: its programs begin with the path
//! of its own Python.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use swifthook_core::{Fingerprint, Job, Problem, Reason, RunLimits, Workspace, is_crash};
use swifthook_launch::{Beneath, LogCap, confined, give, kill_marked, leave_a_way, remove_tree, within};
use swifthook_runner::Uncomposed;
use tokio::process::{Child, Command};

use super::enclose::{Enclosing, Places};
use crate::api::plain;

/// Makes environments.
pub(super) struct Uv {
    root: PathBuf,
    workspace: Arc<dyn Workspace>,
}

/// An environment that is there.
pub(super) struct Made {
    pub(super) venv: PathBuf,
    /// Of all that it was made of.
    pub(super) digest: String,
}

/// What an environment is made of.
struct Project {
    lock: Vec<u8>,
    pyproject: Vec<u8>,
    uv: PathBuf,
    folder: PathBuf,
    digest: String,
}

impl Uv {
    pub(super) fn new(state_dir: &Path, workspace: Arc<dyn Workspace>) -> Self {
        let state_dir = std::path::absolute(state_dir).unwrap_or_else(|_| state_dir.to_owned());
        Self { root: state_dir.join(ENVIRONMENTS), workspace }
    }

    /// The environment that the commit of `job` asks for, made now if it is not there.
    pub(super) async fn environment(
        &self,
        job: &Job,
        lock: &str,
        env: &BTreeMap<String, String>,
        limits: &RunLimits,
        enclosing: Option<&Enclosing>,
    ) -> Result<Made, Uncomposed> {
        let project = self.project(job, lock, env).await?;
        let made = || Made { venv: project.folder.join("venv"), digest: project.digest.clone() };
        self.used(&project)?;
        if is_complete(&project.folder) {
            return Ok(made());
        }
        let guard = self.lock(&project).await?;
        // Somebody else may have made it meanwhile.
        if !is_complete(&project.folder) {
            self.make(job, &project, guard, env, limits, enclosing).await?;
        }
        Ok(made())
    }

    /// Notes that somebody asks for it: what nobody has asked for in a long time is removed. Before it is looked whether it
    /// is there, so that it is not removed in between.
    fn used(&self, project: &Project) -> Result<(), Uncomposed> {
        let noted = fs::create_dir_all(&self.root)
            .and_then(|()| self.lock_file(project)?.set_modified(SystemTime::now()));
        noted.map_err(|error| Uncomposed::NotNow(format!("{}: {error}", self.root.display())))
    }

    fn lock_file(&self, project: &Project) -> io::Result<File> {
        let file = self.root.join(format!("{}.lock", project.digest));
        File::options().write(true).create(true).truncate(false).open(file)
    }

    async fn project(
        &self,
        job: &Job,
        lock: &str,
        env: &BTreeMap<String, String>,
    ) -> Result<Project, Uncomposed> {
        let pyproject = match lock.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/pyproject.toml"),
            None => "pyproject.toml".to_owned(),
        };
        let (lock, pyproject) = (self.read(job, lock).await?, self.read(job, &pyproject).await?);
        let path = env.get("PATH").map(String::as_str).unwrap_or_default();
        let uv = program("uv", path)
            .ok_or_else(|| unfit(format!("no program `uv` in `{path}`, which `environment` asks for")))?;
        let python = python(env).await;
        let parts: [&[u8]; 6] = [
            &lock,
            &pyproject,
            python.as_bytes(),
            std::env::consts::ARCH.as_bytes(),
            // What one recipe has made, as its user and with its variables, is no other's.
            job.change.repository.as_str().as_bytes(),
            job.change.recipe.as_bytes(),
        ];
        let digest = Fingerprint::of(parts).to_string()[..32].to_owned();
        Ok(Project { lock, pyproject, uv, folder: self.root.join(&digest), digest })
    }

    async fn read(&self, job: &Job, path: &str) -> Result<Vec<u8>, Uncomposed> {
        let change = &job.change;
        let read =
            self.workspace.read_file(&change.repository, &change.ref_name, &change.head, path, MOST_BYTES);
        read.await.map_err(|error| match error.is_permanent() {
            true => unfit(told(&error)),
            false => Uncomposed::NotNow(told(&error)),
        })
    }

    /// Keeps everybody else from making it, in this process and others. No build has the file open: what one that outlives
    /// its server is still doing is ended by whoever has the lock next.
    async fn lock(&self, project: &Project) -> Result<File, Uncomposed> {
        let failed = |error: io::Error| Uncomposed::NotNow(format!("{}: {error}", self.root.display()));
        let file = self.lock_file(project).map_err(failed)?;
        locked(&file, FlockOperation::NonBlockingLockExclusive, TURN).await.map_err(failed)?;
        Ok(file)
    }

    /// Keeps the cache of a recipe from being cleared meanwhile; others may use it too. When it was last used is told by the
    /// time of this file.
    async fn use_cache(&self, recipe: &str) -> io::Result<File> {
        let file =
            File::options().write(true).create(true).truncate(false).open(cache_lock(&self.root, recipe))?;
        locked(&file, FlockOperation::NonBlockingLockShared, TURN).await?;
        file.set_modified(SystemTime::now())?;
        Ok(file)
    }

    async fn make(
        &self,
        job: &Job,
        project: &Project,
        lock: File,
        env: &BTreeMap<String, String>,
        limits: &RunLimits,
        enclosing: Option<&Enclosing>,
    ) -> Result<(), Uncomposed> {
        let failed = |error: io::Error| Uncomposed::NotNow(format!("{}: {error}", project.folder.display()));
        // Whatever is there was left half made by somebody who was killed, and whose build may go on.
        let mark = format!("{PLACE}={}/venv", text(&project.folder)?);
        settle(&mark).await.map_err(failed)?;
        remove(&project.folder).map_err(failed)?;
        let cache = self.root.join(format!("{CACHE}{}", job.change.recipe));
        let _use = self.use_cache(&job.change.recipe).await.map_err(failed)?;
        for folder in [&project.folder.join("tmp"), &cache] {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        fs::write(project.folder.join("uv.lock"), &project.lock).map_err(failed)?;
        fs::write(project.folder.join("pyproject.toml"), &project.pyproject).map_err(failed)?;
        let log = self.root.join(format!("{}.log", project.digest));
        let command = self.command(job, project, &cache, env, limits, enclosing).await?;
        let output = File::create(&log).map_err(failed)?;
        tracing::info!(job = %job.id, environment = project.digest, "making an environment with uv");
        let cap = limits.log.map(|most| LogCap::of(&output, most)).transpose().map_err(failed)?.flatten();
        let status = Building::begin(command, output, cap).map_err(failed)?.end().await;
        // Nobody of it is to write there once it counts, and nobody to keep what is removed busy.
        settle(&mark).await.map_err(failed)?;
        let tail = tail(&log);
        let made = match status {
            Ok(Ok(status)) if status.success() => complete(&project.folder, &cache).map_err(failed),
            Ok(Ok(status)) if was_killed(status) || is_passing(&tail) => {
                Err(Uncomposed::NotNow(format!("uv could not make the environment ({status}): {tail}")))
            }
            Ok(Ok(status)) => Err(unfit(format!("uv could not make the environment ({status}): {tail}"))),
            Ok(Err(why)) => Err(unfit(format!("uv has not made the environment: {why}: {tail}"))),
            Err(error) => Err(failed(error)),
        };
        if made.is_err() {
            let _ = remove(&project.folder);
        }
        drop(lock);
        made
    }

    /// With the variables, the limits and the isolation of the run, and nothing of ours.
    async fn command(
        &self,
        job: &Job,
        project: &Project,
        cache: &Path,
        env: &BTreeMap<String, String>,
        limits: &RunLimits,
        enclosing: Option<&Enclosing>,
    ) -> Result<Command, Uncomposed> {
        let mut env = env.clone();
        let folder = text(&project.folder)?;
        let mut argv: Vec<String> = Vec::new();
        if let Some(enclosing) = enclosing {
            let places = Places {
                run_dir: folder.clone(),
                output_dir: folder.clone(),
                working_dir: folder.clone(),
                tmp: Some(format!("{folder}/tmp")),
                writes: vec![folder.clone(), text(cache)?],
                reads: None,
                has_gpus: false,
            };
            let enclosure = enclosing.enclosure(job, &places, &mut env).await?;
            if let Some((user, group)) = enclosure.owner {
                own(&project.folder, cache, user, group)
                    .map_err(|error| Uncomposed::NotNow(format!("{folder}: {error}")))?;
            }
            argv.extend(within(&enclosure));
        }
        argv.push(text(&project.uv)?);
        // The project itself is in the working tree of each run, and so no part of what they share.
        argv.extend(["sync", "--frozen", "--no-install-project", "--no-progress"].map(str::to_owned));
        let argv = confined(&argv, limits).map_err(|error| Uncomposed::NotNow(error.to_string()))?;
        env.insert(PLACE.to_owned(), format!("{folder}/venv"));
        env.insert("UV_CACHE_DIR".to_owned(), text(cache)?);
        env.entry("UV_PYTHON_INSTALL_DIR".to_owned()).or_insert(format!("{}/{PYTHONS}", text(cache)?));
        // The environment has to stand without the cache, which is cleared.
        if !env.get("UV_LINK_MODE").is_some_and(|mode| ["clone", "copy", "hardlink"].contains(&mode.as_str()))
        {
            env.insert("UV_LINK_MODE".to_owned(), "hardlink".to_owned());
        }
        env.remove("VIRTUAL_ENV");
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).current_dir(&project.folder).env_clear().envs(env);
        Ok(command)
    }
}

/// A build under way. If it is dropped, everything of it is killed.
struct Building {
    child: Child,
    group: Option<Pid>,
    cap: Option<LogCap>,
}

impl Building {
    fn begin(mut command: Command, output: File, cap: Option<LogCap>) -> io::Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Self { child, group, cap })
    }

    /// Waits for its end. An `Err` within says in words why that was given up.
    async fn end(mut self) -> io::Result<Result<ExitStatus, String>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = Instant::now();
            let pause = self.cap.as_mut().map_or(Ok(PATIENCE), |cap| cap.look(now));
            let pause = match pause {
                Ok(pause) => pause.min(deadline.saturating_duration_since(now)),
                Err(uncut) => return Ok(Err(uncut.to_string())),
            };
            if let Ok(status) = tokio::time::timeout(pause, self.child.wait()).await {
                // Not later: the number of the group may be another's, once nobody is in it.
                self.kill();
                return status.map(Ok);
            }
            if Instant::now() >= deadline {
                return Ok(Err("it took an hour".to_owned()));
            }
        }
    }

    /// Whatever is left of it.
    fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits for a lock, and no longer than that: somebody may keep it who has no business with it.
async fn locked(file: &File, how: FlockOperation, patience: Duration) -> io::Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        match flock(file, how) {
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let waited = patience.as_secs() / 60;
                let message = format!("somebody else has kept its lock for {waited} minutes: see `lslocks`");
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            other => return Ok(other?),
        }
    }
}

/// Ends everybody of a build who is left, whatever session he is in.
async fn settle(mark: &str) -> io::Result<()> {
    let mark = mark.to_owned();
    tokio::task::spawn_blocking(move || kill_marked(&mark)).await.map_err(io::Error::other)?
}

pub(super) fn is_complete(folder: &Path) -> bool {
    // A build that fails may have made it a folder.
    folder.join(COMPLETE).symlink_metadata().is_ok_and(|mark| mark.is_file())
}

/// From now on it counts, also after a loss of power.
fn complete(folder: &Path, cache: &Path) -> io::Result<()> {
    let _ = remove(&folder.join("tmp"));
    // Whatever the build has put in its place: it may write here.
    let folder = Beneath::at(folder)?;
    folder.remove_file(COMPLETE)?;
    let file = folder.create_new(COMPLETE)?;
    let at = swifthook_core::Timestamp::from(SystemTime::now()).to_string();
    let cache = cache.file_name().map(|name| name.to_string_lossy());
    let told = json!({ "version": 1, "at": at, "cache": cache });
    io::Write::write_all(&mut &file, format!("{told}\n").as_bytes())?;
    file.sync_all()
}

/// The name of the cache with which an environment was made, if it tells.
pub(super) fn cache_of(folder: &Path) -> Option<String> {
    let told = Beneath::at(folder).and_then(|folder| folder.read_all(COMPLETE, LONGEST_MARK)).ok()?;
    let told: Value = serde_json::from_slice(&told).ok()?;
    told["cache"].as_str().map(str::to_owned)
}

/// What is locked while the cache of a recipe is used. No recipe's own name makes it that of a cache.
pub(super) fn cache_lock(root: &Path, recipe: &str) -> PathBuf {
    root.join(format!("used-{recipe}"))
}

/// Without its mark first, so that a removal that is broken off leaves nothing that counts.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    for gone in [fs::remove_file(folder.join(COMPLETE)), remove_tree(folder)] {
        match gone {
            Err(error) if !PASSED.contains(&error.kind()) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Gives a folder to the user of the build, and leaves a way to it.
fn own(folder: &Path, cache: &Path, user: u32, group: u32) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;

    give(folder, user, group)?;
    // Not again what is theirs: it may be large.
    if cache.metadata()?.uid() != user {
        give(cache, user, group)?;
    }
    match (folder.parent(), folder.parent().and_then(Path::parent)) {
        (Some(root), Some(state_dir)) => leave_a_way(state_dir, &[root]),
        _ => Ok(()),
    }
}

/// What Python uv would take: another one makes another environment.
async fn python(env: &BTreeMap<String, String>) -> String {
    let wanted = env.get("UV_PYTHON").cloned().unwrap_or_default();
    let Some(python) = program("python3", env.get("PATH").map(String::as_str).unwrap_or_default()) else {
        return wanted;
    };
    let asked = Command::new(python).arg("-VV").env_clear().stdin(Stdio::null()).kill_on_drop(true).output();
    match tokio::time::timeout(ANSWER, asked).await {
        Ok(Ok(answer)) => format!("{wanted} {}", String::from_utf8_lossy(&answer.stdout)),
        _ => wanted,
    }
}

fn program(name: &str, path: &str) -> Option<PathBuf> {
    std::env::split_paths(path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_absolute() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok())
}

/// The last that uv said.
fn tail(log: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        // Somebody may be left who writes to it.
        file.take(TAIL).read_to_end(&mut bytes)?;
        let lines = bytes.split(|byte| *byte == b'\n').map(plain).map(|line| line.trim().to_owned());
        Ok(lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" / "))
    };
    read().unwrap_or_default()
}

/// Returns true where somebody else has ended it, such as the kernel where the memory is full. What crashes crashes again.
fn was_killed(status: ExitStatus) -> bool {
    status.signal().is_some_and(|signal| !is_crash(signal))
}

/// What has to do with the network or the disk, and not with what is asked for.
fn is_passing(told: &str) -> bool {
    let told = told.to_ascii_lowercase();
    PASSING.iter().any(|words| told.contains(words))
}

fn text(path: &Path) -> Result<String, Uncomposed> {
    let not_utf8 = || unfit(format!("the path {} is not UTF-8", path.display()));
    path.to_str().map(str::to_owned).ok_or_else(not_utf8)
}

fn told(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn unfit(why: String) -> Uncomposed {
    Uncomposed::Unfit(Reason::new("config", why))
}

/// The folder under the state directory.
pub(super) const ENVIRONMENTS: &str = "environments";
/// What the folder of a cache begins with; the name of its recipe follows.
pub(super) const CACHE: &str = "cache-";
/// Where in a cache the Pythons are that uv has installed.
pub(super) const PYTHONS: &str = "python";
/// Outcomes that a removal may have: where there is nothing, or a folder that has the name of the mark and goes with the rest.
const PASSED: [io::ErrorKind; 3] =
    [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory, io::ErrorKind::IsADirectory];
const COMPLETE: &str = "complete";
/// More than it says.
const LONGEST_MARK: u64 = 4 * 1024;
/// Locks of large projects have a few megabytes.
const MOST_BYTES: usize = 16 << 20;
const TAIL: u64 = 2 * 1024;
/// The variable by which uv finds the place of an environment, and by which everybody of a build is known.
const PLACE: &str = "UV_PROJECT_ENVIRONMENT";
const PATIENCE: Duration = Duration::from_secs(3_600);
/// Time after which whoever makes an environment is done, or has failed.
const TURN: Duration = PATIENCE.saturating_add(Duration::from_secs(300));
const ANSWER: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(200);
const PASSING: [&str; 12] = [
    "error sending request",
    "failed to fetch",
    "failed to download",
    "dns error",
    "name resolution",
    "connection refused",
    "connection reset",
    "connection closed",
    "network is unreachable",
    "timed out",
    "no space left on device",
    "503 service unavailable",
];

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[tokio::test]
    async fn what_a_build_says_is_kept_to_a_size() {
        let folder = tempfile::tempdir().unwrap();
        let log = File::create_new(folder.path().join("log")).unwrap();
        let cap = LogCap::of(&log, LogCap::LEAST).unwrap();
        let mut command = Command::new("sh");
        // As long as nothing is cut it goes on.
        let text = "while ! grep -qa swifthook: log; do head -c 1000000 /dev/zero; done; echo ends";
        command.args(["-c", text]).current_dir(folder.path());
        let end = Building::begin(command, log, cap).unwrap().end().await.unwrap();
        assert!(end.unwrap().success());
        let metadata = folder.path().join("log").metadata().unwrap();
        assert!(metadata.blocks() * 512 < metadata.len(), "{metadata:?}");
        assert!(tail(&folder.path().join("log")).ends_with("ends"));
    }

    #[tokio::test]
    async fn a_lock_that_somebody_keeps_is_waited_for_so_long_and_then_told() {
        let folder = tempfile::tempdir().unwrap();
        let [theirs, ours] = [(); 2].map(|()| File::create(folder.path().join("lock")).unwrap());
        flock(&theirs, FlockOperation::LockShared).unwrap();
        locked(&ours, FlockOperation::NonBlockingLockShared, Duration::ZERO).await.unwrap();
        let refused = locked(&ours, FlockOperation::NonBlockingLockExclusive, Duration::ZERO).await;
        let told = "somebody else has kept its lock for 0 minutes: see `lslocks`";
        assert_eq!(refused.unwrap_err().to_string(), told);
    }
}
