//! `swifthook serve`.

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::CommonArguments;
use super::environment::variable;
use super::failure::{failed, mistaken, misused};
use super::manager;
use super::screen::print;
use crate::config::{Config, Hook, Mistakes};
use crate::preflight::missing;
use crate::serve::{
    LogArguments, LogFormat, Server, ServerHandle, StartError, TOKEN_FILE, init_logging,
    warn_if_runs_would_be_killed, with_causes,
};

/// How to serve.
#[derive(Debug, clap::Args)]
pub struct ServeArguments {
    #[command(flatten)]
    pub(super) log: LogArguments,
}

pub(super) fn run(common: &CommonArguments, arguments: &ServeArguments) -> ExitCode {
    let format = arguments.log.log_format;
    until_it_ends(arguments, || Config::load(&common.config, &variable), |config| serve(config, format))
}

async fn serve(config: Config, format: LogFormat) -> Result<(), StartError> {
    let signals = Signals::new()?;
    warn_if_runs_would_be_killed().await;
    let server = Server::open(config).await?;
    let status = format!("taking pushes at {}", server.addresses().hooks);
    tell(&server, format);
    beside(status, server.handle(), signals, |end| server.run(end)).await;
    Ok(())
}

/// What such a process does beside its work: the service manager and SIGHUP.
pub(super) async fn beside<W: Future<Output = ()>>(
    status: String,
    handle: ServerHandle,
    signals: Signals,
    work: impl FnOnce(Pin<Box<dyn Future<Output = ()>>>) -> W,
) {
    let Signals { end, hangup } = signals;
    let ended = Box::pin(async move {
        end.await;
        manager::stopping();
    });
    let working = work(ended);
    manager::ready(&status);
    let others = [tokio::spawn(reload(handle, hangup, status)), tokio::spawn(manager::keep_alive())];
    working.await;
    others.iter().for_each(JoinHandle::abort);
}

