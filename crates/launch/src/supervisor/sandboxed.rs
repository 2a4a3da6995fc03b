use rustix::process::{Pid, Signal};

use crate::process::Process;

/// The end of a training in a sandbox. The main process is bubblewrap; its child is the first process of the sandbox, which
/// hears no signal, and leads the session and the group of the command.
///
/// bubblewrap ends with the command, and everybody else in the sandbox with bubblewrap. A program whose child still saves may
/// end at once, so bubblewrap is stopped until everybody who was asked to end has ended.
#[derive(Debug)]
pub(super) struct Sandboxed {
    main: i32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// Somebody is to be asked to end, and nobody is there yet.
    Asking,
    /// Everybody was asked, and bubblewrap is stopped.
    Asked,
    /// Everybody has ended, and bubblewrap goes on to tell how.
    Over,
}

impl Sandboxed {
    pub(super) fn of(main: Pid) -> Self {
        Self { main: main.as_raw_pid(), state: State::Running }
    }

    /// Asks the command and its group to end.
    pub(super) fn terminate(&mut self) {
        self.state = State::Asking;
        self.settle();
    }

    /// Goes on with the end; answers whether there is more to come.
    pub(super) fn settle(&mut self) -> bool {
        if !matches!(self.state, State::Asking | State::Asked) {
            return false;
        }
        let everybody = Process::all_alive().unwrap_or_default();
        let group = everybody.iter().find(|one| one.parent == self.main).map(|first| first.pid);
        let members: Vec<_> =
            everybody.iter().filter(|one| Some(one.group) == group && Some(one.pid) != group).collect();
        match (self.state, members.is_empty()) {
            (State::Asking, false) => {
                self.signal_main(Signal::STOP);
                members.iter().for_each(|one| one.signal(Signal::TERM));
                self.state = State::Asked;
            }
            (State::Asked, true) => {
                self.state = State::Over;
                self.signal_main(Signal::CONT);
            }
            _ => {}
        }
        self.state != State::Over
    }

    fn signal_main(&self, signal: Signal) {
        if let Some(main) = Process::read(self.main) {
            main.signal(signal);
        }
    }
}
