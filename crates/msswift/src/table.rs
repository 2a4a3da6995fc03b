use std::sync::OnceLock;

use crate::fetches::Fetches;
use crate::verb::Verb;
use crate::version::Version;

/// The flags of one version of ms-swift.
///
/// Made by `scripts/ms-swift-tables` from the parser of the installed package, so it says what the command line takes.
#[derive(Debug)]
pub struct Table {
    version: Version,
    /// By name; one name may stand several times, for different verbs.
    arguments: Vec<Argument>,
    fetches: Fetches,
}

/// A flag, as some verbs take it.
#[derive(Debug)]
pub struct Argument {
    /// Its name, without `--`.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// Whether it takes several values.
    pub is_list: bool,
    /// What its value may be, where that is a closed set.
    pub choices: Vec<&'static str>,
    verbs: &'static str,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Whole,
    /// A number.
    Number,
    /// One of [`Argument::choices`].
    Choice,
    /// Any text; ms-swift reads structures as JSON.
    Text,
}

impl Table {
    /// The table for an installed version: its own, or that of another release of its series.
    ///
    /// `None` where there is none: what such a version takes is not known.
    #[must_use]
    pub fn of(version: Version) -> Option<&'static Self> {
        Self::all().iter().find(|table| table.version.is_of_the_series(version))
    }

    /// Every table, the newest first.
    #[must_use]
    pub fn all() -> &'static [Self] {
        static TABLES: OnceLock<[Table; 2]> = OnceLock::new();
        TABLES.get_or_init(|| {
            let new = [include_str!("tables/4.6.0.txt"), include_str!("tables/4.6.0.fetches.txt")];
            let old = [include_str!("tables/3.12.6.txt"), include_str!("tables/3.12.6.fetches.txt")];
            [new, old].map(Table::parse)
        })
    }

    /// The version that it was made from.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The flag of this name, as `verb` takes it.
    #[must_use]
    pub fn argument(&self, verb: Verb, name: &str) -> Option<&Argument> {
        let from = self.arguments.partition_point(|argument| argument.name < name);
        self.arguments[from..]
            .iter()
            .take_while(|argument| argument.name == name)
            .find(|argument| argument.verbs.contains(letter(verb)))
    }

    /// Every flag of `verb`, by name.
    pub fn arguments(&self, verb: Verb) -> impl Iterator<Item = &Argument> {
        self.arguments.iter().filter(move |argument| argument.verbs.contains(letter(verb)))
    }

    /// Whether any verb has a flag of this name.
    pub(crate) fn verbs_with(&self, name: &str) -> impl Iterator<Item = Verb> {
        Verb::ALL.into_iter().filter(move |verb| self.argument(*verb, name).is_some())
    }

    /// Fetches of this version besides what it is asked for.
    pub(crate) fn fetches(&self) -> &Fetches {
        &self.fetches
    }

    fn parse([text, fetches]: [&'static str; 2]) -> Self {
        let version = text.lines().next().and_then(|line| line.strip_prefix("ms-swift ")?.parse().ok());
        let lines = text.lines().skip(1).filter(|line| !line.contains(" = "));
        let mut arguments: Vec<_> = lines.map(|line| argument(line).expect(WELL_FORMED)).collect();
        // The script's order is that of Python, ours that of bytes.
        arguments.sort_by_key(|argument| argument.name);
        assert_eq!(text.lines().next(), fetches.lines().next(), "{WELL_FORMED}");
        let fetches = Fetches::parse(fetches).expect(WELL_FORMED);
        Self { version: version.expect(WELL_FORMED), arguments, fetches }
    }
}

/// `name type verbs choices`.
fn argument(line: &'static str) -> Option<Argument> {
    let mut words = line.splitn(4, ' ');
    let (name, kind, verbs) = (words.next()?, words.next()?, words.next()?);
    let kind = kind.trim_end_matches('?');
    let is_list = kind.ends_with('*');
    let kind = match kind.trim_end_matches('*') {
        "bool" => Kind::Flag,
        "int" => Kind::Whole,
        "float" => Kind::Number,
        "choice" => Kind::Choice,
        "str" => Kind::Text,
        _ => return None,
    };
    let choices = words.next().map(|words| words.split('|').collect()).unwrap_or_default();
    Some(Argument { name, kind, is_list, choices, verbs })
}

/// The letter of a verb in the tables.
fn letter(verb: Verb) -> char {
    match verb {
        Verb::Pt => 'p',
        Verb::Sft => 's',
        Verb::Rlhf => 'r',
        Verb::Export => 'x',
        Verb::Eval => 'e',
        Verb::Deploy => 'd',
        Verb::Infer => 'i',
        Verb::Sample => 'a',
        Verb::MergeLora => 'm',
        Verb::MegatronPt => 'P',
        Verb::MegatronSft => 'S',
        Verb::MegatronRlhf => 'R',
        Verb::MegatronExport => 'X',
    }
}

const WELL_FORMED: &str = "the committed tables are well-formed";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_letters_are_those_of_the_tables() {
        for text in [include_str!("tables/4.6.0.txt"), include_str!("tables/3.12.6.txt")] {
            let told: Vec<_> = text.lines().filter_map(|line| line.split_once(" = ")).collect();
            let ours: Vec<_> = Verb::ALL
                .map(|verb| (letter(verb).to_string(), verb.to_string().replace("swift ", "")))
                .into_iter()
                .collect();
            let told: Vec<_> = told.iter().map(|(l, v)| ((*l).to_owned(), (*v).to_owned())).collect();
            assert_eq!(told, ours);
        }
    }

    #[test]
    fn a_version_has_the_table_of_its_series_or_none() {
        let table =
            |version: &str| Table::of(version.parse().unwrap()).map(|table| table.version().to_string());
        assert_eq!(table("4.6.3").as_deref(), Some("4.6.0"));
        assert_eq!(table("3.12.1").as_deref(), Some("3.12.6"));
        assert_eq!(table("4.7.0"), None);
    }

    #[test]
    fn each_verb_has_its_own_flags() {
        let [new, old] = Table::all() else { unreachable!() };
        assert_eq!(new.argument(Verb::Sft, "learning_rate").unwrap().kind, Kind::Number);
        assert!(new.argument(Verb::MegatronSft, "learning_rate").is_none());
        assert!(new.argument(Verb::Sft, "rlhf_type").is_none());
        assert!(new.argument(Verb::Rlhf, "rlhf_type").unwrap().choices.contains(&"dpo"));
        assert!(new.argument(Verb::Sft, "dataset").unwrap().is_list);
        assert!(
            new.argument(Verb::Sft, "train_type").is_none()
                && old.argument(Verb::Sft, "train_type").is_some()
        );
        assert!(
            new.argument(Verb::Sft, "tuner_type").is_some()
                && old.argument(Verb::Sft, "tuner_type").is_none()
        );
        assert_eq!(new.argument(Verb::Export, "quant_method").unwrap().choices[0], "awq");
        assert_eq!(new.argument(Verb::Sft, "quant_method").unwrap().choices[0], "bnb");
    }
}
