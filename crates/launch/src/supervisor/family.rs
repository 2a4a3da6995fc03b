use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process_group, test_kill_process_group, wait,
};

use crate::local::Order;
use crate::process::{Process, with_descendants};

/// The training, and everything under it.
pub(super) struct Family {
    main: Pid,
    end: Option<WaitStatus>,
    has_children: bool,
}

impl Family {
    /// Starts the training: in a process group of its own, without input, its output and errors in the log, with the
    /// environment that this process has.
    pub(super) fn start(order: &Order) -> io::Result<Self> {
        let log = io::stderr().as_fd().try_clone_to_owned()?;
        let child = Command::new(&order.argv[0])
            .args(&order.argv[1..])
            .current_dir(&order.working_dir)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::inherit())
            .spawn()?;
        let main = Pid::from_raw(child.id().cast_signed()).expect("a child has a pid");
        Ok(Self { main, end: None, has_children: true })
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
        !self.has_children
    }

    /// Whether anybody is left who was told to end together with the main process.
    pub(super) fn is_group_left(&self) -> bool {
        self.has_children && test_kill_process_group(self.main) != Err(Errno::SRCH)
    }

    /// Asks the training's group to end, while the main process is there: after that the group may be somebody
    /// else's.
    pub(super) fn terminate(&self) {
        if self.end.is_none() {
            let _ = kill_process_group(self.main, Signal::TERM);
        }
    }

    /// Kills everybody. Who was just being born is left, so it takes several rounds until the family is gone.
    pub(super) fn kill(&self) {
        let us = getpid().as_raw_pid();
        let everybody = Process::all_alive().unwrap_or_default();
        with_descendants(&everybody, HashSet::from([us]))
            .iter()
            .filter(|one| one.pid != us)
            .for_each(Process::kill);
    }
}
