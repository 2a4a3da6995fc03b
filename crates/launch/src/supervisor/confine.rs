use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::stdio::dup2_stdin;
use swifthook_core::RunLimits;

use crate::cgroup::Group;

/// What a process is put into before it becomes the command of a run.
#[derive(Clone, Copy)]
pub(super) struct Bounds<'a> {
    /// The most files that it, and each process below it, may have open.
    pub(super) files: Option<u64>,
    /// The control group.
    pub(super) group: Option<&'a Group>,
}

/// A process that executes a command.
pub(super) struct Started {
    pub(super) child: Child,
    /// Why it is not in its control group.
    pub(super) outside: Option<io::Error>,
}

/// Executes `argv`, with `set_up` done to the command: this program, once more, which goes into its bounds and becomes the
/// other. The supervisor itself stays outside, and the pid stays. An error is the same with and without bounds.
pub(super) fn start(
    argv: &[String],
    bounds: Bounds<'_>,
    set_up: impl FnOnce(&mut Command),
) -> io::Result<Started> {
    let Bounds { files, group } = bounds;
    if files.is_none() && group.is_none() {
        let mut command = Command::new(&argv[0]);
        set_up(command.args(&argv[1..]).stdin(Stdio::null()));
        return Ok(Started { child: command.spawn()?, outside: None });
    }
    let (mut told, tell) = io::pipe()?;
    let mut child = {
        let files = files.map_or_else(|| NONE.to_owned(), |files| files.to_string());
        let mut command = Command::new("/proc/self/exe");
        command.arg0("swifthook-confine").args([CONFINE, TELL, &files]);
        set_up(command.arg(group.map_or(Path::new(NONE), Group::path)).args(argv).stdin(tell));
        command.spawn()?
        // Our end to write goes with the command, so that the other one ends.
    };
    let mut text = String::new();
    told.read_to_string(&mut text)?;
    let error = |what: &str| {
        let number = text.lines().find_map(|line| line.strip_prefix(what))?;
        Some(number.trim().parse().map_or_else(io::Error::other, io::Error::from_raw_os_error))
    };
    match error(NOT_STARTED) {
        Some(error) => {
            child.wait()?;
            Err(error)
        }
        None => Ok(Started { child, outside: error(OUTSIDE) }),
    }
}

/// The command line that executes `argv` within what of `limits` holds for each process of its own. The binary that is
/// running now calls [`supervise_if_asked`](crate::supervise_if_asked) first in its `main`, or this starts it anew.
///
/// # Errors
///
/// When this program cannot tell where it is.
pub fn confined(argv: &[String], limits: &RunLimits) -> io::Result<Vec<String>> {
    let Some(files) = limits.files else { return Ok(argv.to_vec()) };
    let us = std::env::current_exe()?.into_os_string().into_string();
    let us = us.map_err(|_| io::Error::other("the path of this program is not UTF-8"))?;
    let ours = [us, CONFINE.to_owned(), NONE.to_owned(), files.to_string(), NONE.to_owned()];
    Ok(ours.into_iter().chain(argv.iter().cloned()).collect())
}

/// Becomes the command of a run if this process was started for it, and then does not return.
pub(super) fn confine(mut arguments: impl Iterator<Item = OsString>) -> ! {
    let mut next = || arguments.next().filter(|argument| argument != NONE);
    let (tells, files, group) = (next().is_some(), next(), next());
    let Some(program) = arguments.next() else { std::process::exit(CANNOT_EXECUTE) };
    let mut tell = match tells.then(take_stdin).transpose() {
        Ok(tell) => tell,
        Err(error) => give_up(&program, &error),
    };
    if let Some(Err(error)) = group.map(|group| Group::at(Path::new(&group)).enter()) {
        say(tell.as_mut(), OUTSIDE, &error);
    }
    let error = match files.map_or(Ok(()), |files| limit(&files)) {
        Ok(()) => Command::new(&program).args(arguments).exec(),
        Err(error) => error,
    };
    say(tell.as_mut(), NOT_STARTED, &error);
    match tell {
        // The supervisor has more to tell.
        Some(_) => std::process::exit(CANNOT_EXECUTE),
        None => give_up(&program, &error),
    }
}

fn give_up(program: &OsStr, error: &io::Error) -> ! {
    let _ = writeln!(io::stderr(), "swifthook: cannot start `{}`: {error}", program.display());
    std::process::exit(if error.kind() == io::ErrorKind::NotFound { NO_SUCH_PROGRAM } else { CANNOT_EXECUTE })
}

/// Takes the way to the supervisor from where the command gets nothing to read. It is closed when the command is executed.
fn take_stdin() -> io::Result<File> {
    let ours = fcntl_dupfd_cloexec(io::stdin(), 3)?;
    dup2_stdin(File::open("/dev/null")?)?;
    Ok(ours.into())
}

fn say(tell: Option<&mut File>, what: &str, error: &io::Error) {
    let Some(tell) = tell else { return };
    let _ = writeln!(tell, "{what}{}", error.raw_os_error().unwrap_or_default());
}

/// Nobody may have more than the system allows.
fn limit(files: &OsStr) -> io::Result<()> {
    let files = files.to_str().and_then(|files| files.parse().ok()).ok_or(io::ErrorKind::InvalidInput)?;
    let most = getrlimit(Resource::Nofile).maximum.map_or(files, |most| most.min(files));
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: Some(most) })?)
}

/// Asks for word on what is standard input at first.
const TELL: &str = "tell";
/// What is told, each with the number of an error.
const OUTSIDE: &str = "outside ";
const NOT_STARTED: &str = "not started ";
/// Stands for what is not wanted.
const NONE: &str = "-";
/// The hidden first argument.
pub(super) const CONFINE: &str = "__swifthook_confine";
/// As a shell would have it.
const NO_SUCH_PROGRAM: i32 = 127;
const CANNOT_EXECUTE: i32 = 126;
