use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process_group, test_kill_process_group, wait,
};

use swifthook_core::Enclosure;

use super::confine::{self, Bounds, Started};
use super::sandboxed::Sandboxed;
use super::tasks;
use crate::cgroup::Group;
use crate::local::Order;
use crate::process::{Process, Usage, with_descendants};
use crate::sandbox::{in_memory, within_telling};

/// The training, and everything under it.
pub(super) struct Family {
    main: Pid,
    end: Option<WaitStatus>,
    has_children: bool,
    /// Whether the main process is only what the training is started within, and ends with it.
    spares_main: bool,
    /// The state of a sandbox of bubblewrap, which takes everybody along when its command ends.
    sandbox: Option<Sandboxed>,
    group: Option<Group>,
}

impl Family {
    /// Starts the training: in a process group of its own, without input, its output and errors in the log, with the
    /// environment that this process has.
    pub(super) fn start(order: &Order) -> io::Result<Self> {
        let log = output()?;
        let errors = log.try_clone()?;
        let has_sandbox = order.enclosure.sandbox.is_some();
        let status = has_sandbox.then(|| in_memory("status", b"")).transpose()?;
        let argv = [within_telling(&order.enclosure, status.as_ref()), order.argv.clone()].concat();
        let group = make_group(order);
        let bounds = Bounds { files: order.limits.files, group: group.as_ref() };
        let started = confine::start(&argv, bounds, |command| {
            command.current_dir(&order.working_dir).process_group(0).stdout(log).stderr(errors);
        });
        let Started { child, outside } = started.inspect_err(|_| group.iter().for_each(Group::remove))?;
        let group = group.filter(|group| {
            outside.as_ref().is_none_or(|error| {
                goes_on_without(group.path(), error);
                group.remove();
                false
            })
        });
        let main = Pid::from_raw(child.id().cast_signed()).expect("a child has a pid");
        let Enclosure { outlives_command, sandbox, .. } = &order.enclosure;
        let sandbox = sandbox.as_ref().map(|_| Sandboxed::of(main, status));
        Ok(Self { main, end: None, has_children: true, spares_main: *outlives_command, sandbox, group })
    }

