use super::globs::Globs;
use super::{Condition, InvalidPattern, Rule, Truth};
use crate::git::RefName;
use crate::policy::Reason;
use crate::push::Push;

/// Holds where a branch is pushed whose name matches [the patterns](super#patterns). A tag never satisfies it.
///
/// # Errors
///
/// When the list is empty, a pattern is no glob, or all of them begin with `!`.
pub fn branches<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Rule, InvalidPattern> {
    Ok(Rule::new(Branches(names(patterns)?)))
}

/// Holds where a tag is pushed whose name matches [the patterns](super#patterns). A branch never satisfies it.
///
/// # Errors
///
/// When the list is empty, a pattern is no glob, or all of them begin with `!`.
pub fn tags<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Rule, InvalidPattern> {
    Ok(Rule::new(Tags(names(patterns)?)))
}

struct Branches(Globs);

impl Condition for Branches {
    fn holds(&self, push: &Push) -> Truth {
        match &push.ref_name {
            RefName::Branch(name) if self.0.matches(name.as_bytes()) => Truth::True,
            RefName::Branch(name) => failed("branch", format!("`{name}` does not match {}", self.0)),
            RefName::Tag(name) => failed("branch", format!("`{name}` is a tag")),
        }
    }

    fn why(&self, push: &Push) -> Reason {
        Reason::new("branch", format!("`{}` matches {}", push.ref_name.name(), self.0))
    }
}

struct Tags(Globs);

impl Condition for Tags {
    fn holds(&self, push: &Push) -> Truth {
        match &push.ref_name {
            RefName::Tag(name) if self.0.matches(name.as_bytes()) => Truth::True,
            RefName::Tag(name) => failed("tag", format!("`{name}` does not match {}", self.0)),
            RefName::Branch(name) => failed("tag", format!("`{name}` is a branch")),
        }
    }

    fn why(&self, push: &Push) -> Reason {
        Reason::new("tag", format!("`{}` matches {}", push.ref_name.name(), self.0))
    }
}

/// A rule without a name would run nothing or everything, and which of the two is a guess.
fn names<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Globs, InvalidPattern> {
    let globs = Globs::parse(patterns)?;
    if globs.is_empty() {
        let why = "the list is empty; `**` matches every name".to_owned();
        return Err(InvalidPattern { pattern: String::new(), why });
    }
    Ok(globs)
}

fn failed(word: &'static str, detail: String) -> Truth {
    Truth::False(Reason::new(word, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::not;
    use crate::testing::push;

    fn word_and_detail(rule: &Rule, full_ref: &str) -> Option<(String, String)> {
        match rule.holds(&push(full_ref, &[])) {
            Truth::True => None,
            Truth::False(reason) => Some((reason.word.into_owned(), reason.detail)),
            Truth::Unknown(gap) => panic!("a ref is always known: {gap}"),
        }
    }

    #[test]
    fn the_last_pattern_that_matches_decides_and_a_star_stops_at_a_slash() {
        let rule = branches(["main", "release/*", "!release/0.*", "release/0.9"]).unwrap();
        for (name, is_match) in [
            ("main", true),
            ("feature/main", false),
            ("main2", false),
            ("release/1.2", true),
            ("release/1/2", false),
            ("release/0.8", false),
            ("release/0.9", true),
            ("$(touch pwned);`id`", false),
            ("x/-oProxyCommand=y", false),
        ] {
            let full = format!("refs/heads/{name}");
            assert_eq!(word_and_detail(&rule, &full).is_none(), is_match, "{name}");
        }
    }

    #[test]
    fn a_tag_never_satisfies_branches_and_a_branch_never_tags() {
        let told = |word: &str, detail: &str| Some((word.to_owned(), detail.to_owned()));
        let rule = branches(["main", "**"]).unwrap();
        assert_eq!(word_and_detail(&rule, "refs/tags/main"), told("branch", "`main` is a tag"));
        let rule = tags(["v*"]).unwrap();
        assert_eq!(word_and_detail(&rule, "refs/heads/v1"), told("tag", "`v1` is a branch"));
        assert_eq!(word_and_detail(&rule, "refs/tags/x"), told("tag", "`x` does not match v*"));
        assert_eq!(word_and_detail(&rule, "refs/tags/v1.0"), None);
        assert_eq!(word_and_detail(&not(rule), "refs/tags/v1"), told("tag", "`v1` matches v*"));
    }

    #[test]
    fn a_list_that_matches_nothing_is_refused() {
        assert!(branches::<&str>([]).is_err_and(|error| error.why.contains("the list is empty")));
        assert!(tags(["!v1"]).is_err_and(|error| error.why.contains("matches nothing")));
        assert!(branches(["a", ""]).is_err_and(|error| error.why == "it is empty"));
        assert!(branches(["a[b"]).is_err_and(|error| error.pattern == "a[b"));
    }
}
