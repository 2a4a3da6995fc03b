use super::globs::Globs;
use super::{Condition, InvalidPattern, Rule, Truth};
use crate::policy::Reason;
use crate::push::{ChangeSet, Gap, Paths, Push};

/// Holds where a changed path matches [the patterns](super#patterns); a removed file is a changed one. No patterns
/// at all hold for every push, also for one that changes nothing.
///
/// It never fails on an incomplete list ([`ChangeSet::Incomplete`]): there it holds if a listed path matches, and
/// is unknown otherwise. After a forced push the list proves nothing, and it is unknown. So it is where the only paths
/// that match are such as one commit removes and another does not: a file that comes and goes within a push has not
/// changed.
///
/// # Errors
///
/// When a pattern is no glob, or all of them begin with `!`.
pub fn paths<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Rule, InvalidPattern> {
    PathFilter::new(patterns).map(Rule::from)
}

/// An ordered list of globs over paths: see [the patterns](super#patterns). The empty list matches every path.
#[derive(Clone, Debug)]
pub struct PathFilter(Globs);

impl PathFilter {
    /// A filter from its patterns, in order.
    ///
    /// # Errors
    ///
    /// When a pattern is no glob, or all of them begin with `!`.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, InvalidPattern> {
        Globs::parse(patterns).map(Self)
    }

    /// Whether the last pattern that matches `path` does not take it back.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        self.matches_raw(path.as_bytes())
    }

    pub(crate) fn matches_raw(&self, path: &[u8]) -> bool {
        self.0.is_empty() || self.0.matches(path)
    }

    /// Every listed path that matches, in order; one that is listed twice comes twice.
    pub fn matching<'a>(&self, paths: &'a Paths) -> impl Iterator<Item = &'a str> {
        let positions = paths.raw().enumerate().filter(|(_, (path, _))| self.matches_raw(path));
        positions.map(|(position, _)| paths.path_at(position))
    }

    fn first_match<'a>(&self, paths: &'a Paths) -> Option<&'a str> {
        self.matching(paths).next()
    }

    /// The first listed path that matches and about which the list does not contradict itself.
    fn first_sure_match<'a>(&self, paths: &'a Paths) -> Option<&'a str> {
        if paths.are_of_one_kind() {
            return self.first_match(paths);
        }
        let matching = paths.together(|path| self.matches_raw(path));
        matching.iter().find(|(_, said)| said.is_some()).map(|(position, _)| paths.path_at(*position))
    }

    fn none_of(&self, paths: &Paths) -> Reason {
        let mut listed = paths.iter().map(|(path, _)| path);
        let detail = match (listed.next(), paths.len()) {
            (None, _) => "no path changed".to_owned(),
            (Some(only), 1) => format!("`{only}` does not match {}", self.0),
            (_, count) => format!("none of {count} listed paths matches {}", self.0),
        };
        Reason::new("paths", detail)
    }
}

impl From<PathFilter> for Rule {
    fn from(filter: PathFilter) -> Self {
        Self::new(ChangedPath(filter))
    }
}

struct ChangedPath(PathFilter);

impl Condition for ChangedPath {
    fn holds(&self, push: &Push) -> Truth {
        if self.0.0.is_empty() {
            return Truth::True;
        }
        match &push.changes {
            ChangeSet::Incomplete(_, gap @ (Gap::Forced | Gap::MaybeForced)) => Truth::Unknown(*gap),
            changes if self.0.first_sure_match(changes.paths()).is_some() => Truth::True,
            ChangeSet::Incomplete(_, gap) => Truth::Unknown(*gap),
            ChangeSet::Complete(paths) if self.0.first_match(paths).is_some() => {
                Truth::Unknown(Gap::Contradictory)
            }
            ChangeSet::Complete(paths) => Truth::False(self.0.none_of(paths)),
        }
    }

