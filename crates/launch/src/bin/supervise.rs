//! The supervisor as a binary of its own, for embedders who do not call `supervise_if_asked` in their `main`.

use std::io::{self, Write as _};

fn main() -> std::process::ExitCode {
    swifthook_launch::supervise_if_asked();
    // Also what a program without `kubernetes` says in a pod.
    let _ = writeln!(
        io::stderr(),
        "swifthook-supervise is started by swifthook, and was asked for nothing that it can do: \
         is it of the same version, with the same features?"
    );
    std::process::ExitCode::from(2)
}
