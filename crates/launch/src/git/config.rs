use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use swifthook_core::RepoName;
use swifthook_core::text::{address_without_user_info, printable};

/// Where a repository is fetched from. A payload has no say in it.
#[derive(Clone, Debug)]
pub struct Remote {
    /// The repository, by its configured name.
    pub name: RepoName,
    /// What to show where access is not free to everybody.
    pub credentials: Option<Credentials>,
    /// How much of the past is fetched.
    pub history: History,
    pub(super) url: Arc<str>,
    pub(super) transport: Transport,
}

/// How much of a repository's past is fetched. What a run sees is the same with each of them, and so is what changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum History {
    /// All of it. What was fetched once is never asked for again: the default.
    #[default]
    Full,
    /// All commits and folders, but of files only what a working tree or a configuration needs, when it needs it: for
    /// repositories whose past is large because of large files. The server must know partial clones, as GitHub's does.
    Blobless,
    /// The pushed commits alone: for repositories with very many commits. The first push of a new branch that is to be
    /// compared with where it left the default branch fetches all of the past after all.
    Shallow,
}

impl Remote {
    /// A repository that is fetched from `clone_url`: `https://…`, `ssh://…`, `user@host:path`, `file://…` or an
    /// absolute path. Nothing but that one transport is ever used for it.
    ///
    /// # Errors
    ///
    /// When it is none of these, or has a password or token in it: that would stand in the list of processes.
    pub fn new(name: RepoName, clone_url: &str) -> Result<Self, InvalidRemote> {
        let transport = Transport::of(clone_url)?;
        Ok(Self { name, credentials: None, history: History::Full, url: clone_url.into(), transport })
    }

    /// The same with credentials.
    #[must_use]
    pub fn with(self, credentials: Credentials) -> Self {
        Self { credentials: Some(credentials), ..self }
    }

    /// Whether it is a place on this machine, which no other one reaches by this name.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.transport == Transport::File
    }

    /// Whether it is reached by `ssh`.
    #[must_use]
    pub fn is_by_ssh(&self) -> bool {
        self.transport == Transport::Ssh
    }

    /// The same with another part of the past.
    #[must_use]
    pub fn keeping(self, history: History) -> Self {
        Self { history, ..self }
    }
}

/// How we show who we are. Without any, git finds what the machine has: an SSH agent or key, a `.netrc`.
#[derive(Clone)]
#[non_exhaustive]
pub enum Credentials {
    /// A private SSH key, without a passphrase. The host must be known already.
    Key(PathBuf),
    /// A token for `https`, as GitHub, Gitea and Forgejo make them.
    Token(String),
    /// The same, in a file that is read for each fetch, so that it can be replaced.
    TokenFile(PathBuf),
    /// A credential helper, as git's `credential.helper` has it.
    Helper(String),
    /// A folder of files that are named as the keys of a Kubernetes Secret are, and read when they are needed:
    /// `ssh-privatekey` and perhaps `known_hosts`, or `username` and `password`, and perhaps `ca.crt` with the authority
    /// that the server's certificate is from. What is in them stands in no argument and in no variable.
    Folder(PathBuf),
}

/// Without the token.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(path) => f.debug_tuple("Key").field(path).finish(),
            Self::Token(_) => f.write_str("Token(…)"),
            Self::TokenFile(path) => f.debug_tuple("TokenFile").field(path).finish(),
            Self::Helper(helper) => f.debug_tuple("Helper").field(helper).finish(),
            Self::Folder(path) => f.debug_tuple("Folder").field(path).finish(),
        }
    }
}

/// A clone URL that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRemote {
    /// It has a user and perhaps a password. The URL is not repeated here.
    #[error("a clone URL with a user or token in it (put a token into `credentials`)")]
    WithUser,
    /// Address of a kind that is not supported; here without what may be a user, a password or a token in it.
    #[error(
        "not a clone URL: `{0}` (expected `https://…`, `ssh://…`, `user@host:path`, `file://…` or an absolute path)"
    )]
    Unsupported(String),
}

/// The one way by which a repository is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Https,
    Ssh,
    File,
}

