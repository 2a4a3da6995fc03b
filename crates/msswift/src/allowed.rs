use globset::{GlobBuilder, GlobMatcher};

/// What a pushed config may name: patterns for ids on a hub (`Qwen/*`) and for absolute paths (`/data/**`). `*` stops at
/// `/`, `**` does not.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    patterns: Vec<GlobMatcher>,
}

impl Allowed {
    /// Reads patterns; without any, nothing is allowed.
    ///
    /// # Errors
    ///
    /// When one is neither for an absolute path nor for an id of a hub.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, InvalidPattern> {
        let patterns =
            patterns.into_iter().map(|pattern| glob(pattern.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { patterns })
    }

    /// The patterns.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(|pattern| pattern.glob().glob())
    }

    /// Whether a model or adapter may be named, or why not.
    pub(crate) fn model(&self, value: &str) -> Result<(), String> {
        self.id_or_path(value)
    }

    /// Whether a data set may be named, or why not: `hf::id:subset#count`, of which only the id has to be there.
    pub(crate) fn data(&self, value: &str) -> Result<(), String> {
        self.id_or_path(data_of(value).ok_or_else(|| ODD.to_owned())?)
    }

    fn id_or_path(&self, value: &str) -> Result<(), String> {
        if !is_path(value) && !is_id(value) {
            return Err(ODD.to_owned());
        }
        if self.patterns.is_empty() {
            return Err("the recipe allows none".to_owned());
        }
        if self.patterns.iter().any(|pattern| pattern.is_match(value)) {
            return Ok(());
        }
        let patterns: Vec<_> = self.patterns.iter().map(|one| format!("`{}`", one.glob().glob())).collect();
        Err(format!("the recipe allows {}", patterns.join(", ")))
    }
}

/// The id or path of a data set, without the hub, the subsets and the number of rows that may stand around it.
///
/// See `DatasetSyntax` in ms-swift, which takes the whole for a path first if there is such a file.
pub(crate) fn data_of(value: &str) -> Option<&str> {
    let value =
        ["hf::", "HF::", "ms::", "MS::"].iter().find_map(|hub| value.strip_prefix(hub)).unwrap_or(value);
    let value = match value.rsplit_once('#') {
        Some((value, count)) if !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit()) => value,
        Some(_) => return None,
        None => value,
    };
    match value.split_once(':') {
        Some((value, subsets)) => {
            let is_plain = |part: &str| is_word(part) && part != "." && part != "..";
            subsets.split('/').all(is_plain).then_some(value)
        }
        None => Some(value),
    }
}

/// An absolute path that means what it says: without `.`, `..`, empty parts and control characters.
fn is_path(value: &str) -> bool {
    let Some(parts) = value.strip_prefix('/') else { return false };
    let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains([':', '#']);
    parts.split('/').all(is_plain) && !value.chars().any(char::is_control)
}

/// `owner/name` or `name`, as hubs have them. Never a path: a run under `trust = "data"` begins in an empty directory.
fn is_id(value: &str) -> bool {
    let parts: Vec<_> = value.split('/').collect();
    let is_name = |part: &&str| is_word(part) && part.starts_with(|c: char| c.is_ascii_alphanumeric());
    parts.len() <= 2 && parts.iter().all(is_name)
}

fn is_word(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn glob(pattern: &str) -> Result<GlobMatcher, InvalidPattern> {
    let invalid = |why: &str| InvalidPattern { pattern: pattern.to_owned(), why: why.to_owned() };
    let is_relative = pattern.starts_with(['.', '~']) || pattern.split('/').any(|part| part == "..");
    if pattern.is_empty() || is_relative || (!pattern.starts_with('/') && pattern.matches('/').count() > 1) {
        return Err(invalid("neither an absolute path nor an id on a hub (`Qwen/*`, `/data/**`)"));
    }
    let glob = GlobBuilder::new(pattern).literal_separator(true).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|error| invalid(&error.kind().to_string()))
}

const ODD: &str = "it is neither an absolute path without `..` nor an id on a hub such as `Qwen/Qwen3-8B`";

/// Not a pattern for models or data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a pattern for models or data: `{pattern}`: {why}")]
pub struct InvalidPattern {
    pattern: String,
    why: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_roots_are_matched_as_a_whole() {
        let allowed = Allowed::new(["Qwen/*", "/models/**", "/data/*.jsonl"]).unwrap();
        for good in ["Qwen/Qwen3-8B", "/models/a/b", "/data/x.jsonl"] {
            assert_eq!(allowed.model(good), Ok(()), "{good}");
        }
        for bad in [
            "evil/Qwen3",
            "Qwen",
            "Qwen/../evil",
            "Qwen/a/b",
            "./Qwen/x",
            "~/x",
            "/models/../etc/x",
            "/models//x",
            "/models/./x",
            "/data/a/x.jsonl",
            "/models/x\n",
            "../models/x",
            "",
            "/",
            "-x",
            "Qwen/-x",
            "Qwen/x:y",
            "https://example.com/x",
            "file:///models/x",
            "hf::Qwen/x",
        ] {
            assert!(allowed.model(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn data_sets_may_have_a_hub_subsets_and_a_count() {
        let allowed = Allowed::new(["acme/*", "/data/**"]).unwrap();
        for good in ["acme/x", "hf::acme/x:default/en#500", "MS::acme/x", "/data/a.jsonl#10", "/data/d:sub"] {
            assert_eq!(allowed.data(good), Ok(()), "{good}");
        }
        for bad in [
            "evil/x",
            "x::acme/x",
            "acme/x#",
            "acme/x#1x",
            "/data/a:../../etc",
            "/data/a:..",
            "/data/a#b#1",
            "/data/../x",
            "acme/x: y",
            "data.jsonl",
            "hf::/etc/x",
        ] {
            assert!(allowed.data(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn without_patterns_nothing_is_allowed() {
        assert!(Allowed::default().model("Qwen/x").unwrap_err().contains("allows none"));
        for odd in ["", "../x", "./x", "~/x", "a/b/c", "/data/../x", "[", "a/../b"] {
            assert!(Allowed::new([odd]).is_err(), "{odd}");
        }
    }
}
