use granit_parser::{Event, Options, Parser, ScalarStyle};

use crate::json;
use crate::mistake::{Mistake, shown};
use crate::scalar::{Format, Scalar};

/// A config file as it was read: keys with values, each with its line. Nothing in it has been believed yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub(crate) entries: Vec<Entry>,
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) line: usize,
    pub(crate) value: Value,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Nothing, `null` or `~`.
    Nothing,
    Text(Text),
    List(Vec<Value>),
    Mapping(Vec<Entry>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Text {
    /// As it stands in the file.
    pub(crate) text: String,
    /// What it is to ms-swift: text if it stands in quotes. The error is of what could not be handed over as it is meant.
    pub(crate) meaning: Result<Scalar, String>,
}

impl Config {
    /// The largest file that is read, in bytes.
    pub const MOST_BYTES: usize = 256 * 1024;

    /// Reads a file of YAML. What its words and numbers mean is what they mean to ms-swift, which reads YAML with PyYAML, at every
    /// depth.
    ///
    /// Aliases, anchors, tags, merge keys, a key that stands twice and further documents are refused, and so is what is
    /// deeper or longer than any config of ms-swift: reading takes memory in proportion to the file.
    ///
    /// # Errors
    ///
    /// The first mistake in its form: what follows it may have been read wrongly.
    pub fn read(bytes: &[u8]) -> Result<Self, Mistake> {
        Self::read_as(Format::Yaml, bytes)
    }

    /// The same of a file of this form.
    ///
    /// # Errors
    ///
    /// The first mistake in its form.
    pub fn read_as(format: Format, bytes: &[u8]) -> Result<Self, Mistake> {
        if bytes.len() > Self::MOST_BYTES {
            let what =
                format!("{} bytes are more than a config may have ({})", bytes.len(), Self::MOST_BYTES);
            return Err(Mistake::of_the_file(what));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Mistake::of_the_file("not UTF-8"))?;
        if format == Format::Json {
            // What follows takes more for structures than JSON does.
            json::check(text)?;
        }
        let mut options = Options::default();
        // Else they come as events as soon as anything else in the build has the parser tell of them.
        options.set_emit_comments(false);
        let events = Parser::new_from_str_with_options(text, options);
        let mut reader = Reader { events, format, nodes: 0 };
        let entries = reader.document()?;
        Ok(Self { entries })
    }

    /// The same of arguments `--name=value`, as a recipe adds them; the same name again makes a list.
    ///
    /// # Errors
    ///
    /// An argument that is not of this form.
    pub fn of_arguments<S: AsRef<str>>(arguments: impl IntoIterator<Item = S>) -> Result<Self, Mistake> {
        let mut entries: Vec<Entry> = Vec::new();
        for argument in arguments {
            let argument = argument.as_ref();
            let (key, text) = argument
                .strip_prefix("--")
                .and_then(|rest| rest.split_once('='))
                .ok_or_else(|| Mistake::of_the_file(format!("not `--name=value`: `{}`", shown(argument))))?;
            // A command line has no YAML in it.
            let value = Value::Text(Text { text: text.to_owned(), meaning: Ok(Scalar::Text) });
            match entries.iter_mut().find(|entry| entry.key == key) {
                None => entries.push(Entry { key: key.to_owned(), line: 0, value }),
                Some(Entry { value: Value::List(items), .. }) => items.push(value),
                Some(entry) => {
                    let first = std::mem::replace(&mut entry.value, Value::Nothing);
                    entry.value = Value::List(vec![first, value]);
                }
            }
        }
        Ok(Self { entries })
    }

    /// Returns true if it has this key.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }
}

struct Reader<'t> {
    events: Parser<'t, granit_parser::StrInput<'t>>,
    format: Format,
    nodes: usize,
}

