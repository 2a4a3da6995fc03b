use std::error::Error;
use std::process::ExitCode;

use crate::config::Mistakes;

/// Tells what went wrong, and why, on standard error.
pub(super) fn failed(error: &dyn Error) -> ExitCode {
    tell(error);
    ExitCode::FAILURE
}

/// The same for what the user has to correct before another try.
pub(super) fn misused(error: &dyn Error) -> ExitCode {
    tell(error);
    ExitCode::from(2)
}

/// The same for a configuration, whose mistakes begin with their places, so that editors find them.
pub(super) fn mistaken(mistakes: &Mistakes) -> ExitCode {
    eprintln!("{mistakes}");
    ExitCode::from(2)
}

fn tell(error: &dyn Error) {
    let mut text = format!("swifthook: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    eprintln!("{text}");
}
