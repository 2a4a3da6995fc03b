use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, Connection, Error, Socket};

use super::tls::{Stream, Tls, Trust};

/// A database, as a URL names it, and how far its server is trusted.
///
/// `sslmode` and `sslrootcert` mean what they mean to libpq: `disable`; `prefer`, the default, encrypts where the
/// server can; `require` refuses where it cannot; `verify-ca` also wants a certificate that one of the authorities in
/// `sslrootcert` has signed, and `verify-full` one for this host. Without the file, the public authorities count.
/// Client certificates and channel binding are not supported.
#[derive(Clone)]
pub struct Target {
    config: Config,
    tls: Tls,
}

/// A text that is no URL of PostgreSQL. What it says may quote the names of options, and no values but modes and files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// It cannot be read.
    #[error("{}", why(.0))]
    Url(Error),
    /// There is no such mode.
    #[error("no sslmode is called `{0}` (there are disable, prefer, require, verify-ca and verify-full)")]
    Mode(String),
    /// The authorities cannot be read.
    #[error("the authorities in `{}` cannot be read: {why}", file.display())]
    Roots {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

impl Target {
    /// Reads a URL, with bounds on how long a server that is silent is waited for. Reads the file of authorities too.
    ///
    /// # Errors
    ///
    /// When it is none, has an option that is not known, or the file cannot be read.
    pub fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let (url, mode, roots) = without_tls(url);
        let mut config: Config = url.parse().map_err(InvalidUrl::Url)?;
        let (mode, trust) = trust(mode.as_deref(), roots.as_deref().map(Path::new))?;
        config.ssl_mode(mode);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(SILENCE);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(SILENCE);
        }
        Ok(Self { config, tls: Tls::new(trust).map_err(InvalidUrl::Tls)? })
    }

    /// Whether a password stands in it.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.config.get_password().is_some()
    }

    /// Connects; whoever asks has to drive the connection.
    pub(super) async fn dial(&self) -> Result<(Client, Connection<Socket, Stream<Socket>>), Error> {
        self.config.connect(self.tls.clone()).await
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

/// Takes what is about TLS out of a URL: the driver does not know all of it.
fn without_tls(url: &str) -> (String, Option<String>, Option<String>) {
    // A password may have a `?`.
    let host = url.find('@').map_or(0, |at| at + 1);
    let Some(query) = url[host..].find('?').map(|at| host + at) else { return (url.to_owned(), None, None) };
    let (mut mode, mut roots, mut others) = (None, None, Vec::new());
    for option in url[query + 1..].split('&') {
        match option.split_once('=') {
            Some(("sslmode", value)) => mode = Some(decoded(value)),
            Some(("sslrootcert", value)) => roots = Some(decoded(value)),
            _ => others.push(option),
        }
    }
    let mark = if others.is_empty() { "" } else { "?" };
    (format!("{}{mark}{}", &url[..query], others.join("&")), mode, roots)
}

fn trust(mode: Option<&str>, roots: Option<&Path>) -> Result<(SslMode, Trust), InvalidUrl> {
    Ok(match (mode.unwrap_or("prefer"), roots) {
        ("disable", _) => (SslMode::Disable, Trust::Anybody),
        ("prefer", _) => (SslMode::Prefer, Trust::Anybody),
        ("require", None) => (SslMode::Require, Trust::Anybody),
        // As libpq does it, for those who have it from there.
        ("require" | "verify-ca", roots) => (SslMode::Require, Trust::Signed(authorities(roots)?)),
        ("verify-full", roots) => (SslMode::Require, Trust::SignedForHost(authorities(roots)?)),
        (other, _) => return Err(InvalidUrl::Mode(other.to_owned())),
    })
}

fn authorities(file: Option<&Path>) -> Result<RootCertStore, InvalidUrl> {
    let Some(file) = file.filter(|file| *file != Path::new("system")) else {
        return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
    };
    let wrong = |why: String| InvalidUrl::Roots { file: file.to_owned(), why };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))? {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() { Err(wrong("there is no certificate in it".to_owned())) } else { Ok(roots) }
}

/// Without the escapes of a URL. What is no escape stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped =
            after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The error says in general what its cause says exactly.
fn why(error: &Error) -> String {
    use std::error::Error;
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

const SILENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_tls_is_taken_out_of_a_url() {
        let taken = |url: &str| without_tls(url);
        let is = |url: &str, mode: Option<&str>, roots: Option<&str>| {
            (url.to_owned(), mode.map(str::to_owned), roots.map(str::to_owned))
        };
        assert_eq!(taken("postgres://h/d"), is("postgres://h/d", None, None));
        assert_eq!(
            taken("postgres://u:p?w@h/d?sslmode=verify-full&user=x&sslrootcert=%2Fetc%2Fca.pem"),
            is("postgres://u:p?w@h/d?user=x", Some("verify-full"), Some("/etc/ca.pem"))
        );
        assert_eq!(taken("postgres://h/d?sslmode=require"), is("postgres://h/d", Some("require"), None));
    }

    #[test]
    fn a_mode_that_is_none_and_a_file_that_is_not_there_are_refused() {
        let refused = |url: &str| Target::parse(url).map(drop).unwrap_err().to_string();
        assert!(refused("postgres://h/d?sslmode=verify").contains("`verify`"));
        let missing = refused("postgres://h/d?sslmode=verify-ca&sslrootcert=/nowhere/ca.pem");
        assert!(missing.contains("`/nowhere/ca.pem` cannot be read"), "{missing}");
        for mode in ["disable", "prefer", "require", "verify-ca", "verify-full"] {
            Target::parse(&format!("postgres://h/d?sslmode={mode}")).unwrap();
        }
    }
}
