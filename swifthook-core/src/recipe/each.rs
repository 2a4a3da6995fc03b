use crate::condition::{InvalidPattern, PathFilter};
use crate::push::{Change, ChangeSet, Gap};

/// One job per changed file, instead of one per push.
#[derive(Clone, Debug)]
pub struct Each {
    /// The files that get a job.
    pub files: PathFilter,
    /// What they must match besides: the same list as the policy's [`paths`](crate::condition::paths).
    pub paths: Option<PathFilter>,
}

impl Each {
    /// One job per changed file that matches the patterns.
    ///
    /// # Errors
    ///
    /// When a pattern is no glob, or all of them begin with `!`.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, InvalidPattern> {
        PathFilter::new(patterns).map(|files| Self { files, paths: None })
    }

    /// The files that get a job: every path once that matches and still exists after the push, in the order in
    /// which the push lists them last.
    ///
    /// # Errors
    ///
    /// The gap, where the list may be short or contradicts itself about such a file: then nobody knows yet which files
    /// there are.
    pub fn matching<'a>(&self, changes: &'a ChangeSet) -> Result<Vec<&'a str>, Gap> {
        let ChangeSet::Complete(paths) = changes else {
            return Err(changes.gap().unwrap_or(Gap::NotListed));
        };
        let mut files = Vec::new();
        for (position, said) in paths.together(|path| self.matches(path)) {
            match said {
                Some(Change::Present) => files.push(paths.path_at(position)),
                Some(Change::Removed) => {}
                None => return Err(Gap::Contradictory),
            }
        }
        Ok(files)
    }

    /// Tells whether a file of this path would get a job.
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        self.files.matches_raw(path) && self.paths.as_ref().is_none_or(|paths| paths.matches_raw(path))
    }
}
