use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use http::{Method, StatusCode, Uri};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::CommonArguments;
use super::address::address;
use super::environment::variable;
use super::failure::{failed, mistaken, misused};
use super::listener;
use crate::config::{Contact, Missing, Mistakes, Server};
use crate::serve::{Shelf, Token};

/// Where to ask.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ReachArguments {
    /// The admin API of a server; without it, the one of the configuration.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "SWIFTHOOK_SERVER",
        hide_env_values = true,
        value_parser = address
    )]
    server: Option<Uri>,
    /// Print JSON, as the server gives it.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// Who answers: the server that runs, or its store when none runs.
pub(super) enum Reach {
    Server { agent: ureq::Agent, url: String, token: Token },
    Store(Shelf),
}

/// Whether a server runs.
enum Running {
    Yes(Reach),
    No(Box<Contact>),
}

/// An answer of the admin API.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

impl Reach {
    /// Finds out who answers.
    pub(super) fn find(common: &CommonArguments, arguments: &ReachArguments) -> Result<Self, Error> {
        match Self::running(common, arguments.server.as_ref())? {
            Running::Yes(server) => Ok(server),
            Running::No(contact) => {
                Ok(Self::Store(Shelf::open(&contact.store, contact.retention).map_err(Error::NobodyThere)?))
            }
        }
    }

    /// The server that runs, if one does.
    pub(super) fn only_server(
        common: &CommonArguments,
        arguments: &ReachArguments,
    ) -> Result<Option<Self>, Error> {
        match Self::running(common, arguments.server.as_ref())? {
            Running::Yes(server) => Ok(Some(server)),
            Running::No(_) => Ok(None),
        }
    }

    /// The server, if one runs that can be asked; its store is left alone.
    pub(super) fn only_a_server(common: &CommonArguments) -> Option<Self> {
        let server = variable("SWIFTHOOK_SERVER").map(|url| address(&url)).transpose().ok()?;
        match Self::running(common, server.as_ref()).ok()? {
            Running::Yes(server) => Some(server),
            Running::No(_) => None,
        }
    }

    fn running(common: &CommonArguments, server: Option<&Uri>) -> Result<Running, Error> {
        let token = variable("SWIFTHOOK_ADMIN_TOKEN").map(|token| Token::new(&token)).transpose()?;
        if let (Some(url), Some(token)) = (server, &token) {
            return Ok(Running::Yes(Self::at(url.to_string(), token.clone())));
        }
        let contact = Contact::load(&common.config, &variable)?;
        let url = match server {
            Some(url) => url.to_string(),
            None => url_of(&contact.server).ok_or(Error::NoPort)?,
        };
        if server.is_none() && !is_listening(&contact.server) {
            return Ok(Running::No(Box::new(contact)));
        }
        let address = match server {
            Some(url) => listener::loopback(url),
            None => Some(reachable(contact.server.admin_listen)),
        };
        let state_dir = &contact.store.state_dir;
        if let Some((address, user)) =
            address.and_then(|address| Some((address, listener::stranger(address, state_dir)?)))
        {
            return Err(Error::Stranger { address, user, state_dir: state_dir.clone() });
        }
        let token = match (token, &contact.server.admin_token) {
            (Some(token), _) => token,
            (None, Some(place)) => Token::new(&place.value(&variable)?)?,
            (None, None) => Token::found_in(&contact.store.state_dir).map_err(|source| Error::NoToken {
                file: contact.store.state_dir.join(crate::serve::TOKEN_FILE),
                source,
            })?,
        };
        Ok(Running::Yes(Self::at(url, token)))
    }

    fn at(url: String, token: Token) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(PATIENCE))
            .build();
        Self::Server { agent: config.into(), url: url.trim_end_matches('/').to_owned(), token }
    }

    /// Whether a server answers, so that something can be done and not only looked at.
    pub(super) fn is_server(&self) -> bool {
        matches!(self, Self::Server { .. })
    }

    /// What is at a path.
    pub(super) fn get(&self, path: &str) -> Result<Vec<u8>, Error> {
        let reply = self.call(Method::GET, path, Vec::new())?;
        if reply.status.is_success() { Ok(reply.body) } else { Err(Error::refused(&reply)) }
    }

    /// The same, understood.
    pub(super) fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        serde_json::from_slice(&self.get(path)?).map_err(Error::Strange)
    }

    /// Any call.
    pub(super) fn call(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Reply, Error> {
        self.call_within(PATIENCE, method, path, body)
    }

    /// The same of something that may take longer.
    pub(super) fn call_within(
        &self,
        patience: Duration,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Reply, Error> {
        match self {
            Self::Store(shelf) => {
                let (status, body) = shelf.call(method, path, body);
                Ok(Reply { status, body })
            }
            Self::Server { agent, url, token } => {
                let request = http::Request::builder()
                    .method(method)
                    .uri(format!("{url}{path}"))
                    .header(http::header::AUTHORIZATION, token.bearer())
                    .body(body)
                    .map_err(|error| Error::Unreachable { url: url.clone(), source: error.into() })?;
                let unreachable = |source| Error::Unreachable { url: url.clone(), source };
                let request = agent.configure_request(request).timeout_global(Some(patience)).build();
                let answer = agent.run(request).map_err(unreachable)?;
                let (head, body) = answer.into_parts();
                let mut bytes = Vec::new();
                body.into_reader().read_to_end(&mut bytes).map_err(|error| unreachable(error.into()))?;
                Ok(Reply { status: head.status, body: bytes })
            }
        }
    }
}

/// The address at which the API is reached from this machine; `None` if the configuration takes any free port.
fn url_of(server: &Server) -> Option<String> {
    (server.admin_listen.port() != 0).then(|| format!("http://{}", reachable(server.admin_listen)))
}

fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, v6.port()).into(),
        other => other,
    }
}

