//! What goes before a run into a container that knows nothing of us: this program itself.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Copies this program to where the run's container finds it, and then does not return.
///
/// The image of the run is the user's: it need not have anything of ours. This one must be linked so that it starts there
/// too, which a program that needs no library but the C library does in every image with as new a one.
pub(super) fn install(mut arguments: impl Iterator<Item = OsString>) -> ! {
    let code = match arguments.next().map(|to| copy(Path::new(&to))) {
        Some(Ok(())) => 0,
        Some(Err(error)) => {
            let _ = writeln!(io::stderr(), "swifthook: cannot put the keeper in its place: {error}");
            1
        }
        None => 2,
    };
    std::process::exit(code)
}

fn copy(to: &Path) -> io::Result<()> {
    to.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::copy("/proc/self/exe", to)?;
    // Also for another user, as whom the run may be started.
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))
}

/// The hidden first argument.
pub(crate) const INSTALL: &str = "__swifthook_install";
