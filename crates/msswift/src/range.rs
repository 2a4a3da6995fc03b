use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

/// Least and most that a number of a pushed config may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Range {
    least: f64,
    most: f64,
}

impl Range {
    /// The range of a key; `None` of a key that no pushed config may set, or whose values are no numbers.
    pub(crate) fn of(key: &str) -> Option<Self> {
        static RANGES: OnceLock<HashMap<&'static str, Range>> = OnceLock::new();
        let ranges = || parse(include_str!("ranges.txt")).expect("the committed ranges are well-formed");
        RANGES.get_or_init(ranges).get(key).copied()
    }

    /// Returns true if a number lies in it, which NaN and the infinite do in none.
    pub(crate) fn has(self, number: &str) -> bool {
        number.parse::<f64>().is_ok_and(|number| (self.least..=self.most).contains(&number))
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.least, self.most)
    }
}

fn parse(text: &'static str) -> Option<HashMap<&'static str, Range>> {
    let mut ranges = HashMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (range, keys) = line.split_once(": ")?;
        let (least, most) = range.split_once(' ')?;
        let range = Range { least: least.parse().ok()?, most: most.parse().ok()? };
        for key in keys.split(' ') {
            if ranges.insert(key, range).is_some() {
                return None;
            }
        }
    }
    Some(ranges)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::class::Class;
    use crate::table::{Kind, Table};
    use crate::verb::Verb;

    #[test]
    fn each_number_that_a_config_may_set_has_a_range_and_nothing_else_has() {
        let arguments = Table::all()
            .iter()
            .flat_map(|table| Verb::ALL.into_iter().flat_map(|verb| table.arguments(verb)));
        let numbers = arguments.filter(|one| matches!(one.kind, Kind::Whole | Kind::Number));
        let numbers: HashSet<_> =
            numbers.map(|one| one.name).filter(|name| Class::of(name) == Some(Class::Value)).collect();
        let ranges = parse(include_str!("ranges.txt")).unwrap();
        let without: Vec<_> = numbers.iter().filter(|name| !ranges.contains_key(*name)).collect();
        let idle: Vec<_> = ranges.keys().filter(|name| !numbers.contains(*name)).collect();
        assert!(without.is_empty() && idle.is_empty(), "without: {without:?}, of no number: {idle:?}");
    }

    #[test]
    fn what_is_no_number_lies_in_no_range() {
        let range = Range::of("temperature").unwrap();
        for good in ["0", "1e-4", "100", "1.5"] {
            assert!(range.has(good), "{good}");
        }
        for bad in ["nan", "NaN", "inf", "-inf", "infinity", "1e999", "-1", "100.1", "x", ""] {
            assert!(!range.has(bad), "{bad}");
        }
        assert_eq!(Range::of("seed").unwrap().to_string(), "0 to 4294967295");
    }
}