fn is_listening(server: &Server) -> bool {
    std::net::TcpStream::connect_timeout(&reachable(server.admin_listen), KNOCK).is_ok()
}

/// Nobody could be asked, or the answer was no.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Config(#[from] Mistakes),
    #[error("there is no admin token")]
    Secret(#[from] Missing),
    #[error(transparent)]
    Token(#[from] crate::serve::InvalidToken),
    #[error("the configuration takes any free port for the admin API; say `--server URL`")]
    NoPort,
    #[error("no server runs, and its store cannot be read")]
    NobodyThere(#[source] crate::serve::StartError),
    #[error("no server runs: this needs one (`swifthook serve`)")]
    NoServer,
    #[error(
        "the admin token `{}` cannot be read (it is for the user that runs the server; else set SWIFTHOOK_ADMIN_TOKEN)",
        file.display()
    )]
    NoToken { file: std::path::PathBuf, source: std::io::Error },
    #[error(
        "user {user} listens on {address}, who is neither root nor the owner of `{}`: the admin token is not shown to that user",
        state_dir.display()
    )]
    Stranger { address: SocketAddr, user: u32, state_dir: std::path::PathBuf },
    #[error("the server at {url} cannot be reached")]
    Unreachable { url: String, source: ureq::Error },
    #[error("{0}")]
    Refused(String),
    #[error("what answers is no server of this version, or not its admin API: `--server` says where that is")]
    Strange(serde_json::Error),
    #[error("no {what} has an id that begins with `{text}`")]
    NoSuch { what: &'static str, text: String },
    #[error("several have an id that begins with `{text}`: {candidates}")]
    Ambiguous { text: String, candidates: String },
    #[error("the job has changed meanwhile, and nothing was done; look at it again")]
    Changed,
    #[error("{told}{count} of them were refused")]
    SomeRefused { told: String, count: usize },
    #[error("name jobs by their ids, or say which by `--state`, `--recipe` or `--repository`")]
    NoneNamed,
    #[error("name jobs by their ids, or say which by a filter, and not both")]
    NamedAndFiltered,
    #[error("not confirmed, and nothing was done")]
    Unconfirmed,
    #[error("this would {would}: to do it, say `--yes`")]
    NobodyToAsk { would: String },
    #[error("the store cannot be used")]
    Store(#[source] crate::serve::StartError),
    #[error("the store cannot be copied")]
    Backup(#[from] swifthook_queue::BackupError),
    #[error("the store cannot be copied")]
    Copy(#[from] swifthook_queue::CopyError),
    #[error("{0}")]
    NotAStore(String),
    #[cfg(feature = "postgres")]
    #[error("the store is on PostgreSQL, which has a tool of its own for that: `pg_dump`")]
    HasItsOwnBackup,
}

impl Error {
    /// Tells it, and gives the exit code.
    pub(super) fn tell(&self) -> ExitCode {
        match self {
            Self::Config(mistakes) => mistaken(mistakes),
            Self::NoPort
            | Self::NoneNamed
            | Self::NamedAndFiltered
            | Self::NotAStore(_)
            | Self::Token(_)
            | Self::Ambiguous { .. } => misused(self),
            _ => failed(self),
        }
    }

    /// Whether it says something of one job, and nothing of others.
    pub(super) fn is_about_one(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Changed)
    }

    pub(super) fn refused(reply: &Reply) -> Self {
        #[derive(Deserialize)]
        struct Problem {
            detail: String,
        }
        let told = serde_json::from_slice(&reply.body).map(|problem: Problem| problem.detail);
        Self::Refused(told.unwrap_or_else(|_| format!("the server answered {}", reply.status)))
    }
}

const PATIENCE: Duration = Duration::from_secs(30);
const KNOCK: Duration = Duration::from_secs(2);
