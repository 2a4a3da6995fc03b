//! `swifthook worker`.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use super::CommonArguments;
use super::environment::variable;
use super::failure::{failed, mistaken, misused};
use super::screen::print;
use super::serve::{ServeArguments, reload};
use crate::config::{Config, Purpose};
use crate::serve::{StartError, Worker, init_logging, warn_if_runs_would_be_killed};

pub(super) fn run(common: &CommonArguments, arguments: &ServeArguments) -> ExitCode {
    let config = match Config::load_for(Purpose::Work, &common.config, &variable) {
        Ok(config) => config,
        Err(mistakes) => return mistaken(&mistakes),
    };
    if let Err(error) = init_logging(&arguments.log) {
        return misused(&*error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(work(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ StartError::NotShared) => misused(&error),
        Err(error) => failed(&error),
    }
}

async fn work(config: Config) -> Result<(), StartError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Runtime)?;
    let hangup = signal(SignalKind::hangup()).map_err(StartError::Runtime)?;
    warn_if_runs_would_be_killed().await;
    let worker = Worker::open(config).await?;
    tell(&worker);
    let reloading = tokio::spawn(reload(worker.handle(), hangup));
    worker
        .run(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await;
    reloading.abort();
    Ok(())
}

/// Says that it works, and where it listens: for people, and for whoever started it on any free port.
fn tell(worker: &Worker) {
    let config = worker.handle().config();
    let slots = config.worker.slots;
    let labels = match &config.worker.labels[..] {
        [] => String::new(),
        labels => format!(", labels {}", labels.join(", ")),
    };
    let health = worker.address().map(|at| format!("; health at http://{at}")).unwrap_or_default();
    print(format!("working with {slots} slots{labels}{health}\n").as_bytes());
}
