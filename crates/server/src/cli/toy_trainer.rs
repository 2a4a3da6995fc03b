//! `swifthook toy-trainer`.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use super::failure::{failed, misused};
use crate::toy::{TrainerArgs, train};

/// Trains until all steps are done, or SIGTERM or SIGINT ask it to end; it exits with 0 then too.
///
/// As a run of swifthook it keeps to the contract: it goes on from `SWIFTHOOK_RESUME_FROM`, and tells of its checkpoints in
/// `SWIFTHOOK_PROGRESS`.
pub(super) fn run(args: &TrainerArgs) -> ExitCode {
    let told = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let args = &TrainerArgs {
        resume_from_checkpoint: args.resume_from_checkpoint.clone().or_else(|| told("SWIFTHOOK_RESUME_FROM")),
        progress: args.progress.clone().or_else(|| told("SWIFTHOOK_PROGRESS")),
        ..args.clone()
    };
    let ended = Builder::new_current_thread().enable_all().build().and_then(|runtime| {
        runtime.block_on(async { Ok(train(args, asked_to_stop()?, &mut io::stdout()).await) })
    });
    match ended {
        Ok(Ok(_)) => ExitCode::SUCCESS,
        Ok(Err(error)) if error.is_misuse() => misused(&error),
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
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
