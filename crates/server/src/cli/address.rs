//! Addresses and numbers of the command line, as people write them.

use std::str::FromStr;
use std::time::Duration;

use http::Uri;

/// Where a server is: a URL, or the host and port alone.
pub(super) fn address(text: &str) -> Result<Uri, String> {
    let text = text.trim();
    let wrong = || "for example `http://127.0.0.1:8081` or `127.0.0.1:8081`".to_owned();
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    // What follows the host is its port, and a port is a number.
    let after = uri.authority().and_then(|authority| authority.as_str().rsplit_once(uri.host()?));
    let has_port = uri.port_u16().is_some() || after.is_some_and(|(_, after)| after.is_empty());
    if is_web && has_host && has_port { Ok(uri) } else { Err(wrong()) }
}

/// A whole number, from 0.
pub(super) fn count<T: FromStr>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| "a whole number was expected, for example `20`".to_owned())
}

/// How long ago.
pub(super) fn age(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim()).map_err(|_| "for example `30d` or `12h`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_no_scheme() {
        for (text, url) in [
            ("127.0.0.1:8081", "http://127.0.0.1:8081/"),
            ("localhost:8081", "http://localhost:8081/"),
            ("trainer", "http://trainer/"),
            ("[::1]:8081", "http://[::1]:8081/"),
            ("127.0.0.1:8080/webhook", "http://127.0.0.1:8080/webhook"),
            ("http://127.0.0.1:8081", "http://127.0.0.1:8081/"),
            ("https://hooks.example.org/admin/", "https://hooks.example.org/admin/"),
        ] {
            assert_eq!(address(text).unwrap().to_string(), url);
        }
        for wrong in ["", "ftp://host", "http://", "two words", ":8081", "host:port", "http://host:99999"] {
            assert!(address(wrong).unwrap_err().starts_with("for example"), "{wrong}");
        }
    }

    #[test]
    fn a_number_that_is_none_is_told_so_in_words() {
        assert_eq!(count("20"), Ok(20_usize));
        for wrong in ["", "many", "-1", "1.5", "99999999999999999999999"] {
            assert!(count::<u32>(wrong).unwrap_err().starts_with("a whole number"), "{wrong}");
        }
    }
}
