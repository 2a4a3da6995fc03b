use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use swifthook_core::RunLimits;

/// The command that executes `argv` with at most so many open files for each process: this program, once more, which
/// limits itself and becomes the other. The supervisor itself is not limited, and the pid stays.
pub(super) fn command(argv: &[String], files: Option<u64>) -> Command {
    match files {
        None => {
            let mut command = Command::new(&argv[0]);
            command.args(&argv[1..]);
            command
        }
        Some(files) => {
            let mut command = Command::new("/proc/self/exe");
            command.arg0("swifthook-confine").arg(CONFINE).arg(files.to_string()).args(argv);
            command
        }
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
    Ok([us, CONFINE.to_owned(), files.to_string()].into_iter().chain(argv.iter().cloned()).collect())
}

/// Becomes the command of a run if this process was started for it, and then does not return.
pub(super) fn confine(mut arguments: impl Iterator<Item = OsString>) -> ! {
    let files = arguments.next().and_then(|text| text.to_str()?.parse().ok());
    let code = match (files, arguments.next()) {
        (Some(files), Some(program)) => become_command(files, &program, arguments),
        _ => CANNOT_EXECUTE,
    };
    std::process::exit(code)
}

fn become_command(files: u64, program: &OsStr, arguments: impl Iterator<Item = OsString>) -> i32 {
    let error = match limit(files) {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(error) => error,
    };
    let _ = writeln!(io::stderr(), "swifthook: cannot start `{}`: {error}", program.display());
    if error.kind() == io::ErrorKind::NotFound { NO_SUCH_PROGRAM } else { CANNOT_EXECUTE }
}

/// Nobody may have more than the system allows.
fn limit(files: u64) -> io::Result<()> {
    let most = getrlimit(Resource::Nofile).maximum.map_or(files, |most| most.min(files));
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: Some(most) })?)
}

/// The hidden first argument.
pub(super) const CONFINE: &str = "__swifthook_confine";
/// As a shell would have it.
const NO_SUCH_PROGRAM: i32 = 127;
const CANNOT_EXECUTE: i32 = 126;
