use std::fmt;
use std::str::FromStr;

use lapin::uri::AMQPUri;
use swifthook_core::Secret;

/// Where a broker is: `amqp://user:password@host:5672/vhost`, or `amqps://` for TLS. Never shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    uri: AMQPUri,
    has_password: bool,
}

/// A text that is not the URL of a broker. It does not quote it, since a password may be in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} (expected for example `amqp://broker.example.org:5672/%2f`)")]
pub struct InvalidAddress(&'static str);

/// How the broker is used.
#[derive(Clone, Debug)]
pub struct Options {
    /// The queue. Messages that can never be stored go to one of the same name with `.dead` at its end.
    pub queue: String,
    /// How many messages may be on their way into the store at once; at least 1.
    pub prefetch: u16,
    /// The keys with which messages are signed: the first signs, each of them is good. Without any, messages are not
    /// signed and signatures are not looked at.
    pub keys: Vec<Secret>,
    /// How the connections are called in the broker's own lists.
    pub name: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            queue: "swifthook.deliveries".to_owned(),
            prefetch: 128,
            keys: Vec::new(),
            name: "swifthook".to_owned(),
        }
    }
}

impl Options {
    /// Where messages go that can never be stored.
    #[must_use]
    pub fn dead_queue(&self) -> String {
        format!("{}.dead", self.queue)
    }
}

impl Address {
    /// Whether there is a password in it, of which it would be a pity if it stood where others read.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.has_password
    }

    pub(super) fn uri(&self) -> AMQPUri {
        let mut uri = self.uri.clone();
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        uri.query.connection_timeout.get_or_insert(CONNECT_MILLIS);
        uri
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(InvalidAddress("not the URL of a broker"));
        };
        if !matches!(scheme, "amqp" | "amqps") {
            return Err(InvalidAddress("the scheme of a broker is `amqp` or `amqps`"));
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        if host.is_empty() || host.starts_with(':') {
            return Err(InvalidAddress("the URL of the broker names no host"));
        }
        // The client would take `localhost` for it without a word.
        if host.starts_with('[') {
            return Err(InvalidAddress("the host of a broker has to be a name or an IPv4 address"));
        }
        let uri: AMQPUri = text.parse().map_err(|_| InvalidAddress("not the URL of a broker"))?;
        if uri.vhost.is_empty() {
            return Err(InvalidAddress("the URL ends in `/`, which names a virtual host without a name"));
        }
        let has_password = user.split_once(':').is_some_and(|(_, password)| !password.is_empty());
        Ok(Self { uri, has_password })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AMQPUri { scheme, authority, vhost, .. } = &self.uri;
        write!(f, "{scheme}://{}:{}, virtual host `{vhost}`", authority.host, authority.port)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The connection is given up when nothing has come for twice as long.
const HEARTBEAT_SECONDS: u16 = 10;
const CONNECT_MILLIS: u64 = 5_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_never_shows_its_password() {
        let address: Address = "amqps://ada:s3cret@broker.example.org/train".parse().unwrap();
        assert_eq!(address.to_string(), "amqps://broker.example.org:5671, virtual host `train`");
        assert_eq!(format!("{address:?}"), address.to_string());
        let short: Address = "amqp://127.0.0.1".parse().unwrap();
        assert_eq!(short.to_string(), "amqp://127.0.0.1:5672, virtual host `/`");
        assert_eq!(short.uri().authority.userinfo.username, "guest");
    }

    #[test]
    fn what_would_lead_elsewhere_is_refused() {
        for wrong in [
            "",
            "127.0.0.1:5672",
            "http://s3cret@broker/",
            "amqp://",
            "amqp://:5672",
            "amqp://ada:s3cret@",
            "amqp://ada:s3cret@[::1]:5672",
            "amqp://broker/",
            "amqp://broker:notaport",
            "amqp://ada:s3cret@broker?heartbeat=often",
        ] {
            let refused = wrong.parse::<Address>().unwrap_err();
            assert!(!refused.to_string().contains("s3cret"), "{refused}");
        }
    }
}
