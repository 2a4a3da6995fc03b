use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Makes a type of 16 bytes that is written as a hyphenated UUID.
macro_rules! uuid_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_uuid(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_uuid(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                read_uuid(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAnId;

            fn try_from(text: String) -> Result<Self, NotAnId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    };
}

uuid_type! {
    /// A job, by a UUIDv7 that the queue makes: ids sort by the time at which they were made.
    JobId
}

uuid_type! {
    /// One receipt of a delivery, by a UUIDv7 of ours. GitHub's GUID is unsigned and shared between hooks, so it
    /// identifies nothing.
    DeliveryId
}

/// A repository, by the name that our configuration gives it (`acme/models`).
///
/// This is the identity in every key. The name in a payload is only looked up; the number in a payload is only
/// checked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RepoName(Arc<str>);

impl RepoName {
    /// A name of the form `owner/name`.
    ///
    /// # Errors
    ///
    /// When it does not have exactly two parts, or a part is empty, `.`, `..`, or holds anything but letters,
    /// digits, `-`, `_` and `.` (what GitHub, Gitea and Forgejo allow).
    pub fn new(name: &str) -> Result<Self, InvalidRepoName> {
        let well_formed = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        match name.split_once('/') {
            Some((owner, rest)) if well_formed(owner) && well_formed(rest) => Ok(Self(name.into())),
            _ => Err(InvalidRepoName(name.to_owned())),
        }
    }

    /// The name, `owner/name`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `other` names the same repository: GitHub compares names without regard to ASCII case.
    #[must_use]
    pub fn is_named(&self, other: &str) -> bool {
        self.0.eq_ignore_ascii_case(other)
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A text that is not an id of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id: `{0}` (expected a UUID such as `019ab0c1-7d3e-7b52-9c1f-3a5e8d2b4f60`)")]
pub struct NotAnId(String);

/// A text that cannot be the name of a repository.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a repository name: `{0}` (expected `owner/name`)")]
pub struct InvalidRepoName(String);

fn write_uuid(bytes: &[u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let n = u128::from_be_bytes(*bytes);
    write!(
        f,
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        n >> 96,
        (n >> 80) & 0xffff,
        (n >> 64) & 0xffff,
        (n >> 48) & 0xffff,
        n & 0xffff_ffff_ffff
    )
}

fn read_uuid(text: &str) -> Result<[u8; 16], NotAnId> {
    let bytes = text.as_bytes();
    let hyphens = [8, 13, 18, 23];
    let shaped = bytes.len() == 36
        && bytes.iter().enumerate().all(|(i, b)| match hyphens.contains(&i) {
            true => *b == b'-',
            false => b.is_ascii_hexdigit(),
        });
    if !shaped {
        return Err(NotAnId(text.to_owned()));
    }
    let number = u128::from_str_radix(&text.replace('-', ""), 16).map_err(|_| NotAnId(text.to_owned()))?;
    Ok(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_as_it_was_written() {
        let id = JobId(*b"0123456789abcdef");
        assert_eq!(id.to_string(), "30313233-3435-3637-3839-616263646566");
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "30313233343536373839616263646566", "30313233-3435-3637-3839-61626364656g"] {
            assert!(wrong.parse::<JobId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_repository_has_an_owner_and_a_name() {
        assert!(RepoName::new("acme/models.v2").is_ok());
        for wrong in ["", "acme", "acme/", "/models", "a/b/c", "acme/..", "acme/mo dels", "acme/$(id)"] {
            assert!(RepoName::new(wrong).is_err(), "{wrong}");
        }
    }
}
