//! `swifthook demo`.

use std::process::ExitCode;

use super::failure::failed;
use crate::demo;

pub(super) fn run() -> ExitCode {
    match demo::tell() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}
