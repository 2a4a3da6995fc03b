use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use super::log_lines::{Form, Shown};

/// How the server tells what it does.
#[derive(Clone, Debug, Args)]
pub struct LogArguments {
    /// How log lines are written.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "SWIFTHOOK_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug, trace, or a filter such as `info,swifthook_runner=debug`.
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "SWIFTHOOK_LOG")]
    pub log: String,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Logs to standard error from here on. Lines that cannot be written, on a full disk or to a reader that has gone, are
/// lost; the process goes on.
///
/// # Errors
///
/// When the filter is none, or the process logs already.
pub fn init(arguments: &LogArguments) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // The client of the broker writes whole frames, the password among them; what matters of it we say ourselves.
    let filter = filter(&arguments.log)?.add_directive("lapin=off".parse()?);
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let form = match arguments.log_format {
        LogFormat::Text if is_terminal => Form::Coloured,
        LogFormat::Text => Form::Plain,
        LogFormat::Json => Form::Json,
    };
    // It reports errors with `eprintln!`, which panics where standard error cannot be written.
    let lines = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false);
    let lines = lines.with_writer(move || Shown { form, to: std::io::stderr() });
    match arguments.log_format {
        LogFormat::Text => lines.with_ansi(is_terminal).try_init(),
        LogFormat::Json => {
            lines.json().flatten_event(true).try_init()?;
            std::panic::set_hook(Box::new(|panicked| {
                let (payload, text) =
                    (panicked.payload(), panicked.payload().downcast_ref::<&str>().copied());
                let why = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
                let place = panicked.location().map(ToString::to_string);
                tracing::error!(panic = why, place, "a thread panicked");
            }));
            Ok(())
        }
    }
}

/// A level, or directives. A word alone that is no level would be taken for the name of a part, and nothing of the others
/// logged.
fn filter(text: &str) -> Result<EnvFilter, Unfit> {
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let is_lost =
        |word: &str| !word.contains(['=', '[']) && !is_level(word) && !word.starts_with("swifthook");
    let unfit = || Unfit(text.to_owned());
    if text.split(',').map(str::trim).any(is_lost) {
        return Err(unfit());
    }
    EnvFilter::try_new(text).map_err(|_| unfit())
}

/// What was asked for is no level and no filter.
#[derive(Debug, thiserror::Error)]
#[error(
    "`--log` cannot be `{0}`: there are error, warn, info, debug, trace and off, or a filter such as `info,swifthook_runner=debug`"
)]
struct Unfit(String);

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_told_and_not_taken_for_a_part() {
        for good in ["info", "WARN", "off", "info,swifthook_runner=debug", "swifthook", "hyper=trace"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for wrong in ["infoo", "verbose", "info,loud", "info=loud=louder", "swifthook=loud", ""] {
            let told = filter(wrong).unwrap_err().to_string();
            assert!(told.contains(&format!("`{wrong}`: there are error, warn")), "{told}");
        }
    }
}
