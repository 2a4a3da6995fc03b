use std::future::Future;
use std::io;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use super::trainer::{TrainError, TrainerArgs, train};

/// Runs the toy trainer as a process of its own, until it is done or SIGTERM or SIGINT ask it to end. Exits with 0
/// then too, with 1 where it failed, and with 2 where its configuration is wrong.
#[must_use]
pub fn run(args: &TrainerArgs) -> ExitCode {
    let ended = runtime().and_then(|runtime| {
        runtime.block_on(async { Ok(train(args, asked_to_stop()?, &mut io::stdout()).await) })
    });
    let error: Box<dyn std::error::Error> = match ended {
        Ok(Ok(_)) => return ExitCode::SUCCESS,
        Ok(Err(error)) => error.into(),
        Err(error) => error.into(),
    };
    eprint!("toy-trainer: {error}");
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.for_each(|cause| eprint!(": {cause}"));
    eprintln!();
    let is_misuse = error.downcast_ref().is_some_and(TrainError::is_misuse);
    ExitCode::from(if is_misuse { 2 } else { 1 })
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn asked_to_stop() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
