use std::time::Duration;

use tokio_postgres::{Client, Config, Connection, Error, NoTls, Socket};

use tokio_postgres::tls::NoTlsStream;

/// A database, as a URL names it.
#[derive(Clone)]
pub struct Target {
    config: Config,
}

/// A text that is no URL of PostgreSQL. What it says may quote the names of options, and no values.
#[derive(Debug, thiserror::Error)]
#[error("{}", why(.0))]
pub struct InvalidUrl(Error);

impl Target {
    /// Reads a URL, with bounds on how long a server that is silent is waited for.
    ///
    /// # Errors
    ///
    /// When it is none, or has an option that is not known.
    pub fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let mut config: Config = url.parse().map_err(InvalidUrl)?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(SILENCE);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(SILENCE);
        }
        Ok(Self { config })
    }

    /// Whether a password stands in it.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.config.get_password().is_some()
    }

    /// Connects; whoever asks has to drive the connection.
    pub(super) async fn dial(&self) -> Result<(Client, Connection<Socket, NoTlsStream>), Error> {
        self.config.connect(NoTls).await
    }

    /// Connects; a task of the runtime drives the connection until it is closed.
    pub(super) async fn connect(&self) -> Result<Client, Error> {
        let (client, connection) = self.dial().await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(error = &error as &dyn std::error::Error, "lost a connection to PostgreSQL");
            }
        });
        Ok(client)
    }
}

/// The error says in general what its cause says exactly.
fn why(error: &Error) -> String {
    use std::error::Error;
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

const SILENCE: Duration = Duration::from_secs(5);
