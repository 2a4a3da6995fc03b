//! The admin token: from the configuration, or made at the first start and kept in the state directory.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use subtle::ConstantTimeEq;

use super::error::StartError;
use crate::config::Config;

/// What a caller of the admin API shows. Compared in constant time, and never shown.
#[derive(Clone)]
pub struct Token(Arc<str>);

impl Token {
    /// A token.
    ///
    /// # Errors
    ///
    /// When it is too short to be a secret, or would not fit into a header.
    pub fn new(text: &str) -> Result<Self, InvalidToken> {
        let is_printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.len() < SHORTEST || !is_printable { Err(InvalidToken) } else { Ok(Self(text.into())) }
    }

    /// A token that nobody knows.
    ///
    /// # Errors
    ///
    /// When the system has no randomness.
    pub fn fresh() -> io::Result<Self> {
        Ok(Self(random()?.into()))
    }

    /// The token kept in `state_dir`, made there if there is none yet.
    ///
    /// # Errors
    ///
    /// When the file can be neither read nor made, or holds no token.
    pub fn kept_in(state_dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(state_dir)?;
        let token = Self::fresh()?;
        // Temporary files are their owner's alone, and one that appears under its name is whole.
        let mut file = tempfile::NamedTempFile::new_in(state_dir)?;
        writeln!(file, "{}", token.0)?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(state_dir.join(FILE)) {
            Ok(_) => Ok(token),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Self::found_in(state_dir),
            Err(error) => Err(error.error),
        }
    }

    /// The token that a server left in `state_dir`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or holds no token.
    pub fn found_in(state_dir: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(state_dir.join(FILE))?;
        Self::new(text.trim_end()).map_err(io::Error::other)
    }

    /// Whether `shown` is this token.
    #[must_use]
    pub fn is(&self, shown: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(shown).into()
    }

    /// The value of an `Authorization` header that shows it.
    #[must_use]
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

/// The token of a configuration.
pub(super) fn of(config: &Config) -> Result<Token, StartError> {
    let Some(place) = &config.server.admin_token else {
        let directory = &config.store.state_dir;
        return Token::kept_in(directory)
            .map_err(|source| StartError::StateDir { directory: directory.clone(), source });
    };
    Ok(Token::new(&place.value(&|name| std::env::var(name).ok())?)?)
}

/// Not what it is.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A text that is no admin token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the admin token has to have at least 16 characters, all of them printable ASCII without spaces")]
pub struct InvalidToken;

/// 256 bits of the system's randomness, in hexadecimal digits.
pub(crate) fn random() -> io::Result<String> {
    let mut bytes = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Its name in the state directory.
pub const FILE: &str = "admin-token";
const SHORTEST: usize = 16;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = folder.path().join("state");
        let made = Token::kept_in(&state_dir).unwrap();
        let mode = fs::metadata(state_dir.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for again in [Token::kept_in(&state_dir).unwrap(), Token::found_in(&state_dir).unwrap()] {
            assert_eq!(again.bearer(), made.bearer());
        }
        let other = Token::kept_in(&folder.path().join("other")).unwrap();
        assert_ne!(other.bearer(), made.bearer());
        assert!(!format!("{made:?}").contains(&made.bearer()[7..]));
    }

    #[test]
    fn a_token_is_all_of_itself() {
        let token = Token::new("0123456789abcdef").unwrap();
        assert!(token.is(b"0123456789abcdef"));
        for wrong in ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeF"] {
            assert!(!token.is(wrong.as_bytes()), "{wrong}");
        }
        for invalid in ["short", "with a space 0123456789", "0123456789abcdef\n"] {
            assert!(Token::new(invalid).is_err(), "{invalid}");
        }
    }
}