    /// Takes note of whoever has ended. Descendants whose parents are gone are our children, so whoever of the
    /// family is alive is one, or has an ancestor that is.
    pub(super) fn reap(&mut self) {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.main => self.end = Some(status),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return,
                Err(_) => {
                    self.has_children = false;
                    return;
                }
            }
        }
    }

    /// How the training's main process ended, once it has.
    pub(super) fn end(&self) -> Option<WaitStatus> {
        self.end
    }

    /// Whether nobody is left.
    pub(super) fn is_gone(&self) -> bool {
        !self.has_children && !self.group.as_ref().is_some_and(Group::is_populated)
    }

    /// Returns the words for a sandbox that there never was: nothing of the training has been started then.
    pub(super) fn had_no_sandbox(&self) -> Option<String> {
        let failed = self.end?.exit_status().is_some_and(|code| code != 0);
        self.sandbox.as_ref().filter(|_| failed)?.why_there_was_none()
    }

    /// Lets go of what is left of a family that is gone.
    pub(super) fn leave(&self) {
        self.group.iter().for_each(Group::remove);
    }

    /// Whether the kernel killed it for want of memory that it may not have.
    pub(super) fn ran_into_its_wall(&self) -> bool {
        self.group.as_ref().is_some_and(Group::ran_into_its_wall)
    }

    /// Whether anybody is left who was told to end together with the main process.
    pub(super) fn is_group_left(&self) -> bool {
        // Where there is a sandbox its end was waited for.
        self.sandbox.is_none() && self.has_children && test_kill_process_group(self.main) != Err(Errno::SRCH)
    }

    /// Asks the training's group to end, while the main process is there: after that the group may be somebody
    /// else's.
    pub(super) fn terminate(&mut self) {
        if self.end.is_some() {
            return;
        }
        if let Some(sandbox) = &mut self.sandbox {
            return sandbox.terminate();
        }
        if self.spares_main {
            return self.terminate_below();
        }
        let _ = kill_process_group(self.main, Signal::TERM);
    }

    /// Goes on with what takes time after that; answers whether there is more to come.
    pub(super) fn settle(&mut self) -> bool {
        self.end.is_none() && self.sandbox.as_mut().is_some_and(Sandboxed::settle)
    }

    /// The same for everybody but the main process, which would take its children with it.
    fn terminate_below(&self) {
        let everybody = Process::all_alive().unwrap_or_default();
        let main = self.main.as_raw_pid();
        let below = with_descendants(&everybody, HashSet::from([main]));
        below
            .iter()
            .filter(|one| one.pid != main && one.group == main)
            .for_each(|one| one.signal(Signal::TERM));
    }

    /// What everybody uses together. How much memory is asked for closely only where it may be more than `memory`.
    pub(super) fn usage(&self, memory: Option<u64>) -> Usage {
        if let Some(used) = self.group.as_ref().and_then(Group::usage) {
            return used;
        }
        let us = getpid().as_raw_pid();
        let everybody = Process::all_alive().unwrap_or_default();
        let below = with_descendants(&everybody, HashSet::from([us]));
        Usage::of(&below, us, memory)
    }

    /// Returns true if the kernel sees to it that it has no more processes than it may.
    pub(super) fn has_walls(&self) -> bool {
        self.group.as_ref().is_some_and(Group::limits_tasks)
    }

    /// Returns true if the kernel has refused it a process, since it has all that it may.
    pub(super) fn was_refused_a_task(&self) -> bool {
        self.group.as_ref().is_some_and(Group::was_refused_a_task)
    }

    /// Returns the number of its processes, each by its threads, with those that wait to be reaped.
    pub(super) fn tasks(&self) -> u64 {
        let us = getpid().as_raw_pid();
        let everybody = Process::all().unwrap_or_default();
        let below = with_descendants(&everybody, HashSet::from([us]));
        below.iter().filter(|one| one.pid != us).map(|one| one.threads.max(1)).sum()
    }

    /// Kills everybody. Who was just being born is left, so it takes several rounds until the family is gone.
    pub(super) fn kill(&self) {
        self.group.iter().for_each(Group::kill);
        // At one stroke whoever is in it, and whoever is just being born there.
        if self.end.is_none() {
            let _ = kill_process_group(self.main, Signal::KILL);
        }
        held().iter().for_each(Process::kill);
    }
}

/// Everybody below us, and of a large family as many as can be are stopped: as long as they are there nobody is born in
/// their places, and who is stopped makes none.
fn held() -> Vec<Process> {
    let mut going_before = usize::MAX;
    loop {
        let family = descendants();
        let going: Vec<&Process> = family.iter().filter(|one| !one.is_stopped()).collect();
        if family.len() < MANY || going.is_empty() || going.len() >= going_before {
            return family;
        }
        going.iter().for_each(|one| one.signal(Signal::STOP));
        going_before = going.len();
    }
}

/// Everybody below us who is alive.
fn descendants() -> Vec<Process> {
    let us = getpid().as_raw_pid();
    let everybody = Process::all_alive().unwrap_or_default();
    let mut family = with_descendants(&everybody, HashSet::from([us]));
    family.retain(|one| one.pid != us);
    family
}

/// Opens the log once more, for a run to write into, where it is a file. Changes to a descriptor hold for all who share it,
/// and our own words are to come at the end.
fn output() -> io::Result<OwnedFd> {
    let ours = io::stderr();
    match File::from(ours.as_fd().try_clone_to_owned()?).metadata()?.is_file() {
        true => Ok(OpenOptions::new().append(true).open("/proc/self/fd/2")?.into()),
        false => ours.as_fd().try_clone_to_owned(),
    }
}

/// The group that was ordered. Without one a run is held by its descent, and looked at in its processes.
fn make_group(order: &Order) -> Option<Group> {
    let path = order.cgroup.as_deref()?;
    let tasks = Some(tasks::most(&order.limits));
    Group::make(path, order.limits.memory, tasks).inspect_err(|error| goes_on_without(path, error)).ok()
}

fn goes_on_without(group: &Path, error: &io::Error) {
    let _ = writeln!(io::stderr(), "swifthook: goes on without {}: {error}", group.display());
}

/// So many that one may be born while the others are killed.
const MANY: usize = 256;
