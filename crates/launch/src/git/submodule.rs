//! Which submodules a commit may have. What it says of them is somebody else's: names, paths and addresses are looked
//! at one by one, and git's own `submodule` command is never run.

use std::path::PathBuf;

use swifthook_core::WorkspaceError;
use swifthook_core::text::{address_without_user_info, is_printable, printable};

use super::config::{Remote, Transport};

/// A submodule that a commit has, and may have.
#[derive(Debug)]
pub(super) struct Submodule {
    /// Where it stands in the working tree.
    pub(super) path: String,
    /// The commit of it.
    pub(super) commit: String,
    /// Where it is fetched from.
    pub(super) remote: Remote,
    /// Where its mirror is, under the folder of such mirrors.
    pub(super) mirror: PathBuf,
}

impl Submodule {
    /// What stands at `path`, by the address `url` that `.gitmodules` gives. A relative one is one of the parent's own
    /// address. `hosts` are those that the recipe allows.
    ///
    /// # Errors
    ///
    /// Permanent, for whatever is not allowed.
    pub(super) fn new(
        parent: &Remote,
        (path, commit): (&str, &str),
        url: &str,
        hosts: &[String],
    ) -> Result<Self, WorkspaceError> {
        let refused = |why: String| {
            let path = printable(path);
            WorkspaceError::permanent(format!("the submodule at `{path}` is refused: {why}"))
        };
        if path.chars().chain(url.chars()).any(|letter| !is_printable(letter)) {
            return Err(refused("its path or its address has control characters".to_owned()));
        }
        if path.starts_with('-') || url.starts_with('-') {
            return Err(refused("its path or its address begins with `-`".to_owned()));
        }
        let url = resolve(&parent.url, url).map_err(|why| refused(why.to_owned()))?;
        let remote = Remote::new(parent.name.clone(), &url).map_err(|error| refused(error.to_string()))?;
        let Some(place) = place_of(&remote) else {
            return Err(refused(format!(
                "`{}` is not an address by https or ssh",
                address_without_user_info(&url)
            )));
        };
        if !hosts.iter().any(|host| host.eq_ignore_ascii_case(&place.host)) {
            return Err(refused(format!("its host `{}` is not in the recipe's `submodules`", place.host)));
        }
        // Who may read the parent may be somebody else elsewhere: its credentials are shown to its own host alone.
        let is_at_home = place_of(parent).is_some_and(|home| {
            parent.transport == remote.transport && home.host.eq_ignore_ascii_case(&place.host)
        });
        let credentials = parent.credentials.clone().filter(|_| is_at_home);
        let remote = Remote { credentials, history: parent.history, ..remote };
        let mirror = place.mirror(&remote).ok_or_else(|| refused("its address is too long".to_owned()))?;
        Ok(Self { path: path.to_owned(), commit: commit.to_owned(), remote, mirror })
    }
}

/// A host that submodules may come from: a name or an address, and a port where it is not the usual one.
///
/// # Errors
///
/// When it is none.
pub fn check_host(text: &str) -> Result<String, InvalidHost> {
    if is_host(text) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(InvalidHost(text.chars().take(200).collect()))
    }
}

/// Not a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a host: `{0}` (expected for example `github.com`, or `git.example.org:8443`)")]
pub struct InvalidHost(String);

struct Place {
    /// With a port where the address has one.
    host: String,
    path: String,
}

impl Place {
    /// A path of harmless characters, another for each address.
    fn mirror(&self, remote: &Remote) -> Option<PathBuf> {
        let escape = |text: &str| -> String {
            let letter = |byte: u8| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
                _ => format!("%{byte:02x}"),
            };
            text.bytes().map(letter).collect()
        };
        let name = format!("{}.git", escape(&self.path));
        let host = format!("{}-{}", remote.transport.name(), escape(&self.host.to_ascii_lowercase()));
        (name.len() < LONGEST_NAME).then(|| PathBuf::from(host).join(name))
    }
}

