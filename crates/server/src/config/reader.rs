//! Reads a TOML document and collects what is wrong with it, instead of stopping at the first mistake.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::{self, Display};

use swifthook_core::text::{printable, without_user_info};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::examples;
use super::mistake::{Mistake, Place};

/// The mistakes found so far in one text.
pub(super) struct Report<'t> {
    text: &'t str,
    found: RefCell<Vec<Mistake>>,
    doubtful: RefCell<Vec<Mistake>>,
}

impl<'t> Report<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, found: RefCell::default(), doubtful: RefCell::default() }
    }

    pub(super) fn wrong(&self, at: Option<usize>, wrong: Wrong) {
        self.found.borrow_mut().push(self.told(at, wrong));
    }

    /// Tells of what is allowed and yet hardly meant.
    pub(super) fn warn(&self, at: Option<usize>, wrong: Wrong) {
        self.doubtful.borrow_mut().push(self.told(at, wrong));
    }

    /// Every mistake comes through here: whatever it quotes is shown without what lets somebody in.
    fn told(&self, at: Option<usize>, wrong: Wrong) -> Mistake {
        let place = at.map(|byte| Place::of(self.text, byte));
        let shown = |text: String| printable(&without_user_info(&text)).into_owned();
        Mistake { place, what: shown(wrong.what), instead: wrong.instead.map(shown) }
    }

    /// Whether nothing is wrong so far.
    pub(super) fn is_clean(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// What was found, in the order of the text.
    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        in_order(self.found.into_inner())
    }

    /// What is hardly meant, in the order of the text.
    pub(super) fn into_warnings(self) -> Vec<Mistake> {
        in_order(self.doubtful.into_inner())
    }
}

fn in_order(mut found: Vec<Mistake>) -> Vec<Mistake> {
    found.sort_by_key(|mistake| mistake.place.unwrap_or(Place { line: usize::MAX, column: 0 }));
    found.dedup();
    found
}

/// A mistake without its place.
#[derive(Debug)]
pub(super) struct Wrong {
    what: String,
    instead: Option<String>,
}

impl Wrong {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), instead: None }
    }

    pub(super) fn instead(self, instead: impl Into<String>) -> Self {
        Self { instead: Some(instead.into()), ..self }
    }

    /// Of something that the format reserves for later.
    pub(super) fn not_yet(what: impl Display) -> Self {
        Self::new(format!("{what} is not supported yet"))
    }
}

/// In one sentence.
impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.instead.as_ref().map_or(Ok(()), |instead| write!(f, ": {instead}"))
    }
}

impl<E: std::error::Error> From<E> for Wrong {
    fn from(error: E) -> Self {
        Self::new(error.to_string())
    }
}

/// A value with its place.
#[derive(Clone)]
pub(super) struct Node<'a> {
    report: &'a Report<'a>,
    /// How messages call the table that it stands in.
    place: String,
    name: String,
    /// True if it is an item of the list that has the name.
    is_item: bool,
    value: &'a DeValue<'a>,
    at: usize,
}

impl<'a> Node<'a> {
    pub(super) fn wrong(&self, wrong: Wrong) {
        self.report.wrong(Some(self.at), wrong);
    }

    /// Tells of what is allowed and yet hardly meant.
    pub(super) fn warn(&self, wrong: Wrong) {
        self.report.warn(Some(self.at), wrong);
    }

    /// A mistake elsewhere than at the value: at its key.
    pub(super) fn wrong_at(&self, at: usize, wrong: Wrong) {
        self.report.wrong(Some(at), wrong);
    }

    pub(super) fn is_list(&self) -> bool {
        self.value.is_array()
    }

