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
    let filter = EnvFilter::try_new(&arguments.log)?.add_directive("lapin=off".parse()?);
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
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    }
}
