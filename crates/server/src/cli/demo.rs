//! `swifthook demo`.

use std::process::ExitCode;

use super::failure::failed;
use crate::demo::{self, DemoError};

pub(super) fn run() -> ExitCode {
    match demo::tell() {
        Ok(()) => ExitCode::SUCCESS,
        // As of whoever is ended by the signal itself.
        Err(DemoError::Interrupted { signal }) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(1)),
        Err(error) => failed(&error),
    }
}
