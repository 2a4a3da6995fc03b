//! The `swifthook` program.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // Runs outlive the server: each has a supervisor, which is this program too.
    swifthook_launch::supervise_if_asked();
    swifthook::cli::run(swifthook::cli::Arguments::parse())
}
