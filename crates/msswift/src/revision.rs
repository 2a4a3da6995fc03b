use globset::{GlobBuilder, GlobMatcher};

use crate::allowed::is_word;
use crate::pattern::InvalidPattern;

/// Branches and tags of models on a hub that a pushed config may name.
///
/// A commit is never among them: Hugging Face gives the commits of a pull request to whoever names their hash, so that
/// a hash of `Qwen/Qwen3-8B` may hold anybody's code.
#[derive(Clone, Debug, Default)]
pub struct Revisions {
    patterns: Vec<GlobMatcher>,
}

impl Revisions {
    /// Reads patterns for names; without any, no revision may be named.
    ///
    /// # Errors
    ///
    /// If one is for something else than names of branches and tags, of which each is one word.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, InvalidPattern> {
        let read = |text: S| {
            let text = text.as_ref();
            if text.is_empty() || text.contains(['/', ':']) {
                return Err(InvalidPattern::new(
                    text,
                    "names of branches and tags are one word (`v*`)".to_owned(),
                ));
            }
            if let Some(why) = may_be_a_commit(text) {
                return Err(InvalidPattern::new(text, why.to_owned()));
            }
            let glob = GlobBuilder::new(text).literal_separator(true).build();
            let glob = glob.map_err(|error| InvalidPattern::new(text, error.kind().to_string()))?;
            Ok(glob.compile_matcher())
        };
        Ok(Self { patterns: patterns.into_iter().map(read).collect::<Result<_, _>>()? })
    }

    /// The patterns.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(|pattern| pattern.glob().glob())
    }

    /// Checks that a revision may be named; the error says why not.
    pub(crate) fn check(&self, revision: &str) -> Result<(), String> {
        if let Some(why) = may_be_a_commit(revision) {
            return Err(why.to_owned());
        }
        if revision.starts_with("refs/") {
            return Err(
                "under `refs/` stand the pull requests of anybody: a branch or tag is named alone".to_owned()
            );
        }
        if !is_word(revision) || revision.len() > LONGEST || revision.starts_with(['-', '.']) {
            return Err("it is no plain name of a branch or tag".to_owned());
        }
        if self.patterns.iter().any(|pattern| pattern.is_match(revision)) {
            return Ok(());
        }
        if self.patterns.is_empty() {
            return Err(
                "the recipe's `revisions` allow none; leave the key out for the hub's own branch".to_owned()
            );
        }
        let patterns: Vec<_> = self.patterns().map(|text| format!("`{text}`")).collect();
        Err(format!("the recipe's `revisions` allow {}", patterns.join(", ")))
    }
}

/// Git takes `v1-0-gabcdef` for the commit `abcdef`, as `git describe` writes it.
fn may_be_a_commit(revision: &str) -> Option<&'static str> {
    let is_hash = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_described = || revision.rsplit_once("-g").is_some_and(|(_, hash)| is_hash(hash));
    (is_hash(revision) || is_described())
        .then_some("it may be a commit, and one on a hub may be anybody's: name a branch or tag")
}

const LONGEST: usize = 128;
