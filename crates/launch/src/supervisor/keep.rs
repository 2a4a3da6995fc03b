//! The supervisor of a run in a container: the first process there, which keeps the run as the one of a local run does.
//!
//! It is asked to end by files that the cluster puts into its place, and tells how the run ended in the container's
//! message of termination: an exit code alone would not tell a signal from a code, nor who asked.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::process::{getpid, set_child_subreaper};
use serde::{Deserialize, Serialize};

use super::asked::CANNOT_SUPERVISE;
use super::events::Events;
use super::run::Run;
use crate::local::{Ended, Order, RunDir, StopRequest, VERSION};

/// What a keeper is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) order: Order,
    pub(crate) run_dir: PathBuf,
    pub(crate) output_dir: PathBuf,
    /// A folder of the container for the keeper's own files.
    pub(crate) place: PathBuf,
    /// The folder in which requests to end appear.
    pub(crate) asked: PathBuf,
    /// Where to tell how it ended.
    pub(crate) told: PathBuf,
}

/// Becomes the keeper of a run, and then does not return.
pub(super) fn keep(mut arguments: impl Iterator<Item = OsString>) -> ! {
    let text = arguments.next().and_then(|text| text.into_string().ok()).unwrap_or_default();
    let code = match serde_json::from_str::<Kept>(&text) {
        Ok(kept) => match without_the_cluster(&text).and_then(|()| kept.keep()) {
            Ok(ended) => code_of(&ended),
            Err(error) => {
                let message = format!("cannot keep the run: {error}");
                let _ = writeln!(io::stderr(), "swifthook: {message}");
                let _ = fs::write(&kept.told, message);
                CANNOT_SUPERVISE
            }
        },
        Err(error) => {
            let _ = writeln!(io::stderr(), "swifthook: not an order for a keeper: {error}");
            CANNOT_SUPERVISE
        }
    };
    std::process::exit(code)
}

impl Kept {
    fn keep(&self) -> io::Result<Ended> {
        set_child_subreaper(Some(getpid()))?;
        for dir in [&self.place, &self.run_dir, &self.output_dir, &self.order.working_dir] {
            fs::create_dir_all(dir)?;
        }
        let dir = RunDir::new(self.place.clone(), self.place.clone());
        let ended = match self.begin() {
            Ok(()) => {
                let events = Events::new(&dir.wake_path())?;
                listen(&self.asked, &dir)?;
                let ended = Run::new(&dir, &self.run_dir, &self.order, events).finish();
                if let Err(error) = self.leave(&ended) {
                    let _ =
                        writeln!(io::stderr(), "swifthook: cannot leave word of how the run ended: {error}");
                }
                ended
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => second(),
            Err(error) => return Err(error),
        };
        fs::write(&self.told, serde_json::to_vec(&short(&ended))?)?;
        Ok(ended)
    }

    /// Leaves a mark that the run has begun. A cluster may start a program twice in rare cases; where the directory of the
    /// run outlives a container, the second one finds the mark.
    fn begin(&self) -> io::Result<()> {
        let mut mark = OpenOptions::new().write(true).create_new(true).open(self.run_dir.join(MARK))?;
        writeln!(mark, "{}", self.order.key)
    }

    /// Leaves word of how the run ended where its directory outlives the pod: what a pod tells goes with it.
    fn leave(&self, ended: &Ended) -> io::Result<()> {
        let unfinished = self.run_dir.join(format!("{LEFT}.tmp"));
        fs::write(&unfinished, serde_json::to_vec(&short(ended))?)?;
        fs::rename(unfinished, self.run_dir.join(LEFT))
    }
}

/// Starts anew without what the cluster has put into the environment of every container: a run sees what it was given.
fn without_the_cluster(order: &str) -> io::Result<()> {
    let is_foreign =
        |name: &OsString| name.to_str().is_some_and(|name| name.starts_with(CLUSTER) || name == HOST);
    let (foreign, own): (Vec<_>, Vec<_>) = std::env::vars_os().partition(|(name, _)| is_foreign(name));
    if foreign.is_empty() {
        return Ok(());
    }
    Err(Command::new("/proc/self/exe").arg(KEEP).arg(order).env_clear().envs(own).exec())
}

/// Passes on what appears in `asked`, for as long as this process lives. A thread that looks, since the cluster replaces
/// the folder behind the files.
fn listen(asked: &Path, dir: &RunDir) -> io::Result<()> {
    let (asked, dir) = (asked.to_owned(), dir.clone());
    let look = move || {
        let mut heard: Vec<StopRequest> = Vec::new();
        loop {
            for request in requests(&asked) {
                if !heard.contains(&request) && dir.write_stop(&request).and_then(|()| dir.wake()).is_ok() {
                    heard.push(request);
                }
            }
            thread::sleep(LOOK_AGAIN);
        }
    };
    thread::Builder::new().name("swifthook-listen".into()).spawn(look)?;
    Ok(())
}

/// A file that is empty, half there, or of a later version, asks for nothing.
fn requests(asked: &Path) -> Vec<StopRequest> {
    let files = fs::read_dir(asked).into_iter().flatten().flatten();
    let texts = files.filter_map(|file| fs::read(file.path()).ok());
    let requests = texts.filter_map(|text| serde_json::from_slice::<StopRequest>(&text).ok());
    requests.filter(|request| request.version == VERSION).collect()
}

fn second() -> Ended {
    let now = SystemTime::now().into();
    let message = BEGUN_BEFORE.to_owned();
    Ended {
        version: VERSION,
        code: None,
        signal: None,
        stopped: None,
        message: Some(message),
        began_at: now,
        ended_at: now,
    }
}

/// A message of termination has 4 KiB.
fn short(ended: &Ended) -> Ended {
    let message = ended.message.as_ref().map(|message| message.chars().take(MOST_CHARACTERS).collect());
    Ended { message, ..*ended }
}

/// As a shell would have it, for people who look at the container.
fn code_of(ended: &Ended) -> i32 {
    ended.code.or(ended.signal.map(|signal| 128 + signal)).unwrap_or(CANNOT_SUPERVISE)
}

/// The hidden first argument.
pub(crate) const KEEP: &str = "__swifthook_keep";
/// What a second keeper tells.
pub(crate) const BEGUN_BEFORE: &str = "not started: a run of this attempt has begun before";
/// The file in which a keeper leaves word of how its run ended.
pub(crate) const LEFT: &str = "left.json";
const MARK: &str = "begun";
const CLUSTER: &str = "KUBERNETES_";
const HOST: &str = "HOSTNAME";
const LOOK_AGAIN: Duration = Duration::from_millis(200);
const MOST_CHARACTERS: usize = 800;
