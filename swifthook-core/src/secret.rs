use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::signature::{self, Mac};

/// A webhook secret, with a label by which logs can name it.
///
/// What is kept is the keyed state of the hash, which is zeroed when the last copy is dropped. There is no way
/// back to the text.
#[derive(Clone)]
pub struct Secret {
    label: Arc<str>,
    mac: Arc<Mac>,
}

/// One to four secrets, each of which is good: while one is being replaced, the old and the new are valid.
///
/// # Examples
///
/// ```
/// use swifthook_core::{Secret, SecretSet};
///
/// let rotating = SecretSet::new(vec![
///     Secret::new("2026-11", "correct horse battery staple")?,
///     Secret::new("2026-05", "the one that is going away")?,
/// ])?;
/// assert_eq!(rotating.labels().collect::<Vec<_>>(), ["2026-11", "2026-05"]);
/// # Ok::<(), swifthook_core::InvalidSecret>(())
/// ```
#[derive(Clone, Debug)]
pub struct SecretSet(Arc<[Secret]>);

/// A secret, or a set of them, that cannot be used. It never quotes the secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSecret {
    /// It can be guessed.
    #[error("secret `{label}` has {length} bytes (expected at least {MIN_BYTES})")]
    TooShort {
        /// Its label.
        label: String,
        /// How many bytes it has.
        length: usize,
    },
    /// None, or too many of them.
    #[error("{0} secrets (expected 1 to {MAX_SECRETS})")]
    Count(usize),
    /// Two secrets have one label, so that a log could not tell them apart.
    #[error("two secrets are labelled `{0}`")]
    SameLabel(String),
}

impl Secret {
    /// A secret of at least 16 bytes. The bytes are zeroed when the key has been made from them.
    ///
    /// # Errors
    ///
    /// When it is shorter.
    pub fn new(label: &str, bytes: impl Into<Vec<u8>>) -> Result<Self, InvalidSecret> {
        let bytes = Zeroizing::new(bytes.into());
        if bytes.len() < MIN_BYTES {
            return Err(InvalidSecret::TooShort { label: label.to_owned(), length: bytes.len() });
        }
        Ok(Self { label: label.into(), mac: Arc::new(signature::keyed(&bytes)) })
    }

    /// The label.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The `X-Hub-Signature-256` header that GitHub sends with `body`, for programs that send deliveries
    /// themselves.
    #[must_use]
    pub fn sign(&self, body: &[u8]) -> String {
        signature::header(self.mac(), body)
    }

    pub(crate) fn mac(&self) -> Mac {
        (*self.mac).clone()
    }
}

impl SecretSet {
    /// One to four secrets with different labels.
    ///
    /// # Errors
    ///
    /// When there are none, more than four, or two with one label.
    pub fn new(secrets: Vec<Secret>) -> Result<Self, InvalidSecret> {
        if !(1..=MAX_SECRETS).contains(&secrets.len()) {
            return Err(InvalidSecret::Count(secrets.len()));
        }
        for (i, secret) in secrets.iter().enumerate() {
            if secrets[..i].iter().any(|earlier| earlier.label == secret.label) {
                return Err(InvalidSecret::SameLabel(secret.label.to_string()));
            }
        }
        Ok(Self(secrets.into()))
    }

    /// A single secret, labelled `secret`.
    ///
    /// # Errors
    ///
    /// When it has fewer than 16 bytes.
    pub fn one(text: impl Into<Vec<u8>>) -> Result<Self, InvalidSecret> {
        Self::new(vec![Secret::new("secret", text)?])
    }

    /// The labels, in order.
    pub fn labels(&self) -> impl Iterator<Item = &str> + '_ {
        self.0.iter().map(Secret::label)
    }

    pub(crate) fn secrets(&self) -> &[Secret] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("label", &self.label).finish_non_exhaustive()
    }
}

const MIN_BYTES: usize = 16;
const MAX_SECRETS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_secrets_and_odd_sets_are_refused() {
        for short in ["", "development", "fifteen bytes .."] {
            let length = short.len();
            let refused = SecretSet::one(short);
            assert_eq!(refused.is_err(), length < 16, "{short}");
        }
        let secret = |label: &str| Secret::new(label, "sixteen bytes ..").unwrap();
        assert_eq!(SecretSet::new(vec![]).unwrap_err(), InvalidSecret::Count(0));
        let five = (0..5).map(|i| secret(&i.to_string())).collect();
        assert_eq!(SecretSet::new(five).unwrap_err(), InvalidSecret::Count(5));
        let twins = SecretSet::new(vec![secret("a"), secret("a")]);
        assert_eq!(twins.unwrap_err(), InvalidSecret::SameLabel("a".into()));
    }

    #[test]
    fn no_text_of_a_secret_shows_it() {
        let set = SecretSet::one("correct horse battery staple").unwrap();
        let short = SecretSet::one("shorthorse").unwrap_err();
        for shown in [format!("{set:?}"), format!("{set:#?}"), format!("{short:?}"), format!("{short}")] {
            assert!(!shown.contains("horse") && shown.contains("secret"), "{shown}");
        }
    }

    #[test]
    fn a_signature_is_written_as_github_writes_it() {
        let secret = Secret::new("documented", "It's a Secret to Everybody").unwrap();
        assert_eq!(
            secret.sign(b"Hello, World!"),
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
    }
}
