//! Values that stand outside the configuration: `env:NAME` and `file:PATH`.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use swifthook_core::text::is_printable;

use super::reader::Wrong;

/// Where a secret value stands. What it holds is read when it is needed, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Outside {
    /// A variable of the server's environment.
    Variable(String),
    /// A file; one newline at its end is not part of the value.
    File(PathBuf),
}

impl Outside {
    /// Reads a reference; files are relative to `folder`.
    pub(crate) fn parse(text: &str, folder: &Path) -> Option<Self> {
        match (text.strip_prefix("env:"), text.strip_prefix("file:")) {
            (Some(name), _) => Some(Self::Variable(name.to_owned())),
            (_, Some(path)) => Some(Self::File(folder.join(path))),
            _ => None,
        }
    }

    /// The value.
    ///
    /// # Errors
    ///
    /// When the variable is not set, or the file cannot be read or is not UTF-8.
    pub fn value(&self, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, Missing> {
        let missing = |why: String| Missing { place: self.to_string(), why };
        match self {
            Self::Variable(name) => variable(name).ok_or_else(|| missing("it is not set".to_owned())),
            Self::File(path) => {
                let text = read_at_most(path, MOST_BYTES).map_err(|error| missing(error.to_string()))?;
                let text = text.strip_suffix('\n').unwrap_or(&text);
                Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
            }
        }
    }
}

/// The text of a file, unless it is longer than it can be meant to be.
pub(super) fn read_at_most(file: &Path, most: u64) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(file)?.take(most + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most {
        let why = format!("it has more than {} MiB, of which nothing is read", most >> 20);
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(text)
}

/// Longer than any variable of an environment may be.
const MOST_BYTES: u64 = 1 << 20;

/// The reference, never the value.
impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A value outside the configuration is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{place}` cannot be read: {why}")]
pub struct Missing {
    place: String,
    why: String,
}

/// What of a secret is hardly part of it, in words; nothing where nothing is strange. An editor, a shell or a file of
/// variables has put it there, nobody sees it, and whoever signs with the secret does so without it.
pub(super) fn stowaway(value: &str) -> Option<&'static str> {
    let is_quote = |letter: char| "\"'`\u{201c}\u{201d}\u{2018}\u{2019}".contains(letter);
    let (first, last) = (value.chars().next()?, value.chars().next_back()?);
    Some(match (first, last) {
        ('\u{feff}', _) => "begins with a byte order mark",
        (_, '\r') => "ends with a carriage return, as lines of Windows do",
        (_, '\n') => "ends with an empty line",
        (first, _) if first.is_whitespace() => "begins with white space",
        (_, last) if last.is_whitespace() => "ends with white space",
        (first, last) if is_quote(first) && is_quote(last) => "stands in quotes",
        _ if value.contains(['\n', '\r']) => "has several lines",
        _ if !value.chars().all(is_printable) => "has a character in it that nobody sees",
        _ => return None,
    })
}

/// The warning of that, for what is called so.
pub(super) fn warning(place: &Outside, value: &str, consequence: &str) -> Option<Wrong> {
    let what = stowaway(value)?;
    let wrong =
        Wrong::new(format!("what `{place}` holds {what}, and that counts as part of it: {consequence}"));
    Some(wrong.instead(match place {
        Outside::Variable(_) => "set the variable without it",
        Outside::File(_) => {
            "write the file without it, for example with `printf %s`; one newline at its end is none of it"
        }
    }))
}

/// A secret's reference. The text itself is refused, and not quoted: it may be the secret.
pub(super) fn reference(text: &str, folder: &Path) -> Result<Outside, Wrong> {
    Outside::parse(text, folder).ok_or_else(|| {
        Wrong::new("a secret does not stand in the configuration itself: configurations are shared and kept")
            .instead("write `env:NAME` or `file:PATH`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_of_a_secret_is_found() {
        for (value, found) in [
            ("3d9f31\r", "carriage return"),
            ("3d9f31\n", "empty line"),
            ("\u{feff}3d9f31", "byte order mark"),
            (" 3d9f31", "begins with white space"),
            ("3d9f31\t", "ends with white space"),
            ("3d9f31\u{a0}", "ends with white space"),
            ("\"3d9f31\"", "quotes"),
            ("'3d9f31'", "quotes"),
            ("\u{201c}3d9f31\u{201d}", "quotes"),
            ("3d9f\n31", "several lines"),
            ("3d9f\u{200b}31", "nobody sees"),
        ] {
            let told = stowaway(value).unwrap_or_else(|| panic!("{value:?}"));
            assert!(told.contains(found), "{value:?}: {told}");
        }
        for value in ["3d9f31", "correct horse battery staple", "a\"b'c", "\"", "it's", "ключ-от-двери", ""]
        {
            // One quote alone is both the first and the last letter.
            assert_eq!(stowaway(value).filter(|_| value.len() > 1), None, "{value:?}");
        }
    }
}