/// Host and path of an address by https or ssh.
fn place_of(remote: &Remote) -> Option<Place> {
    let url = &*remote.url;
    let (host, path) = match remote.transport {
        Transport::File => return None,
        Transport::Https => url.strip_prefix("https://")?.split_once('/')?,
        Transport::Ssh => match url.strip_prefix("ssh://") {
            Some(rest) => rest.split_once('/')?,
            None => url.split_once(':')?,
        },
    };
    let host = host.rsplit('@').next()?;
    is_host(host).then(|| Place { host: host.to_owned(), path: path.to_owned() })
}

fn is_host(text: &str) -> bool {
    let (name, port) = text.split_once(':').unwrap_or((text, "1"));
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    !name.is_empty()
        && !name.starts_with(['-', '.'])
        && name.bytes().all(is_letter)
        && port.parse::<u16>().is_ok_and(|port| port > 0)
        && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// The address that `url` means to a repository at `base`: <https://git-scm.com/docs/git-submodule>, `add`.
fn resolve(base: &str, url: &str) -> Result<String, &'static str> {
    let is_relative = url.starts_with("./") || url.starts_with("../");
    let whole = if is_relative { join(base.trim_end_matches('/'), url)? } else { url.to_owned() };
    let has_steps = whole.split(['/', ':']).any(|part| part == ".." || part == ".");
    if has_steps { Err("its address has `..` in it") } else { Ok(whole) }
}

fn join(mut base: &str, mut rest: &str) -> Result<String, &'static str> {
    loop {
        if let Some(after) = rest.strip_prefix("./") {
            rest = after;
        } else if let Some(after) = rest.strip_prefix("../") {
            rest = after;
            base = base.rfind(['/', ':']).map(|end| &base[..end]).ok_or(ABOVE)?;
            // Above the first folder are host and scheme.
            if base.ends_with(['/', ':']) || !base.contains(['/', ':', '@']) {
                return Err(ABOVE);
            }
        } else if base.contains(['/', ':']) {
            return Ok(format!("{base}/{rest}"));
        } else {
            // Of `user@host:models` the folder is gone with the `:`.
            return Ok(format!("{base}:{rest}"));
        }
    }
}

const ABOVE: &str = "its address leads out of the parent's host";
/// Names of files have at most 255 bytes.
const LONGEST_NAME: usize = 240;

#[cfg(test)]
mod tests {
    use swifthook_core::{Problem, RepoName};

    use super::super::config::Credentials;
    use super::*;

    fn parent(url: &str) -> Remote {
        let remote = Remote::new(RepoName::new("acme/models").unwrap(), url).unwrap();
        remote.with(Credentials::Token("ghp_secret".into()))
    }

    fn of(parent_url: &str, url: &str) -> Result<Submodule, WorkspaceError> {
        let hosts = ["github.com".to_owned(), "git.example:8443".to_owned()];
        Submodule::new(&parent(parent_url), ("vendor/sub", "c"), url, &hosts)
    }

    #[test]
    fn an_address_is_resolved_against_the_configured_one() {
        const HTTPS: &str = "https://github.com/acme/models.git";
        const SSH: &str = "git@github.com:acme/models.git";
        for (parent, url, resolved) in [
            (HTTPS, "https://github.com/other/sub.git", "https://github.com/other/sub.git"),
            (HTTPS, "../sub.git", "https://github.com/acme/sub.git"),
            (HTTPS, "../../other/./sub", "https://github.com/other/./sub"),
            (HTTPS, "./sub", "https://github.com/acme/models.git/sub"),
            ("https://github.com/acme/models/", "../sub", "https://github.com/acme/sub"),
            (HTTPS, "git@github.com:other/sub.git", "git@github.com:other/sub.git"),
            (SSH, "../sub.git", "git@github.com:acme/sub.git"),
            (SSH, "../../other/sub.git", "git@github.com:other/sub.git"),
            ("ssh://git@github.com/acme/models", "../sub", "ssh://git@github.com/acme/sub"),
            (HTTPS, "https://git.example:8443/a/b", "https://git.example:8443/a/b"),
        ] {
            match of(parent, url) {
                Ok(submodule) => assert_eq!(&*submodule.remote.url, resolved, "{parent} {url}"),
                Err(error) => assert!(resolved.contains("/./"), "{parent} {url}: {error}"),
            }
        }
    }