    pub(super) fn text(&self) -> Option<&'a str> {
        self.typed("a string", self.value.as_str())
    }

    pub(super) fn flag(&self) -> Option<bool> {
        self.typed("true or false", self.value.as_bool())
    }

    /// A whole number that fits into `T`.
    pub(super) fn number<T: TryFrom<i64>>(&self) -> Option<T> {
        let digits = self.typed("a whole number", self.value.as_integer())?;
        let number =
            i64::from_str_radix(digits.as_str(), digits.radix()).ok().and_then(|n| T::try_from(n).ok());
        if number.is_none() {
            self.wrong(self.with_example(format!("{} is out of range: {digits}", self.words())));
        }
        number
    }

    pub(super) fn items(&self) -> Vec<Self> {
        let Some(list) = self.typed("a list", self.value.as_array()) else { return Vec::new() };
        list.iter()
            .map(|item| Self { value: item.get_ref(), at: item.span().start, is_item: true, ..self.clone() })
            .collect()
    }

    pub(super) fn fields(&self, place: impl Into<String>) -> Option<Fields<'a>> {
        let table = self.typed("a table", self.value.as_table())?;
        Some(Fields::new(self.report, place, table, self.at))
    }

    /// A text that `read` understands.
    pub(super) fn read<T, E: Into<Wrong>>(&self, read: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        read(self.text()?).map_err(|wrong| self.wrong(wrong.into())).ok()
    }

    /// Each item of a list as `read` understands it.
    pub(super) fn read_items<T, E: Into<Wrong>>(&self, read: impl Fn(&str) -> Result<T, E>) -> Vec<T> {
        self.items().iter().filter_map(|item| item.read(&read)).collect()
    }

    /// What is to become arguments of a command: one of a single value, one of each item of a list, and JSON of a table.
    pub(super) fn arguments(&self) -> Vec<String> {
        let items = match self.value {
            DeValue::Array(items) => items.iter().map(Spanned::get_ref).collect(),
            other => vec![other],
        };
        items
            .into_iter()
            .map(|item| match item {
                DeValue::String(text) => text.to_string(),
                other => json(other).to_string(),
            })
            .collect()
    }

    fn typed<T>(&self, expected: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            let found = match self.value {
                DeValue::String(_) => "a string",
                DeValue::Integer(_) => "a whole number",
                DeValue::Float(_) => "a number with a fraction",
                DeValue::Boolean(_) => "true or false",
                DeValue::Datetime(_) => "a date",
                DeValue::Array(_) => "a list",
                DeValue::Table(_) => "a table",
            };
            let what = format!("{} has to be {expected}, and is {found}", self.words());
            self.wrong(self.with_example(what));
        }
        value
    }

    /// How messages call it.
    fn words(&self) -> String {
        let each = if self.is_item { "each of " } else { "" };
        match &*self.place {
            WHOLE => format!("{each}`{}`", self.name),
            place => format!("{each}`{}` in {place}", self.name),
        }
    }

    fn with_example(&self, what: String) -> Wrong {
        let wrong = Wrong::new(what);
        match examples::of(&self.place, &self.name) {
            Some(example) => wrong.instead(format!("for example `{example}`")),
            None => wrong,
        }
    }
}

/// A value as JSON; numbers that JSON does not have stay text.
fn json(value: &DeValue<'_>) -> serde_json::Value {
    let number = |text: &str| text.parse::<serde_json::Number>().map_or_else(|_| text.into(), Into::into);
    match value {
        DeValue::String(text) => (&**text).into(),
        DeValue::Integer(digits) => match i64::from_str_radix(digits.as_str(), digits.radix()) {
            Ok(whole) => whole.into(),
            Err(_) => digits.as_str().into(),
        },
        DeValue::Float(text) => number(text.as_str()),
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => {
            let entries = table.iter().map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref())));
            serde_json::Value::Object(entries.collect())
        }
    }
}

