//! What is done about a run whose supervisor is gone.

use std::collections::HashSet;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use swifthook_core::{RunKey, Timestamp};

use super::lock::Lock;
use super::record::{Begun, Note, VERSION};
use super::run_dir::RunDir;
use crate::cgroup::{Group, RunGroups};
use crate::process::{Process, boot_id, line_of_ancestors, pid_namespace, with_descendants};
use crate::supervisor::RUN_VARIABLE;

/// Kills what is left of the run of `key`, waits until nothing is, and records that it has vanished. The lock says
/// that no supervisor is alive, and keeps everybody else from coming to the same conclusion at once.
///
/// Content of the files of the run is believed only where the kernel bears it out: without a sandbox the run can have
/// written them. So a control group counts if it is the one that this key has among `groups`, and a session if its leader
/// is the process that began then, since this start of the machine, or is gone.
pub(super) fn clear(
    dir: &RunDir,
    _lock: &Lock,
    key: &RunKey,
    groups: Option<&RunGroups>,
    is_rebooted: bool,
) -> io::Result<()> {
    let message = if is_rebooted {
        "the machine was rebooted"
    } else {
        let group = group_of(key, groups);
        group.iter().for_each(Group::kill);
        kill_what_is_left(key, dir.begun()?.as_ref(), group.as_ref())?;
        group.iter().for_each(Group::remove);
        "its supervisor was killed, and what was left of it with it"
    };
    tracing::warn!(run = %key, "the run has vanished: {message}");
    dir.write_vanished(&Note {
        version: VERSION,
        message: message.into(),
        at: Timestamp::from(std::time::SystemTime::now()),
    })
}

fn kill_what_is_left(key: &RunKey, begun: Option<&Begun>, group: Option<&Group>) -> io::Result<()> {
    let mark = format!("{RUN_VARIABLE}={key}");
    kill_all(&format!("run {key}"), || what_is_left(&mark, begun, group))
}

/// Kills every process that has `entry` (`NAME=value`) in its environment, with everything under it, and waits until none is
/// left. It says nothing about who emptied its environment and has left its parents. Blocks for some seconds at most.
///
/// # Errors
///
/// If the processes of this machine cannot be listed, or one that was killed does not end.
pub fn kill_marked(entry: &str) -> io::Result<()> {
    kill_all(&format!("`{entry}`"), || what_is_left(entry, None, None))
}

fn kill_all(whose: &str, find: impl Fn() -> io::Result<Vec<Process>>) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    // Twice, since a process that is just executing a program shows no environment.
    let mut times_empty = 0;
    while times_empty < 2 {
        let left = find()?;
        times_empty = if left.is_empty() { times_empty + 1 } else { 0 };
        if !left.is_empty() && Instant::now() >= deadline {
            let pids: Vec<_> = left.iter().map(|process| process.pid).collect();
            let message = format!("processes {pids:?} of {whose} were killed and do not end");
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        left.iter().for_each(Process::kill);
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// What is alive of the run of `key`.
pub(super) fn alive(dir: &RunDir, key: &RunKey, groups: Option<&RunGroups>) -> io::Result<Vec<Process>> {
    let mark = format!("{RUN_VARIABLE}={key}");
    what_is_left(&mark, dir.begun()?.as_ref(), group_of(key, groups).as_ref())
}

/// The control group of the run, which may not be there: by its key, whatever its order says.
fn group_of(key: &RunKey, groups: Option<&RunGroups>) -> Option<Group> {
    groups.map(|groups| Group::at(&groups.of(key)))
}

/// Every process that has the run's mark in its environment, is of its session or in its control group, and everything
/// under those. Never ourselves, nor what we run under.
fn what_is_left(mark: &str, begun: Option<&Begun>, group: Option<&Group>) -> io::Result<Vec<Process>> {
    let all = Process::all_alive()?;
    let spared = line_of_ancestors(std::process::id().cast_signed());
    let session = begun.filter(|begun| owns_its_session(begun));
    // Nobody is older than the session that he is in.
    let is_of_session = |process: &Process| {
        session.is_some_and(|begun| {
            process.session == begun.supervisor && process.started >= begun.supervisor_started
        })
    };
    let in_group: HashSet<i32> = group.map(Group::processes).unwrap_or_default().into_iter().collect();
    let roots: HashSet<i32> = all
        .iter()
        .filter(|process| !spared.contains(&process.pid))
        .filter(|process| {
            is_of_session(process) || in_group.contains(&process.pid) || process.has_in_environment(mark)
        })
        .map(|process| process.pid)
        .collect();
    Ok(with_descendants(&all, roots).into_iter().filter(|process| !spared.contains(&process.pid)).collect())
}

/// Whether a session of the supervisor's number is the supervisor's. The kernel gives a number to nobody else while
/// a session has it: so it is, unless somebody else lives under that number.
fn owns_its_session(begun: &Begun) -> bool {
    let is_its_space = pid_namespace().is_ok_and(|pids| pids == begun.pids)
        && boot_id().is_ok_and(|boot| boot == begun.boot);
    let is_free = Process::read(begun.supervisor)
        .is_none_or(|process| !process.is_alive() || process.started == begun.supervisor_started);
    is_its_space && is_free
}

/// How long what was killed may take to end.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(3);