    #[test]
    fn what_is_not_allowed_is_refused_for_good() {
        const HTTPS: &str = "https://github.com/acme/models.git";
        for (parent, url) in [
            (HTTPS, "http://github.com/a/b"),
            (HTTPS, "git://github.com/a/b"),
            (HTTPS, "file:///etc"),
            (HTTPS, "/etc"),
            (HTTPS, "ext::sh -c 'touch pwned'"),
            (HTTPS, "-u./payload"),
            (HTTPS, "--upload-pack=touch pwned"),
            (HTTPS, "ssh://-oProxyCommand=touch pwned/x"),
            (HTTPS, "ssh://-oProxyCommand=x@github.com/x"),
            (HTTPS, "https://github.com/a/b\r"),
            (HTTPS, "https://github.com/a/b\n[core]"),
            (HTTPS, "https://evil.example/a/b"),
            (HTTPS, "https://github.com.evil.example/a/b"),
            (HTTPS, "https://github.com@evil.example/a/b"),
            (HTTPS, "https://evil.example\\@github.com/a/b"),
            (HTTPS, "https://evil.example#@github.com/a/b"),
            (HTTPS, "https://github.com:8443/a/b"),
            (HTTPS, "https://git.example/a/b"),
            (HTTPS, "git@evil.example:a/b"),
            (HTTPS, "../../../evil.example/a"),
            (HTTPS, "../../../../evil.example/a"),
            (HTTPS, "../a/../../../../b"),
            ("git@github.com:acme/models.git", "../../../evil:a"),
            ("file:///srv/models.git", "../sub.git"),
            ("/srv/models.git", "../sub.git"),
            ("/srv/models.git", "./sub.git"),
        ] {
            let refused = of(parent, url);
            assert!(refused.as_ref().is_err_and(Problem::is_permanent), "{parent} {url}: {refused:?}");
        }
        let hosts = ["github.com".to_owned()];
        for path in ["-x", "a\rb", "a\nb"] {
            let url = "https://github.com/a/b";
            let refused = Submodule::new(&parent(HTTPS), (path, "c"), url, &hosts).unwrap_err();
            assert!(refused.is_permanent() && !refused.to_string().contains(char::is_control), "{refused}");
        }
    }

    #[test]
    fn credentials_stay_with_their_host() {
        let own = of("https://github.com/acme/models.git", "../sub.git").unwrap();
        assert!(own.remote.credentials.is_some());
        let by_ssh = of("https://github.com/acme/models.git", "git@github.com:acme/sub.git").unwrap();
        assert!(by_ssh.remote.credentials.is_none());
        let elsewhere = of("https://github.com/acme/models.git", "https://git.example:8443/a/b").unwrap();
        assert!(elsewhere.remote.credentials.is_none());
    }

    #[test]
    fn each_address_has_a_mirror_of_its_own() {
        let parent = "https://github.com/acme/models.git";
        let mirror = |url| of(parent, url).unwrap().mirror.to_str().unwrap().to_owned();
        assert_eq!(mirror("../sub.git"), "https-github%2ecom/acme%2fsub%2egit.git");
        assert_ne!(mirror("../sub.git"), mirror("../sub%2egit"));
        assert_ne!(mirror("../sub.git"), mirror("git@github.com:acme/sub.git"));
    }

    #[test]
    fn hosts_are_names_with_or_without_a_port() {
        for host in ["github.com", "GitHub.com", "10.0.0.1", "git.example:8443"] {
            assert_eq!(check_host(host), Ok(host.to_lowercase()));
        }
        for wrong in [
            "",
            "*",
            "https://github.com",
            "github.com/",
            "user@host",
            "-x",
            "a b",
            "a:0",
            "a:b",
            "a:+1",
            ".",
        ] {
            assert!(check_host(wrong).is_err(), "{wrong}");
        }
    }
}