/// A table of which every key has to be asked for, or is a mistake.
pub(super) struct Fields<'a> {
    report: &'a Report<'a>,
    /// How messages call it: `[[recipe]]`.
    place: String,
    table: &'a DeTable<'a>,
    at: usize,
    asked: RefCell<Vec<&'static str>>,
    /// Keys that are known and of no use yet.
    reserved: RefCell<Vec<&'static str>>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(
        report: &'a Report<'a>,
        place: impl Into<String>,
        table: &'a DeTable<'a>,
        at: usize,
    ) -> Self {
        Self {
            report,
            place: place.into(),
            table,
            at,
            asked: RefCell::default(),
            reserved: RefCell::default(),
        }
    }

    /// The value of a key, if it is there.
    pub(super) fn get(&self, key: &'static str) -> Option<Node<'a>> {
        self.knows(&[key]);
        let value = self.table.get(key)?;
        Some(self.node(key.to_owned(), value))
    }

    /// The value of a key that belongs elsewhere: nobody is offered it.
    pub(super) fn misplaced(&self, key: &'static str) -> Option<Node<'a>> {
        self.reserved.borrow_mut().push(key);
        self.table.get(key).map(|value| self.node(key.to_owned(), value))
    }

    /// These are keys of the table, though nothing asks for their values now.
    pub(super) fn knows(&self, keys: &[&'static str]) {
        let mut asked = self.asked.borrow_mut();
        for key in keys {
            if !asked.contains(key) {
                asked.push(key);
            }
        }
    }

    fn node(&self, name: String, value: &'a Spanned<DeValue<'a>>) -> Node<'a> {
        Node {
            report: self.report,
            place: self.place.clone(),
            name,
            is_item: false,
            value: value.get_ref(),
            at: value.span().start,
        }
    }

    /// Whether the key is there, whatever it holds.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The value of a key that has to be there.
    pub(super) fn need(&self, key: &'static str, example: &str) -> Option<Node<'a>> {
        let node = self.get(key);
        if node.is_none() {
            self.wrong(
                Wrong::new(format!("{} has no `{key}`", self.place))
                    .instead(format!("for example {example}")),
            );
        }
        node
    }

    /// The value of a key as `read` understands it, or a default.
    pub(super) fn or<T>(&self, key: &'static str, default: T, read: impl FnOnce(Node<'a>) -> Option<T>) -> T {
        self.get(key).and_then(read).unwrap_or(default)
    }

    /// The tables of a `[[key]]`.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Self> {
        let Some(node) = self.get(key) else { return Vec::new() };
        if node.value.is_table() {
            let wrong = Wrong::new(format!("`[{key}]` is one table, and there may be several"));
            node.wrong(wrong.instead(format!("write `[[{key}]]`")));
            return Vec::new();
        }
        node.items().iter().filter_map(|node| node.fields(format!("[[{key}]]"))).collect()
    }

    /// The table of a `[key]`.
    pub(super) fn table(&self, key: &'static str) -> Option<Self> {
        let node = self.get(key)?;
        if node.is_list() {
            let wrong = Wrong::new(format!("`[[{key}]]` is one of several, and there is one alone"));
            node.wrong(wrong.instead(format!("write `[{key}]`")));
            return None;
        }
        node.fields(format!("[{key}]"))
    }

    /// Every key with its value: for tables whose keys are the user's.
    pub(super) fn entries(&self) -> Vec<(&'a str, usize, Node<'a>)> {
        let entry = |(key, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let name: &std::borrow::Cow<'a, str> = key.get_ref();
            (&**name, key.span().start, self.node(name.to_string(), value))
        };
        self.table.iter().map(entry).collect()
    }

    /// Refuses keys that the format reserves for later.
    pub(super) fn not_yet(&self, keys: &[&'static str]) {
        for key in keys {
            self.reserved.borrow_mut().push(key);
            if let Some(at) = self.key_at(key) {
                self.report.wrong(Some(at), Wrong::not_yet(format!("`{key}` in {}", self.place)));
            }
        }
    }

    /// A mistake of the table as a whole.
    pub(super) fn wrong(&self, wrong: Wrong) {
        self.report.wrong(Some(self.at), wrong);
    }

    /// A mistake that has no place.
    pub(super) fn wrong_in_general(&self, wrong: Wrong) {
        self.report.wrong(None, wrong);
    }

    /// Tells of what is allowed and hardly meant, and has no place.
    pub(super) fn warn_in_general(&self, wrong: Wrong) {
        self.report.warn(None, wrong);
    }

    /// Refuses the keys that nobody asked for.
    pub(super) fn finish(&self) {
        let (asked, reserved) = (self.asked.borrow(), self.reserved.borrow());
        for (key, _) in self.table.iter() {
            let name: &str = key.get_ref();
            if asked.contains(&name) || reserved.contains(&name) {
                continue;
            }
            let wrong = Wrong::new(format!("unknown key `{name}` in {}", self.place));
            let wrong = match closest(name, &asked) {
                Some(near) => wrong.instead(format!("did you mean `{near}`?")),
                None => wrong.instead(format!("there are {}", listed(&asked))),
            };
            self.report.wrong(Some(key.span().start), wrong);
        }
    }

    fn key_at(&self, key: &str) -> Option<usize> {
        self.table.get_key_value(key).map(|(key, _)| key.span().start)
    }
}

/// How messages call the text as a whole.
pub(super) const WHOLE: &str = "the configuration";

/// Names that have to be unique.
pub(super) struct Unique {
    what: &'static str,
    /// By their lower-case spelling: as they are spelled, and the line of the first.
    seen: HashMap<String, (String, usize)>,
}

impl Unique {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, seen: HashMap::new() }
    }

    /// Refuses a name that was there before. Names that differ only in upper and lower case are one.
    pub(super) fn check(&mut self, node: &Node<'_>, name: &str) {
        let line = Place::of(node.report.text, node.at).line;
        let before = self.seen.insert(name.to_ascii_lowercase(), (name.to_owned(), line));
        if let Some((_, first)) = before {
            node.wrong(Wrong::new(format!(
                "there are two {} `{name}`; the first is in line {first}",
                self.what
            )));
        }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.seen.contains_key(&name.to_ascii_lowercase())
    }

    pub(super) fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.seen.values().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }
}

/// The name that somebody may have meant.
pub(super) fn closest<'n>(word: &str, names: &[&'n str]) -> Option<&'n str> {
    let scored = names.iter().map(|name| (strsim::jaro_winkler(word, name), *name));
    let best = scored.max_by(|one, other| one.0.total_cmp(&other.0))?;
    (best.0 > 0.84).then_some(best.1)
}

/// `a`, `b` and `c`.
pub(super) fn listed(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((only, _)) => only.clone(),
        None => "none".to_owned(),
    }
}
