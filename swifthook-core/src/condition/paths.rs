use globset::{GlobBuilder, GlobMatcher};

/// An ordered list of globs over paths; the last one that matches a path decides, and a leading `!` takes back.
///
/// The dialect inside a pattern is globset's (`{a,b}`, `[!x]`, `?` is one character), where GitHub's filters have
/// `?` and `+` as quantifiers. As there, paths are matched from the root (`*.py` does not match `a/b.py`), `*`
/// stops at `/` and `**` does not.
#[derive(Clone, Debug)]
pub struct PathFilter {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    takes_back: bool,
    glob: GlobMatcher,
}

/// A pattern is no glob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a pattern: `{pattern}`: {why}")]
pub struct InvalidPattern {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub why: String,
}

impl PathFilter {
    /// A filter from its patterns, in order.
    ///
    /// # Errors
    ///
    /// When one of them is no glob.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, InvalidPattern> {
        let rules = patterns.into_iter().map(|pattern| Rule::parse(pattern.as_ref()));
        Ok(Self { rules: rules.collect::<Result<_, _>>()? })
    }

    /// Whether the last pattern that matches `path` does not take it back.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let last = self.rules.iter().rev().find(|rule| rule.glob.is_match(path));
        last.is_some_and(|rule| !rule.takes_back)
    }
}

impl Rule {
    fn parse(pattern: &str) -> Result<Self, InvalidPattern> {
        let invalid = |why: String| InvalidPattern { pattern: pattern.to_owned(), why };
        let (takes_back, text) = match pattern.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, pattern),
        };
        if text.is_empty() {
            return Err(invalid("it is empty".to_owned()));
        }
        let glob = GlobBuilder::new(text).literal_separator(true).build();
        let glob = glob.map_err(|error| invalid(error.kind().to_string()))?;
        Ok(Self { takes_back, glob: glob.compile_matcher() })
    }
}
