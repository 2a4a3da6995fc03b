use crate::hub::Hub;
use crate::pattern::{InvalidPattern, Pattern, Place};

/// Models, files or data sets that a pushed config may name: patterns for ids on a hub (`hf:Qwen/*`, or `Qwen/*` for the
/// recipe's one hub) and for absolute paths (`/data/**`). `*` stops at `/`, `**` does not; a folder with a slash at its end
/// (`/data/`) is itself and all that is in it.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    patterns: Vec<Pattern>,
}

impl Allowed {
    /// Reads a recipe's `models`: ids of a hub, and paths; without any, nothing is allowed.
    ///
    /// # Errors
    ///
    /// When one is neither for an absolute path nor for an id of a hub.
    pub fn models<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, InvalidPattern> {
        Self::read(patterns, |_| None)
    }

    /// Reads a recipe's `data`: paths of files and folders of the machine that trains.
    ///
    /// # Errors
    ///
    /// If one is not for an absolute path; the error of one for an id of a hub says where it belongs.
    pub fn files<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, InvalidPattern> {
        Self::read(patterns, |pattern| match pattern.place {
            Place::Path => None,
            Place::Hub(_) => Some(format!(
                "a data set of a hub is code, and `data` is for files of this machine: move it to `hub_data = [\"{}\"]`",
                pattern.text
            )),
        })
    }

    /// Reads a recipe's `hub_data`: ids of data sets on a hub, each of which may bring code.
    ///
    /// # Errors
    ///
    /// If one is not for an id; the error of one for a path says where it belongs.
    pub fn data_sets<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, InvalidPattern> {
        Self::read(patterns, |pattern| match pattern.place {
            Place::Hub(_) => None,
            Place::Path => Some(format!(
                "files of this machine are no data sets of a hub: move it to `data = [\"{}\"]`",
                pattern.text
            )),
        })
    }

    fn read<S: AsRef<str>>(
        patterns: impl IntoIterator<Item = S>,
        misplaced: impl Fn(&Pattern) -> Option<String>,
    ) -> Result<Self, InvalidPattern> {
        let read = |text: S| {
            let pattern = Pattern::read(text.as_ref())?;
            match misplaced(&pattern) {
                Some(why) => Err(InvalidPattern::new(text.as_ref(), why)),
                None => Ok(pattern),
            }
        };
        Ok(Self { patterns: patterns.into_iter().map(read).collect::<Result<_, _>>()? })
    }

    /// The patterns.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(|pattern| &*pattern.text)
    }

    /// Returns true if an absolute path may be named.
    #[must_use]
    pub fn has_path(&self, path: &str) -> bool {
        let mut paths = self.patterns.iter().filter(|pattern| pattern.place == Place::Path);
        paths.any(|pattern| pattern.is_match(path))
    }

    /// The same of a path whose name may have the signs that a data set's subsets and rows have.
    pub(crate) fn path_with_signs(&self, path: &str) -> bool {
        let is_plain = |part: &str| !matches!(part, "." | "..");
        is_path(&path.replace([':', '#'], "_"))
            && path.split(['/', ':', '#']).all(is_plain)
            && self.has_path(path)
    }

    /// Returns true if a pattern is for ids of this hub; a bare one is for those of `bare`.
    pub(crate) fn names(&self, hub: Hub, bare: Hub) -> bool {
        self.patterns.iter().any(|pattern| pattern.hub(bare) == Some(hub))
    }

    /// Returns true if exactly this is allowed, and not only as one of many.
    pub(crate) fn has_literally(&self, id: &str, hub: Hub, bare: Hub) -> bool {
        self.patterns.iter().any(|pattern| pattern.hub(bare) == Some(hub) && pattern.glob.glob().glob() == id)
    }

    /// Checks that an absolute path may be named; the error says why not.
    pub(crate) fn path(&self, path: &str) -> Result<(), String> {
        if self.has_path(path) { Ok(()) } else { Err(self.told()) }
    }

    /// Checks that an id on this hub may be named; the error says why not. A bare pattern is for ids of `bare`.
    pub(crate) fn id(&self, id: &str, hub: Hub, bare: Hub) -> Result<(), String> {
        let matches = |of: Hub| {
            let mut patterns = self.patterns.iter().filter(|pattern| pattern.hub(bare) == Some(of));
            patterns.any(|pattern| pattern.glob.is_match(id))
        };
        if matches(hub) {
            return Ok(());
        }
        let told = self.told();
        match Hub::ALL.into_iter().find(|of| matches(*of)) {
            Some(other) => {
                Err(format!("{told}, and so `{id}` of {other}, but it would be taken from {hub} here"))
            }
            None => Err(told),
        }
    }

    /// The patterns, for a person whose value matches none.
    fn told(&self) -> String {
        if self.patterns.is_empty() {
            return "the recipe allows none".to_owned();
        }
        let patterns: Vec<_> = self.patterns().map(|text| format!("`{text}`")).collect();
        format!("the recipe allows {}", patterns.join(", "))
    }
}

impl Pattern {
    /// The hub that it is for; none if it is for paths.
    fn hub(&self, bare: Hub) -> Option<Hub> {
        match self.place {
            Place::Path => None,
            Place::Hub(hub) => Some(hub.unwrap_or(bare)),
        }
    }
}

/// Returns true for an absolute path that means what it says: without `.`, `..`, empty parts and control characters.
pub(crate) fn is_path(value: &str) -> bool {
    let Some(parts) = value.strip_prefix('/') else { return false };
    // A folder may have a slash at its end.
    let parts = parts.strip_suffix('/').unwrap_or(parts);
    let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains([':', '#']);
    value.len() <= LONGEST_PATH && parts.split('/').all(is_plain) && !value.chars().any(char::is_control)
}

/// `owner/name` or `name`, as hubs have them. Never a path: a run under `trust = "data"` begins in an empty directory.
pub(crate) fn is_id(value: &str) -> bool {
    let parts: Vec<_> = value.split('/').collect();
    let is_name = |part: &&str| is_word(part) && part.starts_with(|c: char| c.is_ascii_alphanumeric());
    value.len() <= LONGEST_ID && parts.len() <= 2 && parts.iter().all(is_name)
}

pub(crate) fn is_word(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

pub(crate) const ODD: &str =
    "it is neither an absolute path without `..` nor an id on a hub such as `Qwen/Qwen3-8B`";
/// Linux takes no longer one.
const LONGEST_PATH: usize = 4096;
/// Hugging Face has 96 characters at most.
const LONGEST_ID: usize = 256;
