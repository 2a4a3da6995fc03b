use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

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
    /// Where bubblewrap tells how far it came.
    status: Option<File>,
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
    pub(super) fn of(main: Pid, status: Option<File>) -> Self {
        Self { main: main.as_raw_pid(), state: State::Running, status }
    }

    /// Returns the words for a sandbox that could not be made, once bubblewrap has exited. It tells how the command ended if
    /// it has executed it, and else has said why not: then the log is its own. A command that is not there is no trouble
    /// of the sandbox.
    pub(super) fn why_there_was_none(&self) -> Option<String> {
        let mut told = [0; LONGEST_STATUS];
        let length = self.status.as_ref()?.read_at(&mut told, 0).ok()?;
        if String::from_utf8_lossy(&told[..length]).contains("\"exit-code\"") {
            return None;
        }
        let log = end_of_log().unwrap_or_default();
        let said = log.lines().map(str::trim).rfind(|line| !line.is_empty());
        let said = said.unwrap_or("bubblewrap failed and said nothing");
        (!said.starts_with(NO_COMMAND)).then(|| format!("its sandbox could not be made: {said}"))
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

/// The last words in the log of the run, where that is a file.
fn end_of_log() -> io::Result<String> {
    let mut log = File::open("/proc/self/fd/2")?;
    let metadata = log.metadata()?;
    if !metadata.is_file() {
        return Ok(String::new());
    }
    log.seek(SeekFrom::Start(metadata.len().saturating_sub(LONGEST_WORDS)))?;
    let mut bytes = Vec::new();
    log.take(LONGEST_WORDS).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// As bubblewrap says it: <https://github.com/containers/bubblewrap/blob/v0.8.0/bubblewrap.c>.
const NO_COMMAND: &str = "bwrap: execvp ";
const LONGEST_STATUS: usize = 4_096;
const LONGEST_WORDS: u64 = 1_024;
