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
    /// What lies in a folder that is written with a slash at its end.
    below: Option<GlobMatcher>,
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
        let matcher = |glob: &str| {
            let glob = GlobBuilder::new(glob).literal_separator(true).build();
            let glob = glob.map_err(|error| InvalidPattern::new(text, error.kind().to_string()))?;
            Ok(glob.compile_matcher())
        };
        let folder = rest.trim_end_matches('/');
        let (glob, below) = match place {
            Place::Path if folder != rest && !folder.is_empty() => {
                (matcher(folder)?, Some(matcher(&format!("{folder}/**"))?))
            }
            _ => (matcher(rest)?, None),
        };
        Ok(Self { text: text.to_owned(), place, glob, below })
    }

    /// Returns true if it is for this, which may be written as a folder is.
    pub(crate) fn is_match(&self, name: &str) -> bool {
        let name = name.strip_suffix('/').unwrap_or(name);
        self.glob.is_match(name) || self.below.as_ref().is_some_and(|below| below.is_match(name))
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
