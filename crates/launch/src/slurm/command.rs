//! Slurm's own commands, with nothing of our environment but what finds the cluster.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use swifthook_core::LaunchError;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::config::SlurmOptions;

/// What a command of Slurm said.
#[derive(Debug)]
pub(super) enum Answer {
    /// It did what it was asked to.
    Done(String),
    /// It did not, and why.
    Refused(String),
}

/// Runs a command of Slurm to its end.
///
/// # Errors
///
/// When it cannot be started, or does not end in time. Whether it did what it was asked to is unknown then.
pub(super) async fn call(
    options: &SlurmOptions,
    program: &str,
    arguments: &[String],
    input: &str,
) -> Result<Answer, LaunchError> {
    let failed = |error: io::Error| LaunchError::passing(format!("`{program}` cannot be run")).because(error);
    let mut child = command(options, program, arguments).spawn().map_err(failed)?;
    let mut stdin = child.stdin.take().expect("its standard input is a pipe");
    let talking = async {
        // One that ends without reading says why.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        child.wait_with_output().await
    };
    let Ok(output) = timeout(PATIENCE, talking).await else {
        return Err(LaunchError::passing(format!("`{program}` did not answer for {} s", PATIENCE.as_secs())));
    };
    let output = output.map_err(failed)?;
    if output.status.success() {
        return Ok(Answer::Done(String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    Ok(Answer::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// Whether there is such a program.
pub(super) fn is_there(options: &SlurmOptions, program: &str) -> bool {
    path_of(options, program).is_some_and(|path| path.is_file())
}

fn path_of(options: &SlurmOptions, program: &str) -> Option<PathBuf> {
    if let Some(folder) = &options.programs {
        return Some(folder.join(program));
    }
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

fn command(options: &SlurmOptions, program: &str, arguments: &[String]) -> Command {
    // By its path: to look for a name in an environment that it changes the standard library forks, which copies the tables
    // of all our memory, and otherwise it does not.
    let mut command = Command::new(path_of(options, program).unwrap_or_else(|| PathBuf::from(program)));
    // `SBATCH_…`, `SQUEUE_FORMAT`, `SACCT_FORMAT`, `SLURM_TIME_FORMAT` and their like would change what is asked and how it
    // is answered; and what `sbatch` has in its environment, jobs get.
    let kept = KEPT.into_iter().filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
    command
        .args(arguments)
        .env_clear()
        .envs(kept)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(conf) = &options.conf {
        command.env("SLURM_CONF", conf);
    }
    command
}

/// What Slurm says when its controller cannot be asked, as against when it says no
/// (<https://github.com/SchedMD/slurm/blob/master/src/common/slurm_errno.c>).
pub(super) fn is_out_of_reach(message: &str) -> bool {
    OUT_OF_REACH.iter().any(|phrase| message.contains(phrase))
}

const PATIENCE: Duration = Duration::from_secs(60);
const KEPT: [&str; 7] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "SLURM_CONF"];
const OUT_OF_REACH: [&str; 12] = [
    "Unable to contact slurm controller",
    "Socket timed out",
    "Connection refused",
    "Connection timed out",
    "Zero Bytes were transmitted or received",
    "Transport endpoint",
    "Communication connection failure",
    "Communication shutdown failure",
    "Unable to establish",
    "Unspecified error",
    "Incompatible versions of client and server",
    "controller is in standby mode",
];
