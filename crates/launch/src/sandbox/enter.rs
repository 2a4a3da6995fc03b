use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use swifthook_core::{Enclosure, Sandbox};

use super::account::{become_user_of, in_memory, shown, with_name};
use super::families;
use super::keyring::{KEYRING, have_own_keyring};
use super::mounts::Inherits;
use super::probe::{FORBID_NAMESPACES, can_forbid_namespaces};
use super::words::{devices, namespaces, without_files, words};

/// The command line that executes what follows it within `enclosure`, as a child of this process: what is in a sandbox
/// ends with it, however it ends. The binary that is running now calls [`supervise_if_asked`](crate::supervise_if_asked)
/// first in its `main`, or this starts it anew.
#[must_use]
pub fn within(enclosure: &Enclosure) -> Vec<String> {
    within_telling(enclosure, None)
}

/// The same, with an open file into which bubblewrap tells how far it came, if there is a sandbox. The file has to stay open
/// when a program is executed.
pub(crate) fn within_telling(enclosure: &Enclosure, status: Option<&File>) -> Vec<String> {
    let Some(sandbox) = &enclosure.sandbox else {
        let keyring = enclosure.owner.map(|_| ["/proc/self/exe".to_owned(), KEYRING.to_owned()]);
        return keyring.into_iter().flatten().chain(enclosure.prefix.iter().cloned()).collect();
    };
    let told = serde_json::to_string(sandbox).expect("texts and numbers are always JSON");
    let status = status.map_or_else(String::new, |status| format!("{TELLS}{}", status.as_raw_fd()));
    let parent = format!("{}{status}", std::process::id());
    vec!["/proc/self/exe".to_owned(), SANDBOX.to_owned(), parent, told]
}

/// Becomes a command within a sandbox if this process was started for it, and then does not return.
pub(crate) fn enter(mut arguments: impl Iterator<Item = OsString>) -> ! {
    let (parent, told) = (arguments.next(), arguments.next());
    let error = match prepare(parent.as_deref(), told.as_deref()) {
        Ok(Prepared { program, told, _users, _families, _open }) => Command::new(program)
            .arg0("bwrap")
            .args(["--args", &told.as_raw_fd().to_string(), "--"])
            .args(arguments)
            .exec(),
        Err(error) => error,
    };
    let _ = writeln!(io::stderr(), "swifthook: cannot make the sandbox of the run: {error}");
    std::process::exit(NO_SANDBOX)
}

/// A program, and the files that it is to find open.
struct Prepared {
    program: String,
    told: File,
    _users: Option<File>,
    _families: Option<File>,
    _open: Vec<OwnedFd>,
}

fn prepare(parent: Option<&OsStr>, told: Option<&OsStr>) -> io::Result<Prepared> {
    let told = told.and_then(OsStr::to_str).ok_or(io::ErrorKind::InvalidInput)?;
    let parent = parent.and_then(OsStr::to_str).unwrap_or_default();
    let (parent, status) = parent.split_once(TELLS).map_or((parent, None), |(parent, fd)| (parent, Some(fd)));
    let sandbox: Sandbox = serde_json::from_str(told)?;
    become_user_of(sandbox.account.as_ref())?;
    end_with(parent)?;
    have_own_keyring()?;
    let mut all = namespaces(&sandbox);
    all.extend(status.into_iter().flat_map(|fd| ["--json-status-fd".into(), fd.into()]));
    if can_forbid_namespaces(&sandbox.program) {
        all.push(FORBID_NAMESPACES.into());
    }
    let (shown_to_it, open) = words(&sandbox, Inherits::Descriptors)?;
    all.extend(shown_to_it);
    if !open.is_empty() {
        can_show_descriptors(&sandbox.program)?;
    }
    all.extend(devices(&sandbox, env::var("CUDA_VISIBLE_DEVICES").ok().as_deref())?);
    all.extend(without_files());
    let named = sandbox.account.as_ref().and_then(|account| Some((account, account.name.as_deref()?)));
    let users = named.map(|(account, name)| {
        in_memory("users", &with_name(name, account, &env::var("HOME").unwrap_or_default()))
    });
    let users = users.transpose()?;
    all.extend(users.as_ref().and_then(shown).into_iter().flatten());
    let families = families::filter().filter(|_| !sandbox.network);
    let families = families.map(|filter| in_memory("families", &filter)).transpose()?;
    all.extend(families.iter().flat_map(|file| ["--seccomp".into(), file.as_raw_fd().to_string().into()]));
    let told = in_memory("sandbox", &joined(&all))?;
    Ok(Prepared { program: sandbox.program, told, _users: users, _families: families, _open: open })
}

/// Security updates have it in versions before 0.10 too.
fn can_show_descriptors(program: &str) -> io::Result<()> {
    let help = Command::new(program).arg("--help").env_clear().output()?;
    let told = [help.stdout, help.stderr].concat();
    match String::from_utf8_lossy(&told).contains("--ro-bind-fd") {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "`{program}` has no `--ro-bind-fd`, by which a checkpoint is shown: install bubblewrap 0.10 or later"
        ))),
    }
}

/// From here on, since to become another user undoes it. bubblewrap asks for the same later, when its parent may be gone.
fn end_with(parent: &str) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let parent: Option<i32> = parent.parse().ok();
    match parent.is_some() && getppid().map(|pid| pid.as_raw_pid()) == parent {
        true => Ok(()),
        false => Err(io::Error::other("whoever started it is gone")),
    }
}

/// The words that have bubblewrap start a command on a machine that has the same files and chooses the devices itself.
///
/// # Errors
///
/// If something is not there that the run needs.
#[cfg(feature = "slurm")]
pub(crate) fn told(sandbox: &Sandbox) -> io::Result<Vec<u8>> {
    let mut all = namespaces(sandbox);
    all.extend(words(sandbox, Inherits::Nothing)?.0);
    all.extend(super::words::all_devices());
    all.extend(without_files());
    Ok(joined(&all))
}

/// As `--args` has it.
fn joined(words: &[OsString]) -> Vec<u8> {
    words.iter().flat_map(|word| word.as_bytes().iter().copied().chain([0])).collect()
}

/// The hidden first argument.
pub(crate) const SANDBOX: &str = "__swifthook_sandbox";
/// Stands between the pid of whoever started it and the number of the descriptor to tell into.
const TELLS: char = ':';
/// The exit code of a sandbox that there is not.
const NO_SANDBOX: i32 = 126;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bubblewrap_that_shows_no_descriptors_is_told_and_what_would_do() {
        let why = can_show_descriptors("/bin/true").unwrap_err().to_string();
        assert!(why.starts_with("`/bin/true` has no `--ro-bind-fd`"), "{why}");
        assert!(why.ends_with("install bubblewrap 0.10 or later"), "{why}");
    }
}
