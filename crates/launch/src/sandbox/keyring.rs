//! The keys that the kernel keeps for a session: see `session-keyring(7)`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;

use keyutils::Keyring;
use rustix::io::Errno;

/// Leaves the session keyring of the server to the server: who has it from a parent reads its keys, whatever user he is.
///
/// # Errors
///
/// If there is no other.
pub(super) fn have_own_keyring() -> io::Result<()> {
    match Keyring::join_anonymous_session() {
        Ok(_) => Ok(()),
        // A kernel without keys, or a filter of system calls, which holds for the run too.
        Err(error) if NO_KEYS.iter().any(|none| none.raw_os_error() == error.0) => Ok(()),
        Err(error) => Err(io::Error::from_raw_os_error(error.0)),
    }
}

/// Becomes the command that follows, in a session keyring of its own, and does not return.
pub(crate) fn with_own_keyring(mut arguments: impl Iterator<Item = OsString>) -> ! {
    let error = match (have_own_keyring(), arguments.next()) {
        (Ok(()), Some(program)) => Command::new(program).args(arguments).exec(),
        (Ok(()), None) => io::ErrorKind::InvalidInput.into(),
        (Err(error), _) => error,
    };
    let _ =
        writeln!(io::stderr(), "swifthook: cannot start the run with a session keyring of its own: {error}");
    std::process::exit(NOT_STARTED)
}

/// The hidden first argument.
pub(crate) const KEYRING: &str = "__swifthook_keyring";
const NO_KEYS: [Errno; 2] = [Errno::NOSYS, Errno::PERM];
/// As a shell would have it.
const NOT_STARTED: i32 = 126;
