//! Servers that send us elsewhere. Nobody follows: whoever is asked next would be shown what lets us in.

use swifthook_core::WorkspaceError;
use swifthook_core::text::{address_without_user_info, printable};

use super::config::Remote;
use super::failure::{Failure, NoAccess};
use super::mirror::Mirror;

impl Mirror {
    /// The error of a call that reached the remote. Of a server that sends us elsewhere it says where to, and what to
    /// write.
    pub(super) async fn refused(&self, failure: Failure) -> WorkspaceError {
        if !failure.is_redirect() {
            return failure.into();
        }
        let place = self.location().await.map(|location| repository_at(&self.remote, &location));
        WorkspaceError::passing(self.moved(place)).because(NoAccess::Moved)
    }

    /// Asks once more, and has git tell the headers that come back; those that it sends it shows without credentials.
    async fn location(&self) -> Option<String> {
        let git = self.remote_git("ask where it has moved").ok()?.telling_headers();
        let asked = git.args(["ls-remote", "--quiet", "--end-of-options", "origin", "HEAD"]).output().await;
        asked.err()?.location()
    }

    fn moved(&self, place: Option<Place>) -> String {
        let (name, key) = match self.is_submodule {
            true => (format!("a submodule of `{}`", self.remote.name), "its `url` in .gitmodules".to_owned()),
            false => (format!("`{}`", self.remote.name), "`clone_url`".to_owned()),
        };
        let from = address_without_user_info(&self.remote.url);
        match place {
            Some(Place::Here(url)) => {
                format!("the repository has moved to `{url}`: change {key} of {name} (it is `{from}`)")
            }
            Some(Place::Elsewhere(url)) => format!(
                "the repository has moved to `{url}`, which is another server, and nothing was sent there: change {key} \
                 of {name} (it is `{from}`) if you trust it"
            ),
            None => format!(
                "the repository has moved, and its server does not say where to: change {key} of {name}"
            ),
        }
    }
}

/// A repository to which a server sends us.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// On the same server.
    Here(String),
    Elsewhere(String),
}

/// Meaning of a `Location` in the answer to a question of git means: the repository, and not the file in it.
fn repository_at(remote: &Remote, location: &str) -> Place {
    let origin = origin(&remote.url);
    let whole = match location.strip_prefix("//") {
        Some(rest) => format!("https://{rest}"),
        None if location.starts_with('/') => format!("{origin}{location}"),
        None => location.to_owned(),
    };
    let url = whole.split(['?', '#']).next().unwrap_or_default();
    let url = ["/info/refs", "/git-upload-pack"].iter().fold(url, |url, end| url.trim_end_matches(end));
    let is_here =
        Remote::new(remote.name.clone(), url).is_ok() && origin.eq_ignore_ascii_case(self::origin(url));
    let shown: String = address_without_user_info(url).chars().take(LONGEST).collect();
    let shown = printable(&shown).into_owned();
    if is_here { Place::Here(shown) } else { Place::Elsewhere(shown) }
}

/// Scheme, host and port.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find('/').map_or(url.len(), |at| host + at);
    &url[..end]
}

const LONGEST: usize = 300;

#[cfg(test)]
mod tests {
    use swifthook_core::RepoName;

    use super::*;

    #[test]
    fn a_place_is_a_repository_without_what_lets_somebody_in() {
        let name = RepoName::new("acme/models").unwrap();
        let remote = Remote::new(name, "https://git.example/acme/models.git").unwrap();
        let here = |url: &str| Place::Here(url.to_owned());
        let elsewhere = |url: &str| Place::Elsewhere(url.to_owned());
        let asked = "/info/refs?service=git-upload-pack";
        for (location, place) in [
            ("https://git.example/new/models.git", here("https://git.example/new/models.git")),
            ("/new/models", here("https://git.example/new/models")),
            ("//evil.example/x", elsewhere("https://evil.example/x")),
            ("https://evil.example/acme/models.git", elsewhere("https://evil.example/acme/models.git")),
            ("https://git.example.evil.example/a", elsewhere("https://git.example.evil.example/a")),
            ("https://git.example:8443/a", elsewhere("https://git.example:8443/a")),
            ("http://git.example/a", elsewhere("http://git.example/a")),
            ("https://x:secret@git.example/a", elsewhere("https://…@git.example/a")),
            ("https://evil.example/\u{202e}a", elsewhere("https://evil.example/\\u{202e}a")),
        ] {
            assert_eq!(repository_at(&remote, &format!("{location}{asked}")), place);
        }
    }
}