    fn why(&self, push: &Push) -> Reason {
        let detail = match self.0.first_sure_match(push.changes.paths()) {
            Some(path) => format!("`{path}` matches {}", self.0.0),
            None => "there are no patterns".to_owned(),
        };
        Reason::new("paths", detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::not;
    use crate::push::Change;
    use crate::testing::{incomplete, present, push};

    fn told(rule: &Rule, push: &Push) -> String {
        match rule.holds(push) {
            Truth::True => "true".to_owned(),
            Truth::False(reason) => reason.to_string(),
            Truth::Unknown(gap) => format!("{gap:?}"),
        }
    }

    #[test]
    fn the_reason_says_what_was_looked_at() {
        let rule = paths(["configs/**", "!**/*.md"]).unwrap();
        for (files, expected) in [
            (&["configs/a.yaml"][..], "true"),
            (&["src/x.py", "configs/a/b.yaml"], "true"),
            (&[], "paths: no path changed"),
            (&["configs/readme.md"], "paths: `configs/readme.md` does not match configs/**, !**/*.md"),
            (&["a", "b", "configs"], "paths: none of 3 listed paths matches configs/**, !**/*.md"),
        ] {
            assert_eq!(told(&rule, &push("refs/heads/main", files)), expected, "{files:?}");
        }
        let on_config = push("refs/heads/main", &["x", "configs/a.yaml"]);
        assert_eq!(told(&not(rule), &on_config), "paths: `configs/a.yaml` matches configs/**, !**/*.md");
    }

    #[test]
    fn a_removed_file_is_a_changed_one() {
        let removed = Paths::from_iter([("configs/a.yaml", Change::Removed)]);
        let push = Push { changes: ChangeSet::Complete(removed), ..push("refs/heads/main", &[]) };
        assert_eq!(told(&paths(["configs/**"]).unwrap(), &push), "true");
    }

    #[test]
    fn it_never_fails_on_an_incomplete_list() {
        let rule = paths(["configs/**"]).unwrap();
        let (matching, other) =
            (push("refs/heads/main", &["configs/a"]), push("refs/heads/main", &["src/x"]));
        for gap in [Gap::NewBranch, Gap::Caps, Gap::NotListed, Gap::Truncated] {
            assert_eq!(told(&rule, &incomplete(matching.clone(), gap)), "true", "{gap:?}");
            assert_eq!(told(&rule, &incomplete(other.clone(), gap)), format!("{gap:?}"));
        }
        for gap in [Gap::Forced, Gap::MaybeForced] {
            assert_eq!(
                told(&rule, &incomplete(matching.clone(), gap)),
                format!("{gap:?}"),
                "it proves nothing"
            );
        }
    }

    #[test]
    fn a_path_about_which_the_list_contradicts_itself_proves_nothing() {
        let rule = paths(["configs/**"]).unwrap();
        let of = |list: &[(&str, Change)]| Push {
            changes: ChangeSet::Complete(list.iter().copied().collect()),
            ..push("refs/heads/main", &[])
        };
        let (present, removed) = (Change::Present, Change::Removed);
        let [gone, back] = [("configs/a", removed), ("configs/a", present)];
        for list in [[gone, back], [back, gone]] {
            assert_eq!(told(&rule, &of(&list)), "Contradictory", "{list:?}");
            assert_eq!(told(&not(paths(["configs/**"]).unwrap()), &of(&list)), "Contradictory");
            let other = of(&[list[0], ("src/x", removed), list[1]]);
            assert_eq!(told(&rule, &other), "Contradictory", "{list:?}");
            let sure = of(&[list[0], list[1], ("configs/b", removed)]);
            assert_eq!(told(&rule, &sure), "true", "{list:?}");
            assert_eq!(
                told(&not(paths(["configs/**"]).unwrap()), &sure),
                "paths: `configs/b` matches configs/**"
            );
            let short = incomplete(of(&list), Gap::NewBranch);
            assert_eq!(told(&rule, &short), "NewBranch", "{list:?}");
        }
        assert_eq!(told(&rule, &of(&[gone, gone])), "true", "a removed file is a changed one");
    }

    #[test]
    fn no_patterns_hold_for_every_push() {
        let rule = paths::<&str>([]).unwrap();
        assert_eq!(told(&rule, &push("refs/heads/main", &[])), "true");
        assert_eq!(told(&rule, &incomplete(push("refs/heads/main", &[]), Gap::Forced)), "true");
        assert!(PathFilter::new::<&str>([]).unwrap().matching(&present(&["x"])).eq(["x"]));
    }

    #[test]
    fn odd_paths_are_only_paths() {
        let filter = PathFilter::new(["configs/**", "*.py", "**/*.{json,yml}"]).unwrap();
        for (path, is_match) in [
            ("configs/a b,c\n\"d\"\\ü😀.yaml", true),
            ("x.py", true),
            ("a/b.py", false),
            ("-x.py", true),
            ("deep/er/t\nrain.json", true),
            ("configs", false),
            ("", false),
        ] {
            assert_eq!(filter.matches(path), is_match, "{path:?}");
            assert_eq!(filter.matching(&present(&[path])).eq([path]), is_match, "{path:?}");
        }
    }
}