/// Sets up the log and the runtime of a process that goes on until it is asked to end. From the first line on, all that it
/// says is in the form of its log.
pub(super) fn until_it_ends<W: Future<Output = Result<(), StartError>>>(
    arguments: &ServeArguments,
    load: impl FnOnce() -> Result<Config, Mistakes>,
    work: impl FnOnce(Config) -> W,
) -> ExitCode {
    if let Err(error) = init_logging(&arguments.log) {
        return misused(&*error);
    }
    let is_json = arguments.log.log_format == LogFormat::Json;
    let config = match load() {
        Ok(config) => config,
        Err(mistakes) if is_json => return logged(&mistakes),
        Err(mistakes) => return mistaken(&mistakes),
    };
    warn_of(&config);
    warn_of_missing(config.clone());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let worked = runtime.block_on(work(config));
    // All that matters is done. What still hangs, such as a look at a disk that is away, keeps nobody from ending.
    runtime.shutdown_timeout(LAST_BREATH);
    match worked {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_json => {
            error!(error = with_causes(&error), "cannot start");
            if matches!(error, StartError::NotShared) { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
        Err(error @ StartError::NotShared) => misused(&error),
        Err(error) => failed(&error),
    }
}

/// Tells of a configuration as the log does, each mistake by itself.
fn logged(mistakes: &Mistakes) -> ExitCode {
    let file = mistakes.file.display();
    for mistake in &mistakes.list {
        let place = mistake.place;
        let (line, column) = (place.map(|at| at.line), place.map(|at| at.column));
        error!(%file, line, column, "{mistake}");
    }
    ExitCode::from(2)
}

/// Tells what of a configuration is allowed and hardly meant.
fn warn_of(config: &Config) {
    let file = config.file.display();
    for warning in &config.warnings {
        let place = warning.place;
        let (line, column) = (place.map(|at| at.line), place.map(|at| at.column));
        warn!(%file, line, column, "{warning}");
    }
}

/// Tells what the machine lacks. A disk that does not answer keeps nobody waiting.
fn warn_of_missing(config: Config) {
    std::thread::spawn(move || {
        for what in missing(&config, &variable) {
            warn!("{what}");
        }
    });
}

/// Prints lines for whoever started the process, each a JSON object where the log is of such.
pub(super) fn announce(lines: &[String], format: LogFormat) {
    let text: String = match format {
        LogFormat::Text => lines.iter().map(|line| format!("{line}\n")).collect(),
        LogFormat::Json => lines.iter().map(|line| log_object(line) + "\n").collect(),
    };
    print(text.as_bytes());
}

/// A line of the log, as those are that the log writes itself.
fn log_object(message: &str) -> String {
    let timestamp = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
    serde_json::json!({ "timestamp": timestamp, "level": "INFO", "message": message, "target": "swifthook" })
        .to_string()
}

/// What such a process is told from outside, from now on.
pub(super) struct Signals {
    /// It is asked to end.
    pub(super) end: Pin<Box<dyn Future<Output = ()>>>,
    /// It is asked to read its configuration again.
    pub(super) hangup: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, StartError> {
        let of = |kind| signal(kind).map_err(StartError::Runtime);
        let (mut terminate, mut interrupt) = (of(SignalKind::terminate())?, of(SignalKind::interrupt())?);
        let end = Box::pin(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        Ok(Self { end, hangup: of(SignalKind::hangup())? })
    }
}

/// Says where it listens: for people, and for whoever started it on any free port.
fn tell(server: &Server, format: LogFormat) {
    let (at, config) = (server.addresses(), server.handle().config());
    let hook =
        |hook: &Hook| format!("taking pushes at http://{}{} (hook {})", at.hooks, hook.path, hook.name);
    let mut lines: Vec<_> = config.hooks.iter().map(hook).collect();
    lines.extend(config.repositories.iter().filter_map(|repository| {
        let every = humantime::format_duration(repository.pull?);
        Some(format!("pulling {} every {every}", repository.name))
    }));
    let token = match &config.server.admin_token {
        Some(place) => place.to_string(),
        None => config.store.state_dir.join(TOKEN_FILE).display().to_string(),
    };
    lines.push(format!("admin API at http://{} (token in {token})", at.admin));
    announce(&lines, format);
}

/// Takes a new configuration on SIGHUP, new secrets whenever their files change, and GitHub's new addresses.
async fn reload(server: ServerHandle, mut hangup: Signal, status: String) {
    let mut look = tokio::time::interval(LOOK_AT_SECRETS);
    let mut ask = tokio::time::interval_at(tokio::time::Instant::now() + ASK_FOR_RANGES, ASK_FOR_RANGES);
    let mut seen = server.secret_files();
    loop {
        let done = tokio::select! {
            asked = hangup.recv() => {
                if asked.is_none() {
                    return;
                }
                manager::reloading();
                let done = server.reload(&variable);
                manager::ready(&status);
                done
            }
            _ = ask.tick() => {
                let asking = server.clone();
                // Nothing panics there, and if something did, the next hour asks again.
                let asked = tokio::task::spawn_blocking(move || asking.refresh_ranges()).await;
                if let Ok(Err(error)) = asked {
                    warn!(error = with_causes(&error), "GitHub's addresses stay as they were");
                }
                continue;
            }
            _ = look.tick() => {
                if server.secret_files() == seen {
                    continue;
                }
                server.reread_secrets(&variable)
            }
        };
        match done {
            Ok(()) => {
                info!("the configuration was taken anew");
                warn_of(&server.config());
            }
            Err(error) => {
                error!(error = with_causes(&error), "the new configuration was refused; the old one goes on")
            }
        }
        seen = server.secret_files();
    }
}

/// Reading again what was written halfway costs nothing: a secret that is too short is refused, and looked at again
/// when its file changes.
const LOOK_AT_SECRETS: Duration = Duration::from_secs(2);
/// They change a few times a year.
const ASK_FOR_RANGES: Duration = Duration::from_secs(3_600);
/// Time that what is under way on other threads may take to end.
const LAST_BREATH: Duration = Duration::from_secs(2);