impl Transport {
    /// As `GIT_ALLOW_PROTOCOL` names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Ssh => "ssh",
            Self::File => "file",
        }
    }

    fn of(url: &str) -> Result<Self, InvalidRemote> {
        let unsupported = || {
            let shown: String = address_without_user_info(url).chars().take(200).collect();
            InvalidRemote::Unsupported(printable(&shown).into_owned())
        };
        if url.chars().any(char::is_control) {
            return Err(unsupported());
        }
        if let Some(rest) = url.strip_prefix("https://") {
            return match rest.split('/').next() {
                Some(host) if host.contains('@') || host.contains("%40") => Err(InvalidRemote::WithUser),
                // Half of a user and a password, and not a host and a port.
                Some(host) if has_odd_port(host) => Err(unsupported()),
                Some("") | None => Err(unsupported()),
                Some(_) => Ok(Self::Https),
            };
        }
        if url.starts_with("file:///") || url.starts_with('/') {
            return Ok(Self::File);
        }
        let host = match url.strip_prefix("ssh://") {
            Some(rest) => rest.split('/').next(),
            // `ext::…` and the like, and transports that we do not have.
            None if url.contains("::") || url.contains("://") => None,
            // `user:password@host:path` and `https:/token@host/path`, which ssh would take for a host and a path.
            None if has_password_before_host(url) => return Err(InvalidRemote::WithUser),
            None => url.split_once(':').map(|(host, _)| host),
        };
        // A host that begins with `-` would be an option of `ssh`, and so would a user.
        let is_host = |host: &str| {
            let name = host.rsplit('@').next().unwrap_or_default();
            !name.is_empty() && !name.starts_with('-') && !host.starts_with('-') && !host.contains('/')
        };
        match host {
            Some(host)
                if host.split('@').next().is_some_and(|user| host.contains('@') && user.contains(':')) =>
            {
                Err(InvalidRemote::WithUser)
            }
            Some(host) if is_host(host) && !url.starts_with('-') => Ok(Self::Ssh),
            _ => Err(unsupported()),
        }
    }
}

fn has_password_before_host(url: &str) -> bool {
    let rest = url.split_once(':').filter(|(host, _)| !host.contains(['@', '/'])).map(|(_, rest)| rest);
    rest.and_then(|rest| rest.trim_start_matches('/').split('/').next())
        .is_some_and(|first| first.contains('@'))
}

fn has_odd_port(host: &str) -> bool {
    let name = host.rsplit(']').next().unwrap_or_default();
    name.split_once(':').is_some_and(|(_, port)| !port.is_empty() && port.parse::<u16>().is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_url_names_one_of_three_transports() {
        for (url, transport) in [
            ("https://github.com/acme/models.git", Transport::Https),
            ("ssh://git@github.com:22/acme/models.git", Transport::Ssh),
            ("git@github.com:acme/models.git", Transport::Ssh),
            ("file:///srv/models.git", Transport::File),
            ("/srv/models.git", Transport::File),
        ] {
            assert_eq!(Transport::of(url), Ok(transport), "{url}");
        }
        for wrong in [
            "",
            "models.git",
            "../models.git",
            "http://github.com/acme/models.git",
            "git://github.com/acme/models.git",
            "https:///acme/models.git",
            "ext::sh -c 'touch pwned'",
            "ssh://-oProxyCommand=touch pwned/x",
            "ssh://-oProxyCommand=x@host/y",
            "git@-oProxyCommand=x:y",
            "-u:x",
            "--upload-pack=touch pwned",
            "https://github.com/a\nb",
        ] {
            assert!(Transport::of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_neither_taken_in_a_url_nor_shown() {
        for url in [
            "https://x:ghp_secret@github.com/a/b",
            "https://ghp_secret@github.com/a/b",
            "https://x:ghp_secret%40github.com/a/b",
            "ssh://u:pw@h/p",
            "u:pw@h:p",
        ] {
            assert_eq!(Transport::of(url), Err(InvalidRemote::WithUser));
        }
        for url in [
            "htps://x:ghp_secret@github.com/a/b",
            "HTTPS://x:ghp_secret@github.com/a/b",
            "git+https://ghp_secret@github.com/a/b",
            " https://x:ghp_secret@github.com/a/b",
            "https:/x:ghp_secret@github.com/a/b",
            "http://x:ghp_secret@github.com/a/b",
            "https:///x:ghp_secret@github.com/a/b",
            "https://x:ghp_\nsecret@github.com/a/b",
            "https://x:ghp_secret",
            "ghp_secret@github.com/a/b",
            "ext::https://x:ghp_secret@github.com/a/b",
        ] {
            let told = Transport::of(url).unwrap_err().to_string();
            assert!(!told.contains("ghp") && !told.contains("secret"), "{url:?}: {told}");
            assert!(told.contains("`https://…`") || told.contains("`credentials`"), "{url:?}: {told}");
        }
        assert!(!InvalidRemote::WithUser.to_string().contains("ghp"));
        assert_eq!(format!("{:?}", Credentials::Token("ghp_secret".into())), "Token(…)");
    }
}
