use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use swifthook_core::text::{printable_lines, without_user_info};

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
    complain(&mistakes.to_string());
    ExitCode::from(2)
}

fn tell(error: &dyn Error) {
    let mut text = format!("swifthook: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    complain(&text);
}

/// Tells something on standard error. Whoever is at fault may have chosen some of the words.
pub(super) fn complain(text: &str) {
    let text = without_user_info(text);
    // `eprintln!` panics where it cannot be written, and there is nobody left to tell.
    let _: io::Result<()> = writeln!(io::stderr(), "{}", printable_lines(&text));
}
