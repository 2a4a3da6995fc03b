use globset::{GlobBuilder, GlobMatcher};

use crate::hub::Hub;

/// A pattern, for absolute paths or for ids of a hub; never for both, whatever its wildcards match.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    /// As it was written.
    pub(crate) text: String,
    pub(crate) place: Place,
    /// Without the hub.
    pub(crate) glob: GlobMatcher,
}

/// Place of the things that a pattern is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The machine that trains.
    Path,
    /// A hub; `None` is the recipe's one.
    Hub(Option<Hub>),
}

impl Pattern {
    pub(crate) fn read(text: &str) -> Result<Self, InvalidPattern> {
        let (place, rest) = match text.split_once(':') {
            _ if text.starts_with('/') => (Place::Path, text),
            Some((prefix, rest)) => match Hub::of_prefix(prefix) {
                Some(hub) => (Place::Hub(Some(hub)), rest),
                None => return Err(InvalidPattern::new(text, ODD.to_owned())),
            },
            None => (Place::Hub(None), text),
        };
        let is_odd = match place {
            Place::Path => rest.split('/').any(|part| part == ".."),
            Place::Hub(_) => {
                rest.is_empty()
                    || rest.starts_with(['.', '~', '/'])
                    || rest.contains(':')
                    || rest.split('/').any(|part| part == "..")
                    || rest.matches('/').count() > 1
            }
        };
        if is_odd {
            return Err(InvalidPattern::new(text, ODD.to_owned()));
        }
        let glob = GlobBuilder::new(rest).literal_separator(true).build();
        let glob = glob.map_err(|error| InvalidPattern::new(text, error.kind().to_string()))?;
        Ok(Self { text: text.to_owned(), place, glob: glob.compile_matcher() })
    }
}

/// Not a pattern for models or data, or none for this key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a pattern for models or data here: `{pattern}`: {why}")]
pub struct InvalidPattern {
    pattern: String,
    why: String,
}

impl InvalidPattern {
    pub(crate) fn new(pattern: &str, why: String) -> Self {
        Self { pattern: pattern.to_owned(), why }
    }
}

const ODD: &str =
    "neither an absolute path nor an id on a hub (`/data/**`, `Qwen/*`, `hf:Qwen/*`, `ms:Qwen/*`)";