impl<'t> Reader<'t> {
    /// The next event that says something, with its line.
    fn next(&mut self) -> Result<(Event<'t>, usize), Mistake> {
        match self.events.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(error)) => {
                Err(Mistake::at(error.marker().line(), format!("not YAML: {}", shown(&error.info()))))
            }
            None => Ok((Event::StreamEnd, 1)),
        }
    }

    fn document(&mut self) -> Result<Vec<Entry>, Mistake> {
        loop {
            let (event, line) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(..) => {}
                Event::StreamEnd => return Err(Mistake::of_the_file("the config is empty")),
                other => {
                    let Value::Mapping(entries) = self.value(other, line, 0)? else {
                        return Err(Mistake::at(line, "not a config: keys with values were expected"));
                    };
                    if entries.len() > MOST_KEYS {
                        let what =
                            format!("{} keys are more than a config may have ({MOST_KEYS})", entries.len());
                        return Err(Mistake::of_the_file(what));
                    }
                    return self.nothing_follows().map(|()| entries);
                }
            }
        }
    }

    fn nothing_follows(&mut self) -> Result<(), Mistake> {
        loop {
            match self.next()? {
                (Event::DocumentEnd, _) => {}
                (Event::StreamEnd, _) => return Ok(()),
                (_, line) => return Err(Mistake::at(line, "a second document in the file")),
            }
        }
    }

    fn value(&mut self, event: Event<'t>, line: usize, depth: usize) -> Result<Value, Mistake> {
        self.nodes += 1;
        if self.nodes > MOST_NODES || depth > DEEPEST {
            return Err(Mistake::at(line, "deeper or longer than any config of ms-swift"));
        }
        if event.tag().is_some() {
            return Err(Mistake::at(line, "tags (`!…`) are not read"));
        }
        if event.anchor_id().is_some() || event.is_alias() {
            return Err(Mistake::at(line, "anchors and aliases (`&…`, `*…`) are not read: write it out"));
        }
        match event {
            Event::Scalar(text, style, ..) => {
                let meaning = match style {
                    ScalarStyle::Plain => Scalar::read(&text, self.format),
                    _ => Ok(Scalar::Text),
                };
                Ok(match meaning {
                    Ok(Scalar::Nothing) => Value::Nothing,
                    meaning => Value::Text(Text { text: text.into_owned(), meaning }),
                })
            }
            Event::SequenceStart(..) => self.list(depth),
            Event::MappingStart(..) => self.mapping(depth),
            _ => Err(Mistake::at(line, "a value was expected")),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, Mistake> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, line) => items.push(self.value(event, line, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, Mistake> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = std::collections::HashMap::new();
        loop {
            let (event, line) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Value::Mapping(entries));
            }
            let key = self.value(event, line, depth + 1)?;
            // Those at the top are names of flags.
            let [key, same] = if depth == 0 { name(key) } else { key_of_json(key) }
                .map_err(|what| Mistake::at(line, what))?;
            let twice = |first| {
                let what = format!("`{}` stands twice; the first is in line {first}", shown(&key));
                Mistake::at(line, what)
            };
            if let Some(first) = seen.insert(key.clone(), line) {
                return Err(twice(first));
            }
            if let Some(first) = seen.insert(same.clone(), line).filter(|_| same != key) {
                return Err(twice(first));
            }
            let (event, at) = self.next()?;
            let value = self.value(event, at, depth + 1)?;
            entries.push(Entry { key, line, value });
        }
    }
}

/// The name of a flag.
fn name(key: Value) -> Result<[String; 2], String> {
    match key {
        Value::Text(Text { text, .. }) => Ok([text.clone(), text]),
        _ => Err("a key has to be a word".to_owned()),
    }
}

/// A key as Python's `json` writes it, and under which other name it would be the same key to Python: there `true` and
/// `1.0` are 1.
fn key_of_json(key: Value) -> Result<[String; 2], String> {
    let (text, meaning) = match key {
        Value::Nothing => return Ok(["null".to_owned(), "null".to_owned()]),
        Value::Text(Text { text, meaning }) => (text, meaning?),
        _ => return Err("a key has to be a word".to_owned()),
    };
    Ok(match meaning {
        Scalar::Truth(truth) => [truth.to_string(), format!("number {}", u8::from(truth))],
        Scalar::Whole(digits) => [digits.clone(), format!("number {digits}")],
        Scalar::Number(number) => [json::number(number), format!("number {number:.0}")],
        Scalar::Date => return Err(format!("`{}` is a date, which JSON has not: quote it", shown(&text))),
        Scalar::Nothing | Scalar::Text => [text.clone(), text],
    })
}

