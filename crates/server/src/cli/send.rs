//! `swifthook send`.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use http::Uri;

use super::CommonArguments;
use super::environment::variable;
use super::failure::{failed, misused};
use super::screen::json_line;
use crate::config::{Config, Hook, Missing, Mistakes, Outside, Server};
use crate::send::{Answer, Delivery, Encoding, SendError};

/// What is sent, and where.
#[derive(Debug, clap::Args)]
pub struct SendArguments {
    /// The payload, a file with JSON; `-` reads standard input.
    #[arg(value_name = "PAYLOAD.json")]
    payload: PathBuf,
    /// Where to; without it, the first hook of the configuration.
    #[arg(long, value_name = "URL")]
    to: Option<Uri>,
    /// What it is signed with; without it, the first secret of that hook.
    #[arg(long, value_name = "env:NAME|file:PATH")]
    secret: Option<String>,
    /// The event.
    #[arg(long, default_value = "push")]
    event: String,
    /// Send it as a form, as GitHub's hooks do unless told otherwise, and not as JSON.
    #[arg(long)]
    form: bool,
    /// The delivery's GUID; the one of an earlier delivery makes it a redelivery. New without it.
    #[arg(long)]
    guid: Option<String>,
    /// Print the answer as it came.
    #[arg(long)]
    json: bool,
}

/// Signs the payload, posts it as GitHub does, and tells what the server answered. Exits with 0 if that is 2xx.
pub(super) fn run(common: &CommonArguments, arguments: &SendArguments) -> ExitCode {
    let answer = match send(common, arguments) {
        Ok(answer) => answer,
        Err(error @ Error::Send(_)) => return failed(&error),
        Err(error) => return misused(&error),
    };
    let text = if arguments.json { json_body(&answer) } else { answer.to_string() };
    match writeln!(io::stdout(), "{text}") {
        Ok(()) if answer.status.is_success() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn json_body(answer: &Answer) -> String {
    String::from_utf8_lossy(&json_line(answer.body.as_bytes())).trim_end().to_owned()
}

fn send(common: &CommonArguments, arguments: &SendArguments) -> Result<Answer, Error> {
    let (url, secret) = destination(common, arguments)?;
    let fresh = Delivery::push(payload(&arguments.payload)?);
    let delivery = Delivery {
        event: arguments.event.clone(),
        guid: arguments.guid.clone().unwrap_or(fresh.guid),
        encoding: if arguments.form { Encoding::Form } else { Encoding::Json },
        payload: fresh.payload,
    };
    Ok(delivery.post(&url, secret.as_bytes())?)
}

/// The configuration is read only for what the command line leaves open.
fn destination(common: &CommonArguments, arguments: &SendArguments) -> Result<(Uri, String), Error> {
    let given = arguments.secret.as_deref().map(outside).transpose()?;
    if let (Some(url), Some(secret)) = (&arguments.to, &given) {
        return Ok((url.clone(), secret.value(&variable)?));
    }
    let config = Config::load(&common.config, &variable)?;
    let hook = config.hooks.first().ok_or(Error::NoHook)?;
    let secret = given.as_ref().or(hook.secrets.first());
    let secret = secret.expect("a hook without secrets does not load").value(&variable)?;
    let url = match &arguments.to {
        Some(url) => url.clone(),
        None => url_of(&config.server, hook).ok_or(Error::NoPort)?,
    };
    Ok((url, secret))
}

/// Where a hook is reached from this machine.
fn url_of(server: &Server, hook: &Hook) -> Option<Uri> {
    let mut address = server.listen;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            [0, 0, 0, 0, 0, 0, 0, 1].into()
        });
    }
    let url = || format!("http://{address}{}", hook.path).parse().expect("a hook's path is plain");
    (address.port() != 0).then(url)
}

fn payload(file: &Path) -> Result<Vec<u8>, Error> {
    let mut payload = Vec::new();
    let read = match file.to_str() {
        Some("-") => io::stdin().read_to_end(&mut payload).map(|_| payload),
        _ => fs::read(file),
    };
    read.map_err(|source| Error::Payload { file: file.to_owned(), source })
}

fn outside(text: &str) -> Result<Outside, Error> {
    Outside::parse(text, Path::new("")).ok_or(Error::SecretItself)
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Config(#[from] Mistakes),
    #[error(transparent)]
    Secret(#[from] Missing),
    // Without the text: it may be the secret.
    #[error("`--secret` takes no secret itself: write `env:NAME` or `file:PATH`")]
    SecretItself,
    #[error("the configuration listens on any free port; say `--to URL`")]
    NoPort,
    #[error("the configuration has no [[hook]]: its repositories are pulled")]
    NoHook,
    #[error("cannot read {file}")]
    Payload { file: PathBuf, source: io::Error },
    #[error(transparent)]
    Send(#[from] SendError),
}
