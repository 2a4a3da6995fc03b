//! `swifthook worker`.

use std::process::ExitCode;

use super::CommonArguments;
use super::environment::variable;
use super::serve::{ServeArguments, Signals, announce, beside, until_it_ends};
use crate::config::{Config, Purpose};
use crate::serve::{LogFormat, StartError, Worker, warn_if_runs_would_be_killed};

pub(super) fn run(common: &CommonArguments, arguments: &ServeArguments) -> ExitCode {
    let (format, file) = (arguments.log.log_format, &common.config);
    until_it_ends(
        arguments,
        || Config::load_for(Purpose::Work, file, &variable),
        |config| work(config, format),
    )
}

async fn work(config: Config, format: LogFormat) -> Result<(), StartError> {
    let signals = Signals::new()?;
    warn_if_runs_would_be_killed().await;
    let worker = Worker::open(config).await?;
    tell(&worker, format);
    let status = format!("working with {} slots", worker.handle().config().worker.slots);
    beside(status, worker.handle(), signals, |end| worker.run(end)).await;
    Ok(())
}

/// Says that it works, and where it listens: for people, and for whoever started it on any free port.
fn tell(worker: &Worker, format: LogFormat) {
    let config = worker.handle().config();
    let slots = config.worker.slots;
    let labels = match &config.worker.labels[..] {
        [] => String::new(),
        labels => format!(", labels {}", labels.join(", ")),
    };
    let health = worker.address().map(|at| format!("; health at http://{at}")).unwrap_or_default();
    announce(&[format!("working with {slots} slots{labels}{health}")], format);
}
