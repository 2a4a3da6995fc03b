use std::fmt;

use super::glob::Glob;

/// An ordered list of globs; the last one that matches decides, and a leading `!` takes back.
#[derive(Clone, Debug)]
pub(super) struct Globs {
    patterns: Vec<Pattern>,
    /// As they were written, for people.
    text: String,
}

#[derive(Clone, Debug)]
struct Pattern {
    takes_back: bool,
    glob: Glob,
}

/// A pattern is no glob, or a list of them cannot match.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a pattern: `{pattern}`: {why}")]
pub struct InvalidPattern {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub why: String,
}

impl Globs {
    pub(super) fn parse<S: AsRef<str>>(
        patterns: impl IntoIterator<Item = S>,
    ) -> Result<Self, InvalidPattern> {
        let texts: Vec<S> = patterns.into_iter().collect();
        let text = texts.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
        let patterns = texts.iter().map(|text| Pattern::parse(text.as_ref()));
        let patterns = patterns.collect::<Result<Vec<_>, _>>()?;
        if !patterns.is_empty() && patterns.iter().all(|pattern| pattern.takes_back) {
            let why = "a list that only takes back matches nothing; put `**` before it".to_owned();
            return Err(InvalidPattern { pattern: text, why });
        }
        Ok(Self { patterns, text })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether the last pattern that matches does not take back.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        let last = self.patterns.iter().rev().find(|pattern| pattern.glob.is_match(name));
        last.is_some_and(|pattern| !pattern.takes_back)
    }
}

impl fmt::Display for Globs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern {
    fn parse(pattern: &str) -> Result<Self, InvalidPattern> {
        let invalid = |why: String| InvalidPattern { pattern: pattern.to_owned(), why };
        let (takes_back, text) = match pattern.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, pattern),
        };
        if text.is_empty() {
            return Err(invalid("it is empty".to_owned()));
        }
        let glob = Glob::parse(text).map_err(|error| invalid(error.kind().to_string()))?;
        Ok(Self { takes_back, glob })
    }
}