/// A list of data sets or of target modules may be long.
const MOST_NODES: usize = 20_000;
const DEEPEST: usize = 16;
/// No verb has as many flags.
const MOST_KEYS: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        Config::read(text.as_bytes()).map_err(|mistake| mistake.to_string())
    }

    #[test]
    fn yaml_and_json_are_read_with_their_lines() {
        let config =
            read("# tiny\nmodel: /m\nlearning_rate: 1e-4\ndataset:\n  - a\n  - 'b'\nx: ~\n").unwrap();
        let keys: Vec<_> = config.entries.iter().map(|entry| (&*entry.key, entry.line)).collect();
        assert_eq!(keys, [("model", 2), ("learning_rate", 3), ("dataset", 4), ("x", 7)]);
        let text = |text: &str| Value::Text(Text { text: text.into(), meaning: Ok(Scalar::Text) });
        assert_eq!(config.entries[1].value, text("1e-4"));
        assert_eq!(config.entries[2].value, Value::List(vec![text("a"), text("b")]));
        assert_eq!(config.entries[3].value, Value::Nothing);
        let json = read("{\"model\": \"/m\",\n \"columns\": {\"a\": 1}, \"x\": null}").unwrap();
        assert!(json.has("columns") && !json.has("a"));
    }

    #[test]
    fn what_could_grow_or_hide_something_is_refused() {
        for (text, told) in [
            ("a: &x 1\nb: *x\n", "line 1: anchors"),
            ("a: !!python/object:os.system x\n", "line 1: tags"),
            ("a: 1\n---\nb: 2\n", "second document"),
            ("a: 1\na: 2\n", "line 2: `a` stands twice; the first is in line 1"),
            ("- a\n", "not a config"),
            ("just text", "not a config"),
            ("", "empty"),
            ("a: [1, 2\n", "not YAML"),
            ("? [a, b]\n: 1\n", "a key has to be a word"),
            ("a: {<<: {b: 1}}\n", "line 1: `<<` merges mappings"),
            ("a: {1: x, yes: y}\n", "`true` stands twice"),
            ("a: {1: x, '1': y}\n", "`1` stands twice"),
            ("a: {2.0: x, 2: y}\n", "`2` stands twice"),
            ("a: {no: x, False: y}\n", "`false` stands twice"),
            ("a: {2026-01-01: x}\n", "is a date"),
            ("<<: {a: 1}\n", ""),
        ] {
            match read(text) {
                Ok(config) => assert!(told.is_empty() && config.has("<<"), "{text:?} was read"),
                Err(mistake) => assert!(mistake.contains(told), "{text:?}: {mistake}"),
            }
        }
    }

    #[test]
    fn depth_length_and_size_are_bounded() {
        let deep = format!("a: {}{}", "[".repeat(300), "]".repeat(300));
        assert!(read(&deep).unwrap_err().contains("not YAML") || read(&deep).unwrap_err().contains("deeper"));
        let deep = format!("a: {}{}", "[".repeat(40), "]".repeat(40));
        assert!(read(&deep).unwrap_err().contains("deeper"));
        assert!(read(&format!("a: [{}]", "1,".repeat(30_000))).unwrap_err().contains("longer"));
        let keys: String = (0..1_001).map(|number| format!("k{number}: 1\n")).collect();
        assert_eq!(read(&keys).unwrap_err(), "1001 keys are more than a config may have (1000)");
        assert!(read(&"#".repeat(Config::MOST_BYTES + 1)).unwrap_err().contains("bytes are more"));
        assert!(Config::read(b"a: \xff").unwrap_err().to_string().contains("UTF-8"));
    }
}
