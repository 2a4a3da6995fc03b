//! The `swifthook` program.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    swifthook::cli::run(swifthook::cli::Arguments::parse())
}
