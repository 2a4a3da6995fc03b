use globset::{GlobBuilder, GlobMatcher};

/// One glob, in globset's dialect with `*` stopping at `/`.
///
/// Nearly all patterns that people write are a beginning and an end with one gap between them. Those are compared
/// as they are, which takes a nanosecond or two where globset takes 25 to 70, and a large push has hundreds of
/// thousands of paths. Everything else is left to globset, and a property test holds the two to the same answers.
#[derive(Clone, Debug)]
pub(crate) struct Glob(Shape);

#[derive(Clone, Debug)]
enum Shape {
    /// No gap: `configs/train.yaml`.
    Exact(Box<[u8]>),
    /// A gap between a beginning and an end, which do not overlap.
    Gap { head: Box<[u8]>, gap: Gap, tail: Box<[u8]> },
    /// All that has braces, classes, escapes, `?` or several gaps.
    Other(Box<GlobMatcher>),
}

/// What the gap may be.
#[derive(Clone, Copy, Debug)]
enum Gap {
    /// `*`: anything without a `/`.
    Name,
    /// `**/`: nothing, or anything that ends with `/`.
    Directories,
    /// `/**` and `**/*`: anything.
    Anything,
}

impl Glob {
    pub(crate) fn parse(pattern: &str) -> Result<Self, globset::Error> {
        let whole = GlobBuilder::new(pattern).literal_separator(true).build()?;
        Ok(Self(Shape::of(pattern).unwrap_or_else(|| Shape::Other(Box::new(whole.compile_matcher())))))
    }

    pub(crate) fn is_match(&self, name: &[u8]) -> bool {
        match &self.0 {
            Shape::Exact(text) => *name == **text,
            Shape::Gap { head, gap, tail } => gap.fits_between(head, tail, name),
            Shape::Other(glob) => glob.is_match_candidate(&globset::Candidate::from_bytes(name)),
        }
    }
}

impl Shape {
    /// The shape of a pattern that has at most one gap and is otherwise literal.
    fn of(pattern: &str) -> Option<Self> {
        if pattern.contains(['{', '}', '[', ']', '?', '\\']) {
            return None;
        }
        let (head, gap, tail) = match pattern.split_once('*') {
            None => return Some(Self::Exact(pattern.as_bytes().into())),
            Some((head, rest)) => match rest.strip_prefix('*') {
                None => (head, Gap::Name, rest),
                // Elsewhere than at a `/`, two stars are two single ones.
                Some(_) if !head.is_empty() && !head.ends_with('/') => return None,
                Some("") => (head, Gap::Anything, ""),
                Some(rest) => match rest.strip_prefix('/')? {
                    rest if rest.starts_with('*') => (head, Gap::Anything, &rest[1..]),
                    // To globset this is as good as `**`.
                    "" => return None,
                    rest => (head, Gap::Directories, rest),
                },
            },
        };
        // The star of `**/*` cannot pass a `/` that comes later.
        let has_more = tail.contains('*') || (matches!(gap, Gap::Anything) && tail.contains('/'));
        (!has_more).then(|| Self::Gap { head: head.as_bytes().into(), gap, tail: tail.as_bytes().into() })
    }
}

impl Gap {
    fn fits_between(self, head: &[u8], tail: &[u8], name: &[u8]) -> bool {
        let is_long_enough = name.len() >= head.len() + tail.len();
        if !is_long_enough || !begins_with(name, head) || !ends_with(name, tail) {
            return false;
        }
        let gap = &name[head.len()..name.len() - tail.len()];
        match self {
            Self::Anything => true,
            Self::Name => !gap.contains(&b'/'),
            Self::Directories => gap.last().is_none_or(|last| *last == b'/'),
        }
    }
}

/// Looks at one byte before it calls on `memcmp`: that settles most comparisons. It also keeps an empty `text` away
/// from it, which was seen to cost 45 ns there (glibc on a processor with AVX-512) where any other costs two.
#[inline]
fn begins_with(name: &[u8], text: &[u8]) -> bool {
    text.first().is_none_or(|first| name.first() == Some(first) && name.starts_with(text))
}

#[inline]
fn ends_with(name: &[u8], text: &[u8]) -> bool {
    text.last().is_none_or(|last| name.last() == Some(last) && name.ends_with(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, prop, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    fn globset_says(pattern: &str, name: &[u8]) -> bool {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build().unwrap();
        glob.compile_matcher().is_match_candidate(&globset::Candidate::from_bytes(name))
    }

    /// Texts that are put together from few parts, so that they often match.
    fn text(parts: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(parts), 0..most).prop_map(|parts| parts.concat())
    }

    fn pattern() -> impl Strategy<Value = String> {
        let likely = (text(&["a", "b", "/", "."], 4), text(&["*", "**", "**/", "/**", "**/*", "/**/"], 2));
        let likely = (likely, text(&["a", "b", "/", ".", "*"], 4));
        prop_oneof![
            likely.prop_map(|((head, gap), tail)| head + &gap + &tail),
            text(&["a", "b", "/", "*", "**", "?", "{a,b}", "[ab]", "\\*", "ü"], 7),
        ]
    }

    proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(1_024))]

        #[test]
        fn every_pattern_matches_what_globset_says(
            pattern in pattern(),
            names in prop::collection::vec(text(&["a", "b", "/", ".", "ü", "*", "\n"], 7), 1..8),
        ) {
            let glob = Glob::parse(&pattern).unwrap();
            for name in names {
                let (ours, theirs) = (glob.is_match(name.as_bytes()), globset_says(&pattern, name.as_bytes()));
                prop_assert_eq!(ours, theirs, "`{}` on {:?}: {:?}", pattern, name, glob);
            }
        }
    }

    #[test]
    fn the_usual_patterns_need_no_regular_expression() {
        for pattern in [
            "main",
            "release/*",
            "release/**",
            "configs/sft_*.yaml",
            "configs/*/train.yaml",
            "**/*.md",
            "**",
            "**/*",
            "**/train.yaml",
            "src/**/*.py",
            "src/**/train.yaml",
            "v*",
        ] {
            let glob = Glob::parse(pattern).unwrap();
            assert!(!matches!(glob.0, Shape::Other(_)), "{pattern}: {glob:?}");
        }
        for pattern in ["a?", "{a,b}", "[ab]", "a\\*", "*a*", "a**", "**/a_*.yaml", "a/**/b/**"] {
            let glob = Glob::parse(pattern).unwrap();
            assert!(matches!(glob.0, Shape::Other(_)), "{pattern}: {glob:?}");
        }
    }
}
